"""Arms, recipes and digests of the ablation."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ablation.arms import ARMS, DUAL, FULL, PAPERS_PARTS, choose_arms, deep, read_arms
from benchmarks.ablation.planning import arm_jobs, baseline_jobs, chosen_rates, lr_jobs, origin_of, recipe_setup
from benchmarks.ablation.protocol import (
    PROJECT_ROOT,
    PROTOCOLS,
    Protocol,
    Setup,
    arm_setup,
    base_setup,
    differences,
    flat,
    lr_setup,
    new_since,
    read_recipe,
)
from catalog import ConfigError
from tests.benchmarks.rows import ARMS_BY_NAME, DATA, DEMO, LUMA, ONCE, jobs, no_match, origin, recipe, row

QUEUE = {"train": {"negatives": {"queue_size": 64, "hard_weight": 2.0}}}


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_every_arm_fits_the_recipe_and_changes_only_what_it_names(arm) -> None:  # type: ignore[no-untyped-def]
    base = base_setup(recipe(**QUEUE), DEMO, 1)
    found = differences(base.plain(), arm_setup(base, arm).plain())
    # Rows call by its old name what one switch could say.
    named = {"model.use_crops" if key == "model.crops" else key for key in flat(arm.changes)}
    assert set(found) <= named
    has_already = {
        "plus_vision_residual",
        "plus_word_residual",
        "balanced_pooling",
        "additive",
        "plus_hard_negatives",
    }
    assert bool(found) == (arm.name not in has_already | {FULL})


def test_names_are_unique_and_every_data_set_begins_with_full_and_its_rival() -> None:
    names = [arm.name for arm in ARMS]
    assert len(set(names)) == len(names)
    for protocol in PROTOCOLS.values():
        assert protocol.arms[:2] == (FULL, DUAL)
        assert set(protocol.arms) | set(PAPERS_PARTS) <= set(names)


def test_an_arm_that_changes_nothing_is_left_out_and_told() -> None:
    said: list[str] = []
    found = jobs(["full", "minus_queue", "additive"], [1, 2], say=said.append)
    assert [job.arm for job in found] == ["full", "full"]
    assert len(said) == 2
    assert all("is left out" in line for line in said)


def test_hard_negatives_are_taken_out_or_put_in() -> None:
    both = ["minus_hard_negatives", "plus_hard_negatives"]
    assert [job.arm for job in jobs(both, [1])] == both[:1]
    without = recipe(train={"hard_negatives_per_query": 0})
    (job,) = jobs(both, [1], own=without)
    assert job.changes == {"train.hard_negatives_per_query": (0, 3)}


@pytest.mark.parametrize("part", ["filter", "modality"])
def test_a_part_that_is_off_is_put_in_and_one_that_is_on_has_no_arm(part: str) -> None:
    name = f"plus_{part}"
    said: list[str] = []
    (job,) = jobs([name], [1])
    assert job.changes == {f"train.{part}.enabled": (False, True)}
    assert getattr(job.setup.train, part).enabled
    assert jobs([name], [1], own=recipe(train={part: {"enabled": True}}), say=said.append) == []
    assert len(said) == 1
    assert name not in LUMA.arms


def test_an_arm_that_changes_nothing_is_refused_when_named() -> None:
    with pytest.raises(ConfigError, match="changes nothing"):
        jobs(["full", "minus_queue"], [1], named=True)


def test_jobs_run_seed_by_seed_with_every_arm_once() -> None:
    found = jobs(["full", "dual", "minus_crop"], [1, 2, 3])
    assert [(job.seed, job.arm) for job in found] == [
        (seed, arm) for seed in (1, 2, 3) for arm in ("full", "dual", "minus_crop")
    ]
    assert {job.setup.train.seed for job in found if job.seed == 2} == {2}
    assert {job.fold for job in found} == {None}


def test_folds_hold_out_every_group_once_and_validate_on_none() -> None:
    splits = [base_setup(recipe(), LUMA, seed).split for seed in LUMA.seeds]
    assert [split.offset_frac for split in splits] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert {(split.test_frac, split.val_frac) for split in splits} == {(0.2, 0.0)}


def test_seeds_beyond_the_folds_are_refused() -> None:
    with pytest.raises(ConfigError, match="a seed is a fold here"):
        jobs(["full"], [6], LUMA)


def test_learning_rates_are_tried_apart_from_the_test_side_for_both_alike() -> None:
    setup = lr_setup(recipe(), LUMA, 1)
    assert (setup.split.offset_frac, setup.split.test_frac, setup.split.val_frac) == (0.0, 0.2, 0.2)
    found = lr_jobs(origin(LUMA), ARMS, [0.5, 2.0], no_match)
    assert [(job.lr_factor, job.arm) for job in found] == [
        (0.5, "full"),
        (0.5, "dual"),
        (2.0, "full"),
        (2.0, "dual"),
    ]
    assert {job.side for job in found} == {"val"}
    assert found[0].setup.train.lr_text == pytest.approx(0.5 * recipe().config.train.lr_text)
    assert found[0].name != found[2].name


def test_learning_rates_need_a_validation_side() -> None:
    with pytest.raises(ConfigError, match="validation side"):
        lr_setup(recipe(catalog={"split": {"val_frac": 0.0}}), DEMO, 1)


def test_each_encoder_takes_the_best_rate_and_ties_go_to_the_smaller() -> None:
    scores = {("full", 0.5): 0.4, ("full", 1.0): 0.4, ("full", 2.0): 0.3, ("dual", 0.5): 0.1, ("dual", 1.0): 0.2}
    rows = [row(arm, kind="lr", lr_factor=factor, main_score=score) for (arm, factor), score in scores.items()]
    with pytest.raises(ConfigError, match="not tried at the same learning rates"):
        chosen_rates(rows, "r")
    rows.append(row("dual", kind="lr", lr_factor=2.0, main_score=None))
    assert chosen_rates(rows, "r") == {"full": (0.5, 3), "dual": (1.0, 3)}
    assert chosen_rates(rows, "another recipe") == {"full": (1.0, 1), "dual": (1.0, 1)}


def test_digests_follow_what_decides_a_run_and_nothing_else() -> None:
    base = base_setup(recipe(), DEMO, 1)
    assert base.digest(DATA) != base.digest("other")
    assert base.digest(DATA) != base.with_seed(2).digest(DATA)
    for key, value in (("num_workers", 3), ("log_every_steps", 9)):
        assert getattr(base.train, key) != value
        same = base.model_copy(update={"train": base.train.model_copy(update={key: value})})
        assert same.digest(DATA) == base.digest(DATA)
    assert recipe_setup(recipe(), LUMA).digest(DATA) == recipe_setup(recipe(), LUMA).digest(DATA)
    assert len({job.recipe_digest for job in jobs(["full", "dual"], [1, 2], LUMA)}) == 1
    assert len({job.config_digest for job in jobs(["full", "dual"], [1, 2], LUMA)}) == 4


def without(setup: Setup, *keys: str) -> dict[str, Any]:
    """A configuration as it was written down before these keys existed."""
    tree = setup.plain()
    for key in keys:
        *path, last = key.split(".")
        section = tree
        for name in path:
            section = section[name]
        del section[last]
    return tree


def old_digest(tree: dict[str, Any]) -> str:
    """Of a configuration written down, by the same rule as today's."""
    text = json.dumps([flat(tree), DATA], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_new_key_at_its_default_leaves_recipe_and_rows_what_they_were() -> None:
    new = ("model.use_crops", "train.max_labels")
    before = without(recipe_setup(recipe(), DEMO), *new)
    known = {old_digest(before): {"data_digest": DATA, "setup": before}}
    start = origin_of(recipe(), DEMO, DATA, known)
    assert start.digest in known
    assert start.new_keys == frozenset(new)
    full, crop = arm_jobs(start, [ARMS_BY_NAME["full"], ARMS_BY_NAME["minus_crop"]], [1], ONCE, no_match)
    assert full.config_digest == old_digest(without(full.setup, *new))
    # An arm that sets the new key itself is another configuration.
    assert crop.config_digest == old_digest(without(crop.setup, new[1]))


@pytest.mark.parametrize(
    ("given", "data"),
    [
        ({"train": {"negatives": {"queue_size": 8}}}, DATA),  # new, and not at its default
        ({"train": {"steps": 7}}, DATA),
        ({}, "other data"),
    ],
)
def test_anything_else_that_differs_is_another_recipe(given: dict[str, Any], data: str) -> None:
    before = without(recipe_setup(recipe(), DEMO), "train.negatives.queue_size")
    known = {old_digest(before): {"data_digest": DATA, "setup": before}}
    start = origin_of(recipe(**given), DEMO, data, known)
    assert start.digest not in known
    assert start.new_keys == frozenset()


def test_a_key_that_is_gone_makes_another_recipe() -> None:
    before = recipe_setup(recipe(), DEMO).plain()
    before["train"]["gone"] = 1
    assert new_since(before, recipe_setup(recipe(), DEMO)) is None


def test_changes_name_both_values() -> None:
    (job,) = jobs(["minus_crop"], [1])
    assert job.changes == {"model.use_crops": (True, False)}


def test_baselines_without_a_seed_run_once_unless_the_folds_differ() -> None:
    on_demo = [job.arm for job in baseline_jobs(origin(), [1, 2, 3])]
    assert on_demo.count("title_words") == 1
    assert on_demo.count("random") == 3
    on_luma = [job.arm for job in baseline_jobs(origin(LUMA), [1, 2, 3])]
    assert on_luma.count("title_words") == 3


def test_the_demo_recipe_is_read_and_one_for_other_data_is_not(tmp_path: Path) -> None:
    assert all(read_recipe(protocol.recipe, protocol).path == protocol.recipe for protocol in PROTOCOLS.values())
    found = read_recipe("configs/train_moon/demo.yaml", DEMO)
    assert found.path == "configs/train_moon/demo.yaml"
    with pytest.raises(ConfigError, match="for other data"):
        read_recipe("configs/train_moon/luma.yaml", DEMO)
    with pytest.raises(ConfigError, match="no such recipe"):
        read_recipe(str(tmp_path / "none.yaml"), DEMO)
    (tmp_path / "typo.yaml").write_text("parameters: {config: {train: {stepps: 3}}}", encoding="utf-8")
    with pytest.raises(ConfigError, match="did you mean `steps`"):
        read_recipe(str(tmp_path / "typo.yaml"), DEMO)


def test_further_arms_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "arms.yaml"
    path.write_text(
        "warm: {about: warmer, changes: {train: {temperature: 0.1}}}\n"
        "wide_dual: {like: dual, changes: {model: {embedding_dims: 64}}}\n",
        encoding="utf-8",
    )
    warm, wide = read_arms(path)
    assert (warm.title, warm.parameters, warm.changes) == ("warmer", "free", {"train": {"temperature": 0.1}})
    assert wide.parameters == "fitted"
    assert wide.changes["model"]["fusion"] == "late"
    assert wide.changes["model"]["embedding_dims"] == 64


@pytest.mark.parametrize(
    ("arms", "recipe_file", "protocol"),
    [
        ("choices", "benchmarks/ablation/demo_seed11.yaml", DEMO),
        ("demo_seed10_arms", "benchmarks/ablation/demo_seed10.yaml", DEMO),
        ("luma_arms", LUMA.recipe, LUMA),
    ],
)
def test_the_files_of_arms_each_change_their_recipe(arms: str, recipe_file: str, protocol: Protocol) -> None:
    folder = PROJECT_ROOT / "benchmarks" / "ablation"
    base = base_setup(read_recipe(str(PROJECT_ROOT / recipe_file), protocol), protocol, 1)
    made = read_arms(folder / f"{arms}.yaml")
    changed = [arm_setup(base, arm).digest(DATA) for arm in made]
    assert len({base.digest(DATA), *changed}) == len(made) + 1


@pytest.mark.parametrize(
    "text",
    [
        "full: {changes: {}}",
        "x: {like: none}",
        "x: {changes: {split: {}}}",
        "x: {chances: {}}",
        "x: 3",
    ],
)
def test_a_file_of_arms_with_a_mistake_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "arms.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="arm "):
        read_arms(path)


def test_a_misspelt_arm_is_told_its_neighbour() -> None:
    with pytest.raises(ConfigError) as caught:
        choose_arms(["minus_corp"], ARMS)
    assert "minus_crop" in caught.value.fix


def test_merging_leaves_both_sides_alone() -> None:
    base, change = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}
    assert deep(base, change) == {"a": {"b": 3, "c": 2}}
    assert (base, change) == ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
