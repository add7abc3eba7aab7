"""Policies as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from catalog import ConfigError
from validation.config import GateConfig
from validation.gate import GatePolicy, load_policy

SHIPPED = sorted(Path("configs/gates").glob("*.yaml"))


def written(folder: Path, text: str) -> GateConfig:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return GateConfig(policy=str(path))


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_every_shipped_policy_is_read_and_demands_something(path: Path) -> None:
    policy = load_policy(GateConfig(policy=str(path)))
    assert policy.required_tasks
    assert policy.floors
    assert {"random", "majority", "untrained", "colour_histogram", "title_words"} <= set(policy.beat)
    assert policy.champion
    assert policy.min_n


def test_the_default_policy_is_shipped() -> None:
    assert Path(str(GateConfig().policy)) in SHIPPED


def test_an_inline_policy_is_taken_as_it_is() -> None:
    config = GateConfig.model_validate({"policy": {"floors": {"image_to_product/recall@1": 0.2}}})
    assert load_policy(config) == GatePolicy(floors={"image_to_product/recall@1": 0.2})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping"),
        ("- floors", "must be a mapping"),
        ("floors: [", "not YAML"),
        ("floor: {a/b: 0.1}", "did you mean floors"),
        ("floors: {a/b: 0.9}\nmin_n: {a: 1}\nfloors: {c/d: 0.1}", "policy.yaml:3.*also on line 1"),
        ("floors:\n  a/b: 0.9\n  a/b: 0.1", "policy.yaml:3.*also on line 2"),
        ("requird_tasks: []", "did you mean required_tasks"),
        ("floors: {a/b: 1.5}", "less than or equal to 1"),
        ("floors: {a/b: -0.1}", "greater than or equal to 0"),
        ("floors: {a/b: .nan}", "less than or equal|greater than or equal|finite"),
        ("floors: {a/b: high}", "valid number"),
        ("beat: {random: {metrics: []}}", "at least 1 item"),
        ("beat: {random: {metric: [a/b]}}", "policy.yaml: beat.random.metric"),
        ("beat: {random: {metrics: [a/b], by: 2}}", "less than or equal to 1"),
        ("champion: {a/b: -1}", "greater than or equal to 0"),
        ("min_n: {a: 0}", "greater than or equal to 1"),
    ],
)
def test_a_policy_with_a_mistake_is_refused_with_the_place(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}") as raised:
        load_policy(written(tmp_path, text))
    assert "policy.yaml" in raised.value.where


def test_a_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_policy(GateConfig(policy=str(tmp_path / "none.yaml")))


def test_a_policy_cannot_be_changed_after_it_was_read() -> None:
    policy = GatePolicy(floors={"a/b": 0.1})
    with pytest.raises(ValidationError):
        policy.floors = {}  # type: ignore[misc]
