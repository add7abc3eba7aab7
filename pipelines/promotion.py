"""promote_moon and rollback_moon: which version is the champion."""

from __future__ import annotations

from moon.config import PromoteConfig
from pipelines.moon_pipeline import moon_pipeline
from steps.check_parity import check_parity
from steps.closing import closing_of_alias
from steps.move_alias import move_alias
from steps.rollback_alias import rollback_alias


@moon_pipeline(default_recipe="default.yaml", closing=closing_of_alias)
def promote_moon(config: PromoteConfig = PromoteConfig()) -> None:
    parity = check_parity(version=config.version, num_items=config.num_items, min_cosine=config.min_cosine)
    move_alias(parity=parity)


@moon_pipeline(default_recipe="default.yaml", closing=closing_of_alias)
def rollback_moon() -> None:
    rollback_alias()
