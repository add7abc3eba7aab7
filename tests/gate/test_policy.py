"""Policies as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from catalog import ConfigError
from validation.gate import GateConfig, GatePolicy, load_policy

FLOOR = "floors: {a/b: 0.1}\n"
WHO = "name: Ada, reason: r, expires: 2027-06-30"
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
        ("champion: {a/b: 0.05}", r"a/b: a bare number was a margin.*write \{level: 0.05, drop: 0.05\}"),
        ("champion: {a/b: {drop: 0}}", "policy.yaml: champion.a/b.drop"),
        ("champion: {a/b: {level: 0.5}}", "less than 0.5"),
        ("floors: {a/mean_rank: 0.5}", "floor on a/mean_rank.*put it in ceilings"),
        ("ceilings: {a/recall@1: 0.5}", "ceiling on a/recall@1.*put it in floors"),
        ("ceilings: {a/mean_rank: .inf}", "finite"),
        ("slices: {floors: {a/mean_rank: {category: 0.5}}}", "put it in ceilings"),
        ("slices: {ceilings: {a/mrr: {category: 0.5}}}", "put it in floors"),
        ("slices: {small: ignore}", "'refuse' or 'skip'"),
        ("gain: all", "'any', 'shown' or 'none'"),
        ("min_power: 0.8", "there is none; add champion"),
        ("limits: {query_ms: 0}", "greater than 0"),
        ("limits: {latency: 5}", "policy.yaml: limits.latency"),
        ("benchmark: {expires: 2027-06-30}", "policy.yaml: benchmark.digest"),
        ("benchmark: {digest: a, expires: soon}", "policy.yaml: benchmark.expires"),
        (f"{FLOOR}waivers: [{{rule: floor/a/b, name: Ada, reason: r}}]", "policy.yaml: waivers.0.expires"),
        (f"{FLOOR}waivers: [{{rule: floor/a/b, name: ' ', reason: r, expires: 2027-06-30}}]", "waivers.0.name"),
        (f"{FLOOR}waivers: [{{rule: floor/a/b, name: Ada, reason: '', expires: 2027-06-30}}]", "waivers.0.reason"),
        (f"{FLOOR}waivers: [{{rule: floor/a/c, {WHO}}}]", "no rule of this policy; did you mean floor/a/b"),
        (f"{FLOOR}waivers: [{{rule: '*', {WHO}}}]", r"names \*, which is no rule"),
        (f"{FLOOR}waivers: [{{rule: finite, {WHO}}}]", "finite cannot be waived"),
        (f"{FLOOR}waivers: [{{rule: policy, {WHO}}}]", "policy cannot be waived"),
        (f"{FLOOR}waivers: [{{rule: champion, {WHO}}}]", "champion cannot be waived"),
        (
            f"{FLOOR}benchmark: {{digest: x}}\nwaivers: [{{rule: benchmark/digest, {WHO}}}]",
            "benchmark/digest cannot be waived",
        ),
        (f"{FLOOR}waivers: [{{rule: floor/a/b, {WHO}}}, {{rule: floor/a/b, {WHO}}}]", "waived 2 times"),
        (f"{FLOOR}waivers: [{{rule: floor/a/b, {WHO}}}]", "every rule that judges a score is waived"),
        (
            f"{FLOOR}beat: {{r: {{metrics: [c/d]}}}}\n"
            f"waivers: [{{rule: floor/a/b, {WHO}}}, {{rule: beat/r/c/d, {WHO}}}]",
            "every rule that judges a score is waived",
        ),
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
