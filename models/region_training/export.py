"""A trained detector as files: safetensors, the model YAML, and a card that says what it is; written whole or not."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
import yaml
from safetensors.torch import save_file

from catalog import ModelError, StorageError
from models.region_training.judging import DetectorScores
from models.weights.place import take_place

CARD_JSON, CARD_MARKDOWN = "card.json", "card.md"
SCHEMA_VERSION = 1
ULTRALYTICS_NOTE = (
    "Ultralytics, whose code trained this detector and runs it, is AGPL-3.0. Its publisher holds that models trained "
    "with it are derivative works under that licence unless an enterprise licence was bought. Who publishes or "
    "embeds the weights must decide whether to follow that view."
)


@dataclass(frozen=True)
class DetectorCard:
    """What a detector is, what it was made of, and how good it is."""

    name: str
    weights_digest: str
    """SHA-256 of the safetensors file."""
    data: str
    """The catalogue in words, with its size."""
    data_digest: str
    cutouts: dict[str, int]
    """Cut-outs by side of the split."""
    scenes_digest: str
    num_scenes: dict[str, int]
    settings: dict[str, Any]
    """The sections that decided scenes and training."""
    epochs: int
    seconds: float
    """Of training."""
    scores: list[DetectorScores]
    saliency: list[DetectorScores]
    """The detector without weights on the same scenes, in step."""
    licence: str
    licence_of_pictures: str
    versions: dict[str, str]
    commit: str = ""
    schema_version: int = field(default=SCHEMA_VERSION)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        scores = {name: [DetectorScores.from_dict(row) for row in data[name]] for name in ("scores", "saliency")}
        return cls(**{**data, **scores})

    def markdown(self) -> str:
        """The card to read."""
        side_px = self.settings["fit"]["side_px"]
        scenes = ", ".join(f"{count:,} {name}" for name, count in self.num_scenes.items())
        rows = [
            ("weights", f"`{self.weights_digest}` (SHA-256)"),
            ("data", f"{self.data}, digest `{self.data_digest}`"),
            ("cut-outs", ", ".join(f"{count} {side}" for side, count in self.cutouts.items())),
            ("scenes", f"{scenes}; digest `{self.scenes_digest}`"),
            ("training", f"{self.epochs} epochs at {side_px} px from random weights, {self.seconds:.0f} s"),
            ("made with", ", ".join(f"{name} {version}" for name, version in self.versions.items())),
            ("commit", f"`{self.commit or 'unknown'}`"),
        ]
        return "\n".join(
            [
                f"# Product detector `{self.name}`",
                "",
                "Finds products in a photograph, whatever they are. Trained on composed scenes alone, whose "
                "boxes are exact; no picture was labelled by hand.",
                "",
                "| | |",
                "|---|---|",
                *(f"| {name} | {value} |" for name, value in rows),
                "",
                "## Scores on composed scenes of products held out by group",
                "",
                "The chosen box is that of the rule by default, without its padding; 95 % intervals.",
                "",
                "| scenes | detector | mean IoU, chosen box | recall at IoU 0.5 | core chosen right | AP at 0.5 |",
                "|---|---|---|---|---|---|",
                *(_row(one, self.name) for one in self.scores),
                *(_row(one, "saliency") for one in self.saliency),
                "",
                "Composed scenes are not photographs: how it does on real ones has to be measured on real ones.",
                "",
                "## Licence",
                "",
                f"Weights: {self.licence}. Pictures it was trained on: {self.licence_of_pictures}.",
                "",
                ULTRALYTICS_NOTE,
                "",
                "## Settings",
                "",
                "```yaml",
                yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True).rstrip(),
                "```",
                "",
            ]
        )


def _row(scores: DetectorScores, name: str) -> str:
    shares = " | ".join(
        f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f}, n {score.n})"
        for score in (scores.mean_iou, scores.recall, scores.core_right)
    )
    return f"| {scores.part} | {name} | {shares} | {scores.average_precision:.3f} |"


def write_weights(
    folder: Path, name: str, model_cfg: Mapping[str, Any], state: Mapping[str, torch.Tensor], half: bool = True
) -> Path:
    """Write `name`.safetensors and `name`.yaml into `folder`, as the detector reads them.

    Args:
        folder: Made where it is missing.
        name: Without a suffix.
        model_cfg: The model YAML's content.
        state: Averaged weights.
        half: Store floats in 16 bits.

    Returns:
        The safetensors file.

    Raises:
        ModelError: A weight is not finite, or does not fit into 16 bits.
        StorageError: The folder cannot be written.
    """
    tensors = {}
    for key, value in state.items():
        stored = value.detach().cpu()
        if half and stored.is_floating_point():
            stored = stored.half()
        if not bool(torch.isfinite(stored).all()):
            raise ModelError(
                "detector weights are not finite",
                where=key,
                got="16 bits" if half else "32 bits",
                fix="set export.half to false, or train again",
            )
        tensors[key] = stored.contiguous().clone()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / f"{name}.safetensors")
        text = yaml.safe_dump(dict(model_cfg), sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise _not_written(folder, error) from None
    return folder / f"{name}.safetensors"


def weights_digest(weights: Path) -> str:
    """SHA-256 of a weights file."""
    with weights.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_detector(folder: Path, weights: Path, card: DetectorCard) -> None:
    """Write weights, YAML and card beside their place, then move them there; an older detector there is replaced.

    Args:
        folder: Its place.
        weights: The safetensors file that was judged, its YAML beside it.
        card: Of these weights.

    Raises:
        StorageError: The place cannot be written, or holds something else than a detector; what was there stays.
    """
    _refuse_foreign(folder)
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        for suffix in (".safetensors", ".yaml"):
            shutil.copyfile(weights.with_suffix(suffix), partial / f"{card.name}{suffix}")
        text = json.dumps(card.to_dict(), indent=1, ensure_ascii=False) + "\n"
        (partial / CARD_JSON).write_text(text, encoding="utf-8")
        (partial / CARD_MARKDOWN).write_text(card.markdown(), encoding="utf-8")
        partial.chmod(0o755)
        take_place(partial, folder)
    except OSError as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        raise _not_written(folder, error) from None


def read_card(folder: Path) -> DetectorCard:
    """The card of a detector.

    Raises:
        ModelError: There is none, it is damaged, or of another schema.
    """
    path = folder / CARD_JSON
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {data['schema_version']}, allowed is {SCHEMA_VERSION}")
        return DetectorCard.from_dict(data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError("detector's card cannot be read", where=str(path), got=str(error), fix="train again") from None


def _refuse_foreign(folder: Path) -> None:
    """Only a detector is replaced: a mistyped folder must not cost its files."""
    if folder.exists() and any(folder.iterdir()) and not (folder / CARD_JSON).is_file():
        raise StorageError(
            "the place for the detector holds other files",
            where=str(folder),
            allowed="a folder that is new, empty, or holds an older detector with its card.json",
            fix="name another folder in export.folder",
        )


def _not_written(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        "detector cannot be written", where=str(folder), got=str(error), fix="free space or choose another place"
    )
