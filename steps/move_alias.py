"""Make a version the champion. The last thing a promotion does."""

from __future__ import annotations

import logging
from typing import Annotated

from zenml import step

from catalog import Alias, ArtifactName
from steps.materializers import RecordMaterializer
from steps.records import AliasMove, Parity
from steps.registry import Registry

logger = logging.getLogger(__name__)


@step(enable_cache=False, experiment_tracker=True, output_materializers=RecordMaterializer)
def move_alias(parity: Parity) -> Annotated[AliasMove, ArtifactName.ALIAS_MOVE.value]:
    """Point `champion` at the version whose Bento has proven itself; the former champion is remembered first."""
    registry = Registry()
    incumbent = registry.by_alias(Alias.CHAMPION)
    previous = str(incumbent.version) if incumbent is not None else None
    if previous == parity.version:
        return AliasMove(Alias.CHAMPION, parity.version, previous, moved=False)
    if previous is not None:
        registry.remember_champions([*registry.previous_champions(), previous])
    registry.point(Alias.CHAMPION, parity.version)
    logger.info("%s now points at version %s, before at %s", Alias.CHAMPION, parity.version, previous or "none")
    return AliasMove(Alias.CHAMPION, parity.version, previous, moved=True)
