"""The loop that Lightning is measured against, the sums of the comparisons, and one tiny round of each."""

from __future__ import annotations

import pytest

from benchmarks import training
from benchmarks.training import SKIPPED, Shop, Turns, make_shop
from models.config import ModelConfig, NanoConfig, TrainConfig

TINY = ModelConfig(nano=NanoConfig(hidden_size=32, num_heads=2, ffn_size=48, num_layers=2))
STEPS = TrainConfig(steps=SKIPPED + 2, batch_size=4, checkpoint_every_steps=10**6)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(30, tmp_path_factory.mktemp("shop"))


def test_a_ratio_is_the_median_of_neighbours_and_leaves_the_first_rounds_out() -> None:
    turns = Turns(
        wall_s={"ours": [99.0] * SKIPPED + [2.0, 3.0, 10.0], "theirs": [1.0] * SKIPPED + [1.0, 2.0, 4.0]},
        cpu_s={"ours": [0.0] * SKIPPED + [1.0, 1.0, 1.0], "theirs": [5.0] * SKIPPED + [1.0, 2.0, 4.0]},
    )
    found = turns.ratio("ours", "theirs")
    # 2 / 1, 3 / 2, 10 / 4: the median of the ratios, which is not the ratio of the medians 3 / 2.
    assert found["wall_ratio"] == 2.0
    assert found["wall_fastest_ratio"] == 2.0
    assert (found["wall_s"], found["wall_base_s"]) == (3.0, 2.0)
    assert found["cpu_ratio"] == 0.5
    assert found["cpu_fastest_ratio"] == 1.0
    assert found["rounds"] == 3


def test_both_loops_train_alike(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of `lightning` holds its loss to the bare loop's, and would tell: with another rate they part."""
    assert training.lightning(shop, STEPS, TINY)["rounds"] == 2
    monkeypatch.setattr(training, "lr_factor", lambda done, warmup: 3.0)
    with pytest.raises(AssertionError, match="train differently"):
        training.lightning(shop, STEPS, TINY)


def test_sorting_by_length_leaves_less_padding(shop: Shop) -> None:
    padding = training.bucketing(shop, STEPS, 1, TINY)["padding_frac"]
    assert 0 <= padding["sorted"] < padding["as they come"]


def test_a_frozen_tower_is_run_in_one_arm_alone(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    prepare = training.prepare

    def watched(*arguments: object, **options: object) -> object:
        made = prepare(*arguments, **options)  # type: ignore[arg-type]
        kept.append(made.dataset[0].seen is not None)
        return made

    monkeypatch.setattr(training, "prepare", watched)
    assert training.features(shop, STEPS, 1, TINY)["rounds"] == 1
    assert kept == [False, True]
