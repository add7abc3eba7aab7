"""Train a detector on scenes: from random weights to the averaged ones, epoch by epoch, going on after a kill."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from catalog import ModelError
from models.devices import choose_device, native_bf16
from models.region_training.config import DetectorFitConfig
from models.region_training.scene_set import CLASSES, SceneSet
from models.region_training.trainer import kept_random_state, make_trainer
from models.regions.yolo import load_model_yaml

_log = logging.getLogger(__name__)

Row = dict[str, float]
"""`step`, which is the epoch, and what was measured in it."""


@dataclass(frozen=True)
class TrainedDetector:
    """Averaged weights after the last epoch, in fp32 on the CPU."""

    model_cfg: dict[str, Any]
    state: dict[str, torch.Tensor]
    curve: list[Row]
    seconds: float
    """Of all epochs, those before an interruption too."""


def fit_detector(
    scenes: SceneSet,
    cfg: DetectorFitConfig,
    work_dir: Path,
    on_epoch: Callable[[Row], None] | None = None,
) -> TrainedDetector:
    """Train on the parts `train` and `val` of `scenes`.

    Args:
        scenes: Pictures and boxes.
        cfg: Architecture, length, rates.
        work_dir: Checkpoint after every epoch; a training of the same scenes and settings goes on from there and ends
            with the weights that it would have had without the interruption.
        on_epoch: Given every epoch's row, those of an earlier run first.

    Raises:
        ModelError: ultralytics is not installed, the architecture is none of the task, the loss is not finite, or
            there is nothing to train on.
    """
    model_cfg = architecture(cfg)
    if not any(truth.core for truth in scenes.truths("train")):
        raise ModelError("no scene holds a product", where=str(scenes.folder), fix="compose scenes from cut-outs")
    key = hashlib.sha256(f"{scenes.digest}\0{cfg.model_dump_json()}".encode()).hexdigest()
    folder = work_dir / f"fit-{key[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    device, why_there = choose_device(cfg.device, "fit.device")
    precision, why_so = precision_of(cfg, device)
    _log.info(
        "training %s on %d scenes, %d px, %d epochs of %d steps, on %s (%s) in %s (%s)",
        cfg.model_yaml,
        scenes.parts["train"],
        cfg.side_px,
        cfg.epochs,
        -(-scenes.parts["train"] // cfg.batch_size),
        device,
        why_there,
        precision,
        why_so,
    )
    threads = torch.get_num_threads()
    if cfg.num_threads:
        torch.set_num_threads(cfg.num_threads)
    try:
        with kept_random_state():
            trainer = make_trainer(scenes, cfg, model_cfg, folder, device, precision)
            report = _reporter(cfg.epochs, on_epoch)
            for row in trainer.curve:
                report(row)
            trainer.on_row = report
            if trainer.epochs_done < cfg.epochs:
                trainer.train()
    finally:
        torch.set_num_threads(threads)
    return TrainedDetector(model_cfg, trainer.averaged_state(), trainer.curve, sum(r["seconds"] for r in trainer.curve))


def architecture(cfg: DetectorFitConfig) -> dict[str, Any]:
    """The model YAML's content for the classes trained on, complete in itself: its scale stands in it.

    Raises:
        ModelError: No such YAML, or of another task.
    """
    content = json.loads(json.dumps(load_model_yaml(cfg.model_yaml)))
    names = CLASSES if cfg.positives == "both" else CLASSES[:1]
    return content | {"nc": len(names), "names": list(names)}


def precision_of(cfg: DetectorFitConfig, device: torch.device) -> tuple[str, str]:
    """`bf16` or `fp32`, and why: half precision alone where the hardware computes it; elsewhere it is slower."""
    if cfg.precision != "auto":
        return cfg.precision, "as configured"
    has_it, what = native_bf16(device)
    return "bf16" if has_it else "fp32", what


def _reporter(epochs: int, on_epoch: Callable[[Row], None] | None) -> Callable[[Row], None]:
    started = time.monotonic()
    first: list[float] = []

    def report(row: Row) -> None:
        first.append(row["step"])
        elapsed, ran = time.monotonic() - started, row["step"] - first[0] + 1
        left_s = elapsed / ran * (epochs - row["step"])
        told = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("step", "seconds"))
        _log.info("epoch %d of %d, about %.0f s left: %s", row["step"], epochs, left_s, told)
        if on_epoch is not None:
            on_epoch(row)

    return report
