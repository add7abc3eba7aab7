"""The whole configuration tree: every room's section under one frozen root."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from catalog.config import CatalogConfig, Section
from models.config import ModelConfig, TrainConfig
from models.region_training.config import DetectorExportConfig, DetectorFitConfig, SceneSetConfig
from models.regions.config import RegionsConfig
from serving.config import ServingConfig
from validation.config import BenchmarkConfig, DataChecksConfig
from validation.curating import CuratingConfig
from validation.freezing import FreezingConfig
from validation.gate import GateConfig


class MoonConfig(Section):
    """What one run is made of. In a recipe it stands under `parameters: {config: {...}}`."""

    catalog: CatalogConfig = CatalogConfig()
    checks: DataChecksConfig = DataChecksConfig()
    regions: RegionsConfig = RegionsConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    gate: GateConfig = GateConfig()
    serving: ServingConfig = ServingConfig()


class BuildBenchmarkConfig(Section):
    """What a frozen evaluation set is made of, and by which rules."""

    catalog: CatalogConfig = CatalogConfig()
    on_error: Literal["stop", "quarantine"] = Field(
        default="stop", description="What a row or photo that cannot be read does; as in `checks.on_error`."
    )
    curating: CuratingConfig = CuratingConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    freezing: FreezingConfig = FreezingConfig()


class TrainRegionsConfig(Section):
    """What a detector of products is trained on, how, and where it goes."""

    catalog: CatalogConfig = CatalogConfig()
    on_error: Literal["stop", "quarantine"] = Field(
        default="stop", description="What a row or photo that cannot be read does; as in `checks.on_error`."
    )
    scenes: SceneSetConfig = SceneSetConfig()
    fit: DetectorFitConfig = DetectorFitConfig()
    export: DetectorExportConfig = DetectorExportConfig()


class PromoteConfig(Section):
    """What a promotion asks of a Bento before the alias moves."""

    version: str | None = Field(default=None, description="Version of the registry; the challenger where empty.")
    num_items: int = Field(default=24, ge=1, le=10_000, description="Products, and queries, compared with the service.")
    min_cosine: float = Field(
        default=0.9999, gt=0.0, le=1.0, description="Least cosine between a served vector and the offline one."
    )
