"""Parameters counted as a training would find them, and rivals brought to the same number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.ablation.arms import ARMS, DUAL
from benchmarks.ablation.matching import (
    SMALLEST,
    Count,
    Match,
    check_match,
    count_parameters,
    fit_late_hidden_size,
    without_lost_patterns,
)
from benchmarks.ablation.protocol import Setup, arm_setup, base_setup
from catalog import ModelError, Splits
from models.moon import MoonModel
from models.tokenizer import catalog_texts, train_tokenizer
from tests.benchmarks.rows import DEMO, recipe
from tests.models.shop import all_train, make_shop, tiny_model, tiny_train

ARM = {arm.name: arm for arm in ARMS}


@pytest.mark.parametrize("target", [10_000, 10_149, 25_000, 400_000])
def test_the_width_that_fits_is_found_where_the_count_is_linear(target: int) -> None:
    width = fit_late_hidden_size(lambda size: 5_000 + 300 * size, target, 0.02)
    assert abs(5_000 + 300 * width - target) <= 150


def test_a_rival_that_would_have_next_to_no_map_is_given_more_up_to_the_tolerance() -> None:
    # Both are equal to full at 20; at 64 the first is 6.6 % larger, and the second would be 22 %.
    assert fit_late_hidden_size(lambda size: 200_000 + 300 * (size - 20), 200_000, 0.1) == 64
    assert fit_late_hidden_size(lambda size: 200_000 + 1_000 * (size - 20), 200_000, 0.1) == 40


def test_a_rival_too_large_already_is_refused() -> None:
    with pytest.raises(ModelError, match="as many trainable parameters") as caught:
        fit_late_hidden_size(lambda size: 50_000 + 300 * size, 40_000, 0.1)
    assert caught.value.got == f"{50_000 + 300 * SMALLEST:,} at {SMALLEST}"


def test_a_rival_whose_width_changes_nothing_is_refused_or_fits_already() -> None:
    assert fit_late_hidden_size(lambda size: 1000, 1000, 0.1) == SMALLEST
    with pytest.raises(ModelError):
        fit_late_hidden_size(lambda size: 1000, 2000, 0.1)


def test_a_match_is_held_to_its_tolerance() -> None:
    near = Match(Count(1000, 0), Count(1019, 50))
    assert check_match(near, "minus_moe", 0.02) is near
    with pytest.raises(ModelError, match="minus_moe has not as many"):
        check_match(Match(Count(1000, 0), Count(1021, 0)), "minus_moe", 0.02)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Splits]:
    catalog = make_shop(tmp_path_factory.mktemp("shop"))
    return catalog, all_train(catalog)


def setup_of(**train: Any) -> Setup:
    sections = {"model": tiny_model().model_dump(), "train": tiny_train(**train).model_dump()}
    return base_setup(recipe(**sections), DEMO, 1)


def test_full_counts_every_parameter_that_learns(shop: Any) -> None:
    setup = setup_of()
    vocabulary = train_tokenizer(catalog_texts(*shop), setup.model.nano.vocab_size).get_vocab_size()
    model = MoonModel.seeded(setup.model, vocabulary, 1)
    found = count_parameters(setup, *shop).count
    temperatures = 2
    assert found.idle == 0
    assert found.trainable == sum(one.numel() for one in model.parameters()) + temperatures


def test_the_map_of_pictures_into_a_decoder_that_sees_none_is_idle(shop: Any) -> None:
    own = arm_setup(setup_of(), ARM[DUAL])
    found = count_parameters(own, *shop).count
    merger = MoonModel.seeded(own.model, 400, 1).backbone.qwen.visual.merger  # type: ignore[attr-defined]
    assert found.idle == sum(one.numel() for one in merger.parameters())


def test_the_dual_encoder_is_brought_to_full(shop: Any) -> None:
    full, own = setup_of(), arm_setup(setup_of(), ARM[DUAL])

    def wide(size: int) -> Setup:
        return own.model_copy(update={"model": own.model.model_copy(update={"late_hidden_size": size})})

    target = count_parameters(full, *shop).count.trainable
    width = fit_late_hidden_size(lambda size: count_parameters(wide(size), *shop).count.trainable, target, 0.1)
    assert abs(count_parameters(wide(width), *shop).count.trainable - target) <= 0.01 * target


def test_the_dense_twin_has_the_parameters_of_the_mixture(shop: Any) -> None:
    full, own = (count_parameters(one, *shop).count for one in (setup_of(), arm_setup(setup_of(), ARM["minus_moe"])))
    assert check_match(Match(full, own), "minus_moe", ARM["minus_moe"].tolerance_frac)


def test_a_dense_twin_that_is_frozen_is_refused(shop: Any) -> None:
    setup = setup_of(parameters={"freeze": ["*.branch.*"]})
    with pytest.raises(ModelError, match="does not learn"):
        count_parameters(arm_setup(setup, ARM["minus_moe"]), *shop)


def test_patterns_of_a_part_that_the_arm_lacks_are_dropped_and_full_must_match_all(shop: Any) -> None:
    parameters = {"lr_multipliers": {"*.slots": 2.0, "*.head.*": 0.5}, "freeze": ["*.slots"]}
    setup = setup_of(parameters=parameters)
    assert count_parameters(setup, *shop).train == setup.train
    own = arm_setup(setup, ARM["minus_slots"])
    kept = count_parameters(own, *shop, lacks_parts=True).train.parameters
    assert (kept.lr_multipliers, kept.freeze) == ({"*.head.*": 0.5}, ())
    with pytest.raises(ModelError, match="matches no parameter"):
        count_parameters(own, *shop)


def test_an_adapter_does_not_hide_the_layer_that_a_pattern_means() -> None:
    train = tiny_train(parameters={"unfreeze": ["*.q_proj.weight", "*.k_proj.weight"]})
    kept = without_lost_patterns(train, ["model.q_proj.base_layer.weight"])
    assert kept.parameters.unfreeze == ("*.q_proj.weight",)


def test_counting_leaves_no_files(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    count_parameters(setup_of(), *shop)
    assert list(tmp_path.iterdir()) == []
