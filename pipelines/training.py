"""train_moon: a catalogue in; a judged, registered and packaged model out."""

from __future__ import annotations

from catalog import ConfigError
from models.backbones import weights_digest
from models.crops import with_crops
from moon.config import MoonConfig
from pipelines.moon_pipeline import moon_pipeline
from steps.closing import closing_of_training
from steps.detect_regions import detect_regions
from steps.evaluate_mbe import evaluate_mbe
from steps.gate import gate
from steps.ingest_catalog import ingest_catalog
from steps.package_bento import package_bento
from steps.register_model import register_model
from steps.report import report
from steps.train_model import train_model
from steps.validate_catalog import validate_catalog
from validation.gate import load_policy


def check_fits(config: MoonConfig = MoonConfig()) -> None:
    """Refuse before the training what would be refused after it.

    Raises:
        ConfigError: The gate's policy cannot be read or is none; or shorter vectors are to be served than are judged.
        ModelError: The model is to be served with crops that it is trained without.
    """
    load_policy(config.gate)
    with_crops(config.model, config.serving.crops, where="serving.crops")
    # The gate judges whole vectors: a Bento of shorter ones would carry a verdict that was never reached.
    served, judged = config.serving.dims, config.model.embedding_dims
    if served not in (None, judged):
        raise ConfigError(
            "vectors of another length would be served than the gate judges",
            where="serving.dims",
            got=str(served),
            allowed=f"empty, or {judged} (model.embedding_dims)",
            fix="leave serving.dims out here; embed_catalog makes vectors and index of a shorter, trained length",
        )


@moon_pipeline(default_recipe="demo.yaml", closing=closing_of_training, fits=check_fits)
def train_moon(config: MoonConfig = MoonConfig()) -> None:
    catalog = ingest_catalog(catalog=config.catalog, on_error=config.checks.on_error)
    validated, data_report = validate_catalog(catalog=catalog, section=config.catalog, checks=config.checks)
    regions, gallery = detect_regions(catalog=validated, regions=config.regions)
    model, training = train_model(
        catalog=validated,
        regions=regions,
        split=config.catalog.split,
        regions_config=config.regions,
        model=config.model,
        train=config.train,
        benchmark=config.benchmark,
        weights_digest=weights_digest(config.model),
    )
    scored = evaluate_mbe(
        catalog=validated,
        regions=regions,
        model=model,
        split=config.catalog.split,
        regions_config=config.regions,
        benchmark=config.benchmark,
        crops=config.serving.crops,
    )
    decision = gate(
        catalog=validated,
        benchmark=scored,
        split=config.catalog.split,
        benchmark_config=config.benchmark,
        gate_config=config.gate,
    )
    registration = register_model(
        catalog=validated,
        model=model,
        training=training,
        benchmark=scored,
        decision=decision,
        crops=config.serving.crops,
    )
    bento = package_bento(
        catalog=validated, regions=regions, model=model, registration=registration, serving=config.serving
    )
    report(
        catalog=catalog,
        validated_catalog=validated,
        data_report=data_report,
        regions=regions,
        region_gallery=gallery,
        model=model,
        training=training,
        benchmark=scored,
        decision=decision,
        registration=registration,
        bento=bento,
        split=config.catalog.split,
        config=config.model_dump(mode="json"),
    )
