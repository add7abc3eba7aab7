"""The ultralytics detector, class-agnostic, from safetensors and a model YAML; our own weights are in the package.

Ultralytics is imported here alone and inside functions: importing it looks for the network and writes a settings
file. It is AGPL-3.0; everything else runs without it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torchvision.ops import nms
from torchvision.transforms.functional import pil_to_tensor

from catalog import ModelError
from models.devices import choose_device
from models.regions.boxes import clip_box
from models.regions.config import YoloConfig
from models.regions.detector import Candidate, settings_digest
from models.regions.wanted import Wanted

YOLO_VERSION = 1
"""Raise it whenever a box changes for the same weights and parameters."""

DISTRACTOR = "distractor"
"""Class of the products that a photograph is not of, where weights were trained to tell them."""
BUNDLED = "bundled"
"""What `weights` says for the detector in this package."""
BUNDLED_WEIGHTS = Path(__file__).parent / "bundled" / "product.safetensors"

_GREY = 114.0 / 255.0
"""What ultralytics fills the letterbox with when it trains."""


class YoloDetector:
    """Candidates from a trained ultralytics detection model; the network is built on first use.

    Args:
        cfg: The yolo section.
        num_candidates: K.
        weights_dir: Where relative paths start; the working folder when None.

    Raises:
        ModelError: ultralytics is not installed; weights or YAML are missing or of the wrong kind; a GPU is asked for
            that is not there.
    """

    def __init__(self, cfg: YoloConfig, num_candidates: int, weights_dir: str | Path | None = None) -> None:
        ultralytics_tasks()
        self._cfg, self._num_candidates = cfg, num_candidates
        self._device, _ = choose_device(cfg.device, "regions.yolo.device")
        self._weights, model_yaml = detector_files(cfg, weights_dir)
        self._model_cfg = load_model_yaml(str(model_yaml), weights_dir)
        # Not the device: what is found hangs on it by the last bits alone, and a model goes from one to another.
        settings = cfg.model_dump(mode="json", exclude={"weights", "model_yaml", "device"}) | {
            "num_candidates": num_candidates,
            "model": self._model_cfg,
            "weights": hashlib.sha256(self._weights.read_bytes()).hexdigest(),
        }
        self.digest = settings_digest("yolo", YOLO_VERSION, settings)
        self._class_weights = _class_weights(self._model_cfg, cfg.other_score_frac)
        self._model: torch.nn.Module | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A worker process builds its own network: the weights' path is all it needs.
        return self.__dict__ | {"_model": None}

    def prompt(self, wanted: Wanted) -> str:
        """Empty: the picture alone decides."""
        return ""

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        """Candidates of every picture, best first; words are not read.

        Raises:
            ModelError: The weights do not fit the model YAML.
        """
        if self._model is None:
            self._model = build_detection_model(self._model_cfg, self._weights).to(self._device)
        found: list[list[Candidate]] = []
        for start in range(0, len(images), self._cfg.batch_size):
            part = images[start : start + self._cfg.batch_size]
            boxed = [letterbox(image, self._cfg.side_px) for image in part]
            with torch.inference_mode():
                output = self._model(torch.stack([pixels for pixels, _, _ in boxed]).to(self._device))
            rows = output[0] if isinstance(output, (tuple, list)) else output
            for image, (_, scale, (left, top)), row in zip(part, boxed, rows, strict=True):
                found.append(self._candidates(image, row.float().cpu(), scale, left, top))
        return found

    def _candidates(
        self, image: Image.Image, row: torch.Tensor, scale: tuple[float, float], left: int, top: int
    ) -> list[Candidate]:
        boxes, scores = _decode(row, self._class_weights)
        usable = (scores >= self._cfg.min_score) & torch.isfinite(boxes).all(dim=1)
        boxes, scores = boxes[usable], scores[usable]
        offset = torch.tensor([left, top, left, top], dtype=boxes.dtype)
        factor = torch.tensor([scale[0], scale[1], scale[0], scale[1]], dtype=boxes.dtype)
        boxes = (boxes - offset) / factor
        candidates = []
        for index in nms(boxes, scores, self._cfg.nms_iou).tolist():
            x0, y0, x1, y1 = boxes[index].tolist()
            inside = clip_box((x0, y0, x1, y1), image.size)
            if inside is not None:
                candidates.append(Candidate(inside, min(float(scores[index]), 1.0)))
        return candidates[: self._num_candidates]


def _class_weights(model_cfg: dict[str, Any], other_score_frac: float) -> torch.Tensor:
    """(classes,): less for the class of products that a photograph is not of; one for every other class."""
    names = list(model_cfg.get("names") or [])
    weights = torch.ones(int(model_cfg.get("nc") or 1))
    for number, name in enumerate(names[: len(weights)]):
        if name == DISTRACTOR:
            weights[number] = other_score_frac
    return weights


def ultralytics_tasks() -> Any:
    """The module `ultralytics.nn.tasks`, imported with the network and its settings folder kept out of the way.

    Raises:
        ModelError: ultralytics is not installed.
    """
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ.setdefault("YOLO_CONFIG_DIR", os.path.join(tempfile.gettempdir(), f"moon-ultralytics-{os.getuid()}"))
    os.environ.setdefault("YOLO_VERBOSE", "false")
    Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)
    try:
        from ultralytics.nn import tasks
    except ImportError as error:
        raise ModelError(
            "ultralytics is not installed",
            where="regions.backend",
            got=f"yolo ({error})",
            fix="pip install ultralytics==8.4.190 (AGPL-3.0), or set regions.backend to saliency",
        ) from None
    logging.getLogger("ultralytics").setLevel(logging.WARNING)
    return tasks


def load_model_yaml(
    name: str, weights_dir: str | Path | None = None, heads: Sequence[str] = ("Detect", "v10Detect")
) -> dict[str, Any]:
    """The architecture that `name` means: a file, or one of the YAMLs bundled with ultralytics; of one of the `heads`.

    Raises:
        ModelError: No such YAML, one that is not a detection model, or one with an activation that would be evaluated
            as code.
    """
    tasks = ultralytics_tasks()
    path = Path(weights_dir or ".") / name
    if path.is_file():
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ModelError("model YAML cannot be read", where=str(path), got=str(error)) from None
        if isinstance(content, dict):
            content.setdefault("scale", tasks.guess_model_scale(name))
            _refuse_code(content, name)
    elif os.path.basename(name) == name:
        try:
            content = tasks.yaml_model_load(name)
        except FileNotFoundError:
            content = None
    else:
        content = None
    if not isinstance(content, dict) or not content.get("head") or not content.get("backbone"):
        raise ModelError(
            "no such model YAML",
            where="regions.yolo.model_yaml",
            got=name,
            allowed="a file with backbone and head, or a name that ultralytics bundles, such as yolo26n.yaml",
        )
    content.pop("yaml_file", None)
    task = str(content["head"][-1][2])
    if task not in heads:
        raise ModelError("model YAML is of another task", where=name, got=task, allowed=", ".join(heads))
    return content


def _refuse_code(content: dict[str, Any], name: str) -> None:
    # Ultralytics evaluates this key as Python; its own bundled files are trusted, a model folder's are not.
    if "activation" in content:
        raise ModelError(
            "model YAML sets an activation, which ultralytics would run as code",
            where=name,
            got=str(content["activation"]),
            fix="remove the key; the default activation is used",
        )


def build_detection_model(model_cfg: dict[str, Any], weights: Path) -> torch.nn.Module:
    """The network of `model_cfg` with the weights of a safetensors file, in fp32 on the CPU, ready to predict.

    Weights may be stored in 16 bits.

    Raises:
        ModelError: The file is damaged, its tensors are not those of the architecture, or they are not finite.
    """
    model = ultralytics_tasks().DetectionModel(dict(model_cfg), ch=3, verbose=False)
    state = read_weights(weights)
    check_weights(model, state, weights)
    broken = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ModelError("detector weights are not finite", where=str(weights), got=broken[0])
    model.load_state_dict(state)
    return model.float().eval()


def read_weights(weights: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file.

    Raises:
        ModelError: It is damaged.
    """
    try:
        state: dict[str, torch.Tensor] = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise ModelError("detector weights are damaged", where=str(weights), got=str(error)) from None
    return state


