"""Curate a catalogue and its log, build the evaluation set, freeze it."""

from __future__ import annotations

import atexit
import logging
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Annotated

from zenml import step
from zenml.types import MarkdownString

from catalog import ArtifactName, Catalog, SplitConfig
from steps.limits import ingested_limits
from steps.materializers import DigestedFolderMaterializer
from steps.records import FrozenSet
from steps.tracking import log_config, log_frozen_set
from validation.config import BenchmarkConfig
from validation.curating import CuratingConfig, build_curated_set, curate
from validation.freezing import FreezingConfig, SetCard, read_card, save_eval_set

logger = logging.getLogger(__name__)


@step(
    enable_cache=False,
    experiment_tracker=True,
    output_materializers={ArtifactName.EVAL_SET.value: DigestedFolderMaterializer},
)
def build_benchmark(
    catalog: Catalog, split: SplitConfig, curating: CuratingConfig, benchmark: BenchmarkConfig, freezing: FreezingConfig
) -> tuple[
    Annotated[FrozenSet, ArtifactName.EVAL_SET.value], Annotated[MarkdownString, ArtifactName.EVAL_SET_CARD.value]
]:
    """From rows as the shop has them to a folder that any encoder can be judged on, anywhere.

    Never cached: it may write a folder that the cache does not know of.

    Raises:
        BenchmarkError: Nothing is left to ask and which rule took it, or another set lies in `freezing.folder`.
    """
    limits = ingested_limits(catalog)
    curated = curate(catalog, split, curating, limits)
    eval_set, findings = build_curated_set(curated, benchmark, curating, limits)
    sections = {"split": curated.split, "curating": curating, "benchmark": benchmark}
    rules = {
        f"{name}.{key}": value
        for name, section in sections.items()
        for key, value in section.model_dump(mode="json").items()
    }
    card = SetCard(
        name=freezing.name or catalog.name,
        created=datetime.now(UTC),
        source=catalog.name,
        source_digest=catalog.digest,
        licence=freezing.licence,
        valid_days=freezing.valid_days,
        rules=rules,
        findings=findings,
        leaves=curated.leaves,
    )
    place = mkdtemp(prefix="moon-eval-set-")
    # The artifact store takes its copy after the step has ended; a shop's photographs must not stay behind.
    atexit.register(rmtree, place, ignore_errors=True)
    folder = save_eval_set(eval_set, Path(place) / "set", card)
    if freezing.folder:
        kept = save_eval_set(eval_set, freezing.folder, card, overwrite=freezing.overwrite)
        logger.info("evaluation set written to %s", kept)
    log_config(rules)
    log_frozen_set(folder, eval_set.digest, {one.rule: one.count for one in findings})
    logger.info("evaluation set of %d products, digest %s", len(eval_set.gallery), eval_set.digest[:12])
    return FrozenSet(str(folder), eval_set.digest), MarkdownString(read_card(folder))
