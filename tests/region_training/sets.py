"""Tiny sets of scenes whose products are bright rectangles, and a training small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from models.region_training import DetectorFitConfig, ScenePart, SceneSet, write_scene_set
from models.scenes import Cutout, CutoutSet, SceneConfig, scene_preset

SIDE_PX = 64


def cutouts(prefix: str = "p", count: int = 3) -> CutoutSet:
    """Rectangles in strong colours, each a product and a group of its own."""
    made = []
    for number in range(count):
        colour = tuple(int(value) for value in np.random.default_rng([number, len(prefix)]).integers(0, 256, 3))
        image = Image.new("RGBA", (70 + 10 * number, 80), (*colour, 255))
        key = f"{prefix}{number}"
        made.append(Cutout(image, product_id=key, group_id=key, title=f"thing {key}", ref=f"{key}.png"))
    return CutoutSet(tuple(made))


def parts(num_train: int = 8) -> list[ScenePart]:
    """A training and a validation part, and one that is judged."""
    train = SceneConfig(side_px=96, drawn_frac=0.0, empty_frac=0.0)
    judged = scene_preset("distractors", side_px=96, seed=2)
    return [
        ScenePart("train", num_train, cutouts("train"), train),
        ScenePart("val", 4, cutouts("val"), train.model_copy(update={"seed": 1})),
        ScenePart("distractors", 6, cutouts("test"), judged),
    ]


def scene_set(folder: Path, num_train: int = 8) -> SceneSet:
    """The parts above on disk."""
    return write_scene_set(folder, parts(num_train))


def tiny_fit(**changes: object) -> DetectorFitConfig:
    """Two epochs at 64 pixels."""
    base = {"side_px": SIDE_PX, "epochs": 2, "batch_size": 4, "num_threads": 1, "device": "cpu", "precision": "fp32"}
    return DetectorFitConfig.model_validate(base | changes)
