"""Train the encoder; a killed run goes on where its last checkpoint stands."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from zenml import step

from catalog import ArtifactName, Catalog, Embedder, Side, SplitConfig, Splits, split_catalog
from models.config import ModelConfig, TrainConfig
from models.regions import CoreRegions, RegionsConfig, RegionStore, make_chooser, make_detector
from models.training import train as fit
from models.training.presets import TINY_EVALUATION
from steps.code import cache_key, cached_by, code_digest, commit
from steps.curves import CurveLogger
from steps.limits import ingested_limits
from steps.materializers import DigestedFolderMaterializer, RecordMaterializer
from steps.records import ModelFolder, TrainingRun
from steps.workdir import work_folder, work_key, work_root
from validation.benchmark import build_eval_set, main_part, main_score, run_benchmark
from validation.config import BenchmarkConfig

logger = logging.getLogger(__name__)


def cached_under() -> str:
    """What the cache goes by, beside the inputs."""
    return cache_key(__name__)


@step(
    cache_policy=cached_by(cached_under),
    experiment_tracker=True,
    output_materializers={
        ArtifactName.MODEL.value: DigestedFolderMaterializer,
        ArtifactName.TRAINING_RECORD.value: RecordMaterializer,
    },
)
def train_model(
    catalog: Catalog,
    regions: RegionStore,
    split: SplitConfig,
    regions_config: RegionsConfig,
    model: ModelConfig,
    train: TrainConfig,
    benchmark: BenchmarkConfig,
    weights_digest: str = "",
) -> tuple[
    Annotated[ModelFolder, ArtifactName.MODEL.value], Annotated[TrainingRun, ArtifactName.TRAINING_RECORD.value]
]:
    """Train on the train side, choose by the validation side, and write the model folder.

    Args:
        weights_digest: Of the published weights that the model starts from: other weights, another training.

    Raises:
        StorageError: Another run works with the same configuration, data and code at this moment.
        TrainingStoppedError: SIGTERM came; run again, the training goes on from the checkpoint it wrote.
    """
    splits = split_catalog(catalog, split)
    code_sha = code_digest(__name__)
    sections = (split, regions_config, model, benchmark)
    texts = (*(section.model_dump_json() for section in sections), train.deciding_json())
    key = work_key(*texts, catalog.digest, code_sha, weights_digest)
    with work_folder(f"train-{key}") as folder:
        curve = CurveLogger(folder / "curve.jsonl")
        record = fit(
            catalog,
            splits,
            model=model,
            train=train,
            regions=CoreRegions(make_detector(regions_config), make_chooser(regions_config), regions),
            regions_config=regions_config,
            work_dir=folder / "fit",
            out_dir=folder / "model",
            logger=curve,
            score=_validation_score(catalog, _few(splits) if train.preset == "fast_dev_run" else splits, benchmark),
            lineage={
                "data_digest": catalog.digest,
                "code_digest": code_sha,
                "commit": commit(),
                **({"weights_digest": weights_digest} if weights_digest else {}),
            },
            limits=ingested_limits(catalog),
            # By the code that makes them: what else decides features is in the names of the folders below.
            features_dir=work_root() / "features" / code_digest("models.training.prepare")[:16],
        )
        return ModelFolder(str(folder / "model"), record.digest), TrainingRun(record.to_dict(), curve.rows())


def _validation_score(
    catalog: Catalog, splits: Splits, benchmark: BenchmarkConfig
) -> Callable[[Embedder], float] | None:
    """The benchmark's main score on the validation side; None for a shop too small to have one."""
    if not splits.product_ids(Side.VAL):
        return None
    eval_set = main_part(build_eval_set(catalog, splits, benchmark, Side.VAL))
    return lambda embedder: main_score(run_benchmark(embedder, eval_set, benchmark))


def _few(splits: Splits) -> Splits:
    """Few products on the validation side, so that a `fast_dev_run` is judged in no time."""
    dropped = set(sorted(splits.product_ids(Side.VAL))[TINY_EVALUATION:])
    return replace(splits, side_of={key: side for key, side in splits.side_of.items() if key not in dropped})
