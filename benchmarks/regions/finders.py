"""What is compared: the whole picture, a backend of the configuration, or a detector trained on some shop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from PIL import Image

from catalog import Box, ConfigError
from models.regions import CoreRegion, RegionsConfig, Wanted, make_chooser, make_detector

WHOLE = "whole"


@dataclass(frozen=True)
class Finder:
    """A name for tables, and the section that finds."""

    name: str
    config: RegionsConfig

    def find(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[CoreRegion]:
        """Core regions of pictures, as training and serving would take them."""
        detector, chooser = make_detector(self.config), make_chooser(self.config)
        found = detector.detect(images, wanted)
        return [
            chooser.choose(candidates, image.size, one)
            for candidates, image, one in zip(found, images, wanted, strict=True)
        ]


def read_finder(text: str) -> Finder:
    """Read `NAME`, `NAME+worn` or `NAME=FOLDER`.

    Boxes are those chosen, without the padding that a crop gets: it would count as error. NAME is `whole`, or a backend
    of `regions.backend`; a folder holds what `train_regions` exported. `+worn` goes on from a person to the garment.

    Raises:
        ConfigError: It is none of these.
    """
    name, _, folder = text.partition("=")
    backend, *stages = name.split("+")
    changes: dict[str, Any] = {"worn": {"enabled": "worn" in stages}, "chooser": {"padding_frac": 0.0}}
    if set(stages) - {"worn"}:
        raise ConfigError("no such stage", where=f"--finder {text}", got=", ".join(stages), allowed="worn")
    if folder:
        weights, model_yaml = detector_files(Path(folder))
        changes |= {"backend": "yolo", "yolo": {"weights": str(weights), "model_yaml": str(model_yaml)}}
    else:
        known = {WHOLE: "none"} | {one: one for one in get_args(RegionsConfig.model_fields["backend"].annotation)}
        if backend not in known:
            raise ConfigError(
                "no such finder",
                where=f"--finder {text}",
                got=backend,
                allowed=", ".join(known),
                fix="of a detector that train_regions exported, give NAME=FOLDER",
            )
        changes["backend"] = known[backend]
    return Finder(name, RegionsConfig.model_validate(changes))


def read_finders(texts: Sequence[str]) -> list[Finder]:
    """Every finder; figures are kept by name, so no two may share one.

    Raises:
        ConfigError: One cannot be read, or two have the same name.
    """
    finders = [read_finder(text) for text in texts]
    names = [finder.name for finder in finders]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError("two finders have the same name", where="--finder", got=", ".join(twice), fix="rename one")
    return finders


def detector_files(folder: Path) -> tuple[Path, Path]:
    """Weights and model YAML of an exported detector.

    Raises:
        ConfigError: Not exactly one of each is there.
    """
    weights, yamls = sorted(folder.glob("*.safetensors")), sorted(folder.glob("*.yaml"))
    if len(weights) != 1 or len(yamls) != 1:
        raise ConfigError(
            "not an exported detector",
            where=str(folder),
            got=f"{len(weights)} .safetensors, {len(yamls)} .yaml",
            allowed="one of each, as train_regions exports them",
        )
    return weights[0], yamls[0]


def boxes_of(regions: Sequence[CoreRegion]) -> list[Box]:
    """Their boxes."""
    return [region.box for region in regions]
