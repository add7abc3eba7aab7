"""A backend alone, without the stages that follow it: these have tests of their own."""

from __future__ import annotations

from typing import Any

from models.regions import RegionsConfig


def bare(**fields: Any) -> RegionsConfig:
    """A regions section with `fields` and every stage switched off."""
    return RegionsConfig.model_validate(fields | {stage: {"enabled": False} for stage in ("edges", "worn")})
