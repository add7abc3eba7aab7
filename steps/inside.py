"""Figures of what the model looks at, into the run."""

from __future__ import annotations

import mlflow

from catalog import ArtifactName, Catalog, SplitConfig, split_catalog
from models.encoder import MoonEncoder
from models.inside.figures import figures_for_run
from models.inside.heat import HeatConfig
from models.inside.pairs import typical_pairs
from models.moe import draw_load, table_of_plain
from models.regions import RegionStore
from steps.limits import ingested_limits
from steps.records import ModelFolder, TrainingRun

FOLDER = ArtifactName.INSIDE.value
EXPERT_LOAD = f"{FOLDER}/expert_load.png"
NUM_PAIRS = 4
COARSE = HeatConfig(cells=8, window_cells=2)
"""A few seconds a pair on a CPU; `models.inside.explain` draws finer ones."""


def log_inside(model: ModelFolder, catalog: Catalog, split: SplitConfig, regions: RegionStore) -> None:
    """Heat maps, parts of the cosine and experts of a few held-out products, as figures of the active MLflow run.

    Args:
        model: The trained model.
        catalog: The validated catalogue.
        split: Which products are held out.
        regions: Core regions found before.
    """
    pairs = typical_pairs(catalog, split_catalog(catalog, split), NUM_PAIRS)
    encoder = MoonEncoder.load(model.path, store=regions, limits=ingested_limits(catalog))
    for name, figure in figures_for_run(encoder, pairs, COARSE).items():
        mlflow.log_figure(figure, f"{FOLDER}/{name}.png")


def log_expert_load(training: TrainingRun) -> None:
    """Which experts the tokens of each type chose over the training, as a figure of the active MLflow run.

    Args:
        training: Of a dense model, or recorded before the choices were kept: then there is no figure.
    """
    choices = training.record.get("expert_choices")
    if choices:
        mlflow.log_figure(draw_load(table_of_plain(choices)), EXPERT_LOAD)
