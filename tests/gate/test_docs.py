"""docs/GATE.md shows the whole language, and what it shows is right."""

from __future__ import annotations

import re
from pathlib import Path

from validation.gate import GateConfig, GatePolicy, NoLoss, load_policy

TEXT = Path("docs/GATE.md").read_text(encoding="utf-8")


def test_the_policy_shown_is_read_and_has_every_key(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "shown.yaml").write_text(shown, encoding="utf-8")
    policy = load_policy(GateConfig(policy=str(tmp_path / "shown.yaml")))
    assert policy.model_fields_set == set(GatePolicy.model_fields)
    assert policy.slices.model_fields_set == set(type(policy.slices).model_fields)
    assert set(policy.limits.asked()) == set(type(policy.limits).model_fields)
    assert any(rule.model_fields_set == set(NoLoss.model_fields) for rule in policy.champion.values())
    assert any(rule.shown for rule in policy.beat.values())


def test_every_key_is_explained() -> None:
    for key in GatePolicy.model_fields:
        assert f"`{key}" in TEXT or f"## {key.title()}" in TEXT, key
