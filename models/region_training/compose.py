"""From a catalogue to scenes: cut-outs by side of the split, so that what is judged was never trained on."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from catalog import Catalog, ImageLimits, ModelError, Side, Splits
from models.region_training.config import SceneSetConfig
from models.region_training.scene_set import ScenePart, SceneSet, write_scene_set
from models.scenes import Backgrounds, SceneConfig, catalog_backgrounds, cut_catalog, read_backgrounds, scene_preset

_log = logging.getLogger(__name__)

TRAIN, VAL = "train", "val"
JUDGED = ("one_product", "distractors", "hard")
"""Presets of scenes that a detector is judged on."""
_VAL_SEED, _JUDGED_SEED = 1, 2
"""Added to the scenes' seed: with the training's own, the same dice would fall again for other products."""
_NAMED_REASONS = 3


def compose_scenes(
    catalog: Catalog,
    splits: Splits,
    cfg: SceneSetConfig,
    folder: Path,
    version: str = "",
    limits: ImageLimits = ImageLimits(),
    progress: Callable[[int, int], None] | None = None,
) -> SceneSet:
    """Cut the catalogue's products out and compose scenes of each side.

    Args:
        catalog: Any with photographs before plain backgrounds.
        splits: Training scenes hold cut-outs of the train side alone, judged ones of the test side alone.
        cfg: How many, and of what.
        folder: See `write_scene_set`; an interrupted one is filled up.
        version: Of the code that cuts and composes.
        limits: What a picture may cost.
        progress: Called with (scenes there, scenes in all).

    Raises:
        ModelError: A side of the split has no cut-out; OpenCV is not installed; no background can be read.
        StorageError: The folder cannot be written.
    """
    cut = cut_catalog(catalog, limits, max_cutouts=cfg.max_cutouts, num_workers=cfg.num_workers)
    reasons = Counter(row.reason for row in cut.refused)
    told = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(_NAMED_REASONS))
    _log.info("%d cut-outs, %d photographs gave none%s", len(cut), len(cut.refused), f": {told}" if told else "")
    sides = {side: cut.side(side, splits) for side in Side}
    for side, cutouts in sides.items():
        if not len(cutouts):
            raise ModelError(
                f"no product of the {side.value} side could be cut out",
                where=f"catalogue {catalog.name}",
                got=f"{len(cut)} cut-outs in all" + (f"; refused: {told}" if told else ""),
                allowed="photographs of products before a plain background, on every side of the split",
                fix="take a larger catalogue, or change catalog.split",
            )
    # The photographs of products held out would bring their textures into training scenes.
    photos = _backgrounds(catalog.subset(splits.product_ids(Side.TRAIN)), cfg, limits)
    train = cfg.scene

    def part(name: str, num_scenes: int, side: Side, config: SceneConfig) -> ScenePart:
        return ScenePart(name, num_scenes, sides[side], config, photos)

    parts = [
        part(TRAIN, cfg.num_train, Side.TRAIN, train),
        part(VAL, cfg.num_val, Side.VAL, train.model_copy(update={"seed": train.seed + _VAL_SEED})),
        *(part(name, cfg.num_held_out, Side.TEST, _judged(name, train)) for name in JUDGED),
    ]
    return write_scene_set(
        folder,
        parts,
        version,
        notes={"cutouts": {side.value: len(cutouts) for side, cutouts in sides.items()}, "refused": len(cut.refused)},
        jpeg_quality=cfg.jpeg_quality,
        num_workers=cfg.num_workers or len(os.sched_getaffinity(0)),
        progress=progress,
    )


def _judged(name: str, train: SceneConfig) -> SceneConfig:
    """The preset as it is, at the training's size, so that scores of different trainings can be compared."""
    return scene_preset(name, side_px=train.side_px, seed=train.seed + _JUDGED_SEED)


def _backgrounds(catalog: Catalog, cfg: SceneSetConfig, limits: ImageLimits) -> Backgrounds | None:
    if cfg.backgrounds is not None:
        return read_backgrounds(cfg.backgrounds, limits)
    return catalog_backgrounds(catalog, limits) if cfg.catalog_backgrounds else None
