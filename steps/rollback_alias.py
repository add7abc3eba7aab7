"""Make the previous champion the champion again."""

from __future__ import annotations

import logging
from typing import Annotated

from zenml import step

from catalog import Alias, ArtifactName, ModelError
from steps.materializers import RecordMaterializer
from steps.records import AliasMove
from steps.registry import Registry

logger = logging.getLogger(__name__)


@step(enable_cache=False, experiment_tracker=True, output_materializers=RecordMaterializer)
def rollback_alias() -> Annotated[AliasMove, ArtifactName.ALIAS_MOVE.value]:
    """Move `champion` back by one.

    Raises:
        ModelError: There is no champion, or none before it.
    """
    registry = Registry()
    champion = registry.by_alias(Alias.CHAMPION)
    if champion is None:
        raise ModelError(
            "there is no champion to roll back", where=registry.name, fix="zenml pipeline run promote_moon"
        )
    present = str(champion.version)
    # A promotion that was killed half-way has remembered the champion that still stands.
    before = [version for version in registry.previous_champions() if version != present]
    if not before:
        raise ModelError(
            "there is no champion before this one", where=f"{registry.name} version {present}", fix="moon runs"
        )
    target = str(registry.by_version(before[-1]).version)
    registry.point(Alias.CHAMPION, target)
    registry.remember_champions(before[:-1])
    logger.info("%s is back at version %s, was at %s", Alias.CHAMPION, target, present)
    return AliasMove(Alias.CHAMPION, target, present, moved=True)