def check_weights(model: torch.nn.Module, state: dict[str, torch.Tensor], weights: Path) -> None:
    """Refuse tensors that are not exactly those of the architecture.

    Raises:
        ModelError: Names or shapes differ; names the first.
    """
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in state.items()}
    if expected == got:
        return
    names = sorted(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
    raise ModelError(
        "detector weights do not fit the model YAML (another task, size or number of classes)",
        where=str(weights),
        got=f"{names[0]}: {got.get(names[0], 'absent')} ({len(names)} tensors differ)",
        allowed=f"{names[0]}: {expected.get(names[0], 'absent')}",
        fix="give the YAML that the weights were trained with",
    )


def detector_files(cfg: YoloConfig, weights_dir: str | Path | None = None) -> tuple[Path, Path]:
    """Weights and model YAML that `cfg` means; a bare name of a YAML may be one that ultralytics bundles.

    Raises:
        ModelError: No weights there, or not safetensors.
    """
    weights = BUNDLED_WEIGHTS if cfg.weights == BUNDLED else Path(weights_dir or ".") / cfg.weights
    if weights.suffix != ".safetensors":
        raise ModelError(
            "detector weights are not safetensors",
            where="regions.yolo.weights",
            got=str(weights),
            allowed="bundled, or a .safetensors file; a .pt file is a pickle, which can run code when opened",
            fix="export the weights as safetensors with their model YAML",
        )
    if not weights.is_file():
        raise ModelError(
            "detector weights are missing",
            where="regions.yolo.weights",
            got=str(weights),
            fix="zenml pipeline run train_regions, or set regions.backend to saliency",
        )
    if cfg.model_yaml is not None:
        return weights, Path(cfg.model_yaml)
    beside = weights.with_suffix(".yaml")
    if not beside.is_file():
        raise ModelError(
            "there is no model YAML beside the detector weights",
            where=str(beside),
            fix="put it there, or name one in regions.yolo.model_yaml",
        )
    return weights, beside.absolute()


def letterbox(image: Image.Image, side_px: int) -> tuple[torch.Tensor, tuple[float, float], tuple[int, int]]:
    """`image` centred on a grey square: (3, side, side) in 0..1, its scale in x and y, and its left top corner."""
    factor = side_px / max(image.size)
    width, height = max(round(image.width * factor), 1), max(round(image.height * factor), 1)
    small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    left, top = (side_px - width) // 2, (side_px - height) // 2
    square = torch.full((3, side_px, side_px), _GREY)
    square[:, top : top + height, left : left + width] = pil_to_tensor(small).float() / 255.0
    return square, (width / image.width, height / image.height), (left, top)


def _decode(row: torch.Tensor, class_weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes (N, 4) as corners and scores (N,) of one picture, best class each after its weight.

    End-to-end heads give (300, 6) rows of corners, score, class; the others (4 + classes, N) of centres and sizes.
    """
    if row.shape[-1] == 6 and row.shape[0] == 300:
        return row[:, :4], row[:, 4] * class_weights[row[:, 5].long()]
    centre, size = row[:2].T, row[2:4].T
    return torch.cat([centre - size / 2.0, centre + size / 2.0], dim=1), (row[4:] * class_weights[:, None]).amax(dim=0)
