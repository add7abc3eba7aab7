"""Put a detector's card together from what the steps before it left."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from catalog import Catalog
from models.region_training.config import DetectorExportConfig, DetectorFitConfig, SceneSetConfig
from models.region_training.export import DetectorCard
from models.region_training.export import weights_digest as digest_of
from models.region_training.judging import DetectorScores
from models.region_training.scene_set import SceneSet

_MADE_WITH = ("ultralytics", "torch", "opencv-python")


def make_card(
    catalog: Catalog,
    scenes: SceneSet,
    sections: tuple[SceneSetConfig, DetectorFitConfig, DetectorExportConfig],
    weights: Path,
    seconds: float,
    scores: Sequence[DetectorScores],
    saliency: Sequence[DetectorScores],
    commit: str = "",
) -> DetectorCard:
    """The card of `weights`.

    Args:
        catalog: Whose cut-outs the scenes hold.
        scenes: Trained and judged on.
        sections: What decided scenes, training and export.
        weights: The safetensors file that was judged.
        seconds: Of training.
        scores: Of each kind of scenes.
        saliency: In step with `scores`.
        commit: Of the code.
    """
    scenes_cfg, fit, export = sections
    notes = scenes.manifest["notes"]
    return DetectorCard(
        name=export.name,
        weights_digest=digest_of(weights),
        data=f"{catalog.name}, {len(catalog.products)} products",
        data_digest=catalog.digest,
        cutouts=notes["cutouts"],
        scenes_digest=scenes.digest,
        num_scenes=scenes.parts,
        settings={
            "scenes": scenes_cfg.model_dump(mode="json", exclude={"num_workers", "backgrounds"}),
            "fit": fit.model_dump(mode="json", exclude={"device", "num_threads"}),
        },
        epochs=fit.epochs,
        seconds=seconds,
        scores=list(scores),
        saliency=list(saliency),
        licence=export.licence,
        licence_of_pictures=export.licence_of_pictures,
        versions={name: version(name) for name in _MADE_WITH},
        commit=commit,
    )
