"""train_regions: a catalogue in; a detector of its products out, with a card."""

from __future__ import annotations

from moon.config import TrainRegionsConfig
from pipelines.moon_pipeline import moon_pipeline
from steps.closing import closing_of_regions
from steps.compose_scenes import compose_scenes
from steps.export_detector import export_detector
from steps.fit_detector import fit_detector
from steps.ingest_catalog import ingest_catalog
from steps.judge_detector import judge_detector


@moon_pipeline(default_recipe="demo.yaml", closing=closing_of_regions)
def train_regions(config: TrainRegionsConfig = TrainRegionsConfig()) -> None:
    catalog = ingest_catalog(catalog=config.catalog, on_error=config.on_error)
    scenes = compose_scenes(catalog=catalog, split=config.catalog.split, scenes=config.scenes)
    weights, training = fit_detector(scenes=scenes, fit_config=config.fit, export=config.export)
    judgement, pictures = judge_detector(scenes=scenes, weights=weights, fit_config=config.fit, export=config.export)
    export_detector(
        catalog=catalog,
        scenes=scenes,
        weights=weights,
        training=training,
        judgement=judgement,
        pictures=pictures,
        scenes_config=config.scenes,
        fit_config=config.fit,
        export=config.export,
        config=config.model_dump(mode="json"),
    )
