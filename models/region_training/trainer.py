"""Ultralytics' trainer, kept to this folder: no network, no pickle, no logger but ours, and exact resumption."""

from __future__ import annotations

import os
import pickle
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from catalog import ModelError
from models.region_training.config import DetectorFitConfig
from models.region_training.scene_set import SceneSet, SceneTruth
from models.regions.yolo import ultralytics_tasks

CHECKPOINT = "last.pt"
_WORKERS = 8
"""Loading processes beside a GPU; on the CPU ultralytics loads in the training process."""


def make_trainer(
    scenes: SceneSet,
    cfg: DetectorFitConfig,
    model_cfg: dict[str, Any],
    folder: Path,
    device: torch.device,
    precision: str,
) -> Any:
    """A trainer at the point where `folder`'s checkpoint stands, or at the start.

    Ultralytics' loop, loss, augmentations, average of weights and validator are used as they are. Replaced are: the
    reading of labels (it keeps a pickle beside them), the checkpoint (a pickled network; here tensors and numbers,
    read with `weights_only`), and what looks for the network.

    Returns:
        With `train()`, `curve`, `on_row`, `epochs_done` and `averaged_state()`.

    Raises:
        ModelError: ultralytics is not installed.
    """
    tasks = ultralytics_tasks()
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.utils.torch_utils import init_seeds

    # Ultralytics' own annotations do not tell what the trainer holds while it trains.
    dataset_class: Any = YOLODataset
    trainer_class: Any = DetectionTrainer
    model_class: Any = tasks.DetectionModel
    half = precision == "bf16"

    class HalfDetectionModel(model_class):
        """Computes in bf16 while it trains; its loss and its weights stay in fp32."""

        def predict(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if not self.training:
                return super().predict(x, *args, **kwargs)
            with torch.autocast(x.device.type, torch.bfloat16):
                return _as_float(super().predict(x, *args, **kwargs))

    class SceneDataset(dataset_class):
        def __init__(self, truths: list[SceneTruth], **kwargs: Any) -> None:
            self._truths = truths
            super().__init__(img_path=[str(truth.path) for truth in truths], **kwargs)

        def get_img_files(self, img_path: list[str]) -> list[str]:
            return img_path

        def get_labels(self) -> list[dict[str, Any]]:
            return [label_of(truth, cfg.positives) for truth in self._truths]

    # The name must not hold "Trainer": ultralytics attaches the loggers of its settings file to classes that do.
    class SceneFit(trainer_class):
        def __init__(self) -> None:
            self.curve: list[dict[str, float]] = []
            self.epochs_done = 0
            self.on_row: Callable[[dict[str, float]], None] | None = None
            self._seconds_mark = 0.0
            super().__init__(overrides=_overrides(cfg, folder, device))
            self._saved = _read_checkpoint(folder / CHECKPOINT)
            if self._saved is not None:
                self.curve, self.epochs_done = self._saved["curve"], self._saved["epoch"] + 1
            self.add_callback("on_train_epoch_start", lambda _: self._start_epoch())

        def get_dataset(self) -> dict[str, Any]:
            return {
                "train": "train",
                "val": "val",
                "nc": model_cfg["nc"],
                "names": dict(enumerate(model_cfg["names"])),
                "channels": 3,
                "path": scenes.folder,
            }

        def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
            return SceneDataset(
                scenes.truths(img_path),
                imgsz=self.args.imgsz,
                batch_size=batch,
                augment=mode == "train",
                hyp=self.args,
                rect=False,
                stride=32,
                data=self.data,
                task="detect",
            )

        def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
            kind = HalfDetectionModel if half else model_class
            torch.manual_seed(self.args.seed)
            model = kind(dict(model_cfg), ch=3, verbose=False)
            # Convolutions of this width are a fifth faster so; measured on one core at 192 pixels.
            return model.to(memory_format=torch.channels_last)

        def setup_model(self) -> None:
            self.model = self.get_model()

        def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
            batch = super().preprocess_batch(batch)
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
            return batch

        def resume_training(self, ckpt: Any) -> None:
            saved, self._saved = self._saved, None
            if saved is None:
                return
            self.model.load_state_dict(saved["model"])
            self.ema.ema.load_state_dict(saved["ema"])
            self.ema.updates = saved["updates"]
            self.optimizer.load_state_dict(saved["optimizer"])
            self.model.criterion = self.model.init_criterion()
            for _ in range(self.epochs_done):
                self._criterion_update()
            self.start_epoch = self.epochs_done

        def _criterion_update(self) -> None:
            if hasattr(self.model.criterion, "update"):
                self.model.criterion.update()

        def _start_epoch(self) -> None:
            # Every epoch draws from its own seed and keeps no picture of the last, so that it is the same after a kill.
            self._seconds_mark = time.monotonic()
            seed = int(np.random.SeedSequence([cfg.seed, self.epoch]).generate_state(1)[0])
            init_seeds(seed, deterministic=False)
            self.train_loader.generator.manual_seed(seed)
            self.train_loader.reset()
            dataset = self.train_loader.dataset
            dataset.buffer.clear()
            dataset.ims = [None] * dataset.ni

        def save_metrics(self, metrics: dict[str, float]) -> None:
            row = {"step": self.epoch + 1.0, **{_name(key): float(value) for key, value in metrics.items()}}
            self.curve.append(row | {"seconds": time.monotonic() - self._seconds_mark})

        def save_model(self) -> bool:
            self.epochs_done = self.epoch + 1
            content = {
                "epoch": self.epoch,
                "model": self.model.state_dict(),
                "ema": self.ema.ema.state_dict(),
                "updates": self.ema.updates,
                "optimizer": self.optimizer.state_dict(),
                "curve": self.curve,
            }
            partial = folder / f".{CHECKPOINT}.partial"
            torch.save(content, partial)
            os.replace(partial, folder / CHECKPOINT)
            if self.on_row is not None:
                self.on_row(self.curve[-1])
            return True

        def _handle_nan_recovery(self, epoch: int) -> bool:
            if self.loss is not None and not self.loss.isfinite():
                raise ModelError(
                    "the detector's loss is not finite",
                    where=f"epoch {epoch + 1}",
                    got=str(float(self.loss)),
                    fix="lower fit.learning_rate, or set fit.precision to fp32; the checkpoint before it is kept",
                )
            return False

        def final_eval(self) -> None:
            """The exported file is judged, not a checkpoint."""

        def averaged_state(self) -> dict[str, torch.Tensor]:
            state = self._saved["ema"] if self._saved is not None else self.ema.ema.state_dict()
            return {name: value.detach().cpu().contiguous() for name, value in state.items()}

    return SceneFit()


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Give the global random sources back as they were: ultralytics seeds them and draws from them."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _overrides(cfg: DetectorFitConfig, folder: Path, device: torch.device) -> dict[str, Any]:
    return {
        "model": "yolo26n.yaml",
        "task": "detect",
        "mode": "train",
        "save_dir": str(folder),
        "exist_ok": True,
        "data": "scenes",
        "imgsz": cfg.side_px,
        "epochs": cfg.epochs,
        "batch": cfg.batch_size,
        # One optimizer step a batch.
        "nbs": cfg.batch_size,
        "device": "cpu" if device.type == "cpu" else str(device.index or 0),
        "workers": 0 if device.type == "cpu" else _WORKERS,
        # Its check of half precision downloads a model.
        "amp": False,
        "pretrained": False,
        "plots": False,
        "verbose": False,
        "patience": 0,
        "seed": cfg.seed,
        "deterministic": False,
        "optimizer": "AdamW",
        "lr0": cfg.learning_rate,
        "lrf": cfg.final_rate_frac,
        "cos_lr": True,
        "momentum": 0.9,
        "weight_decay": cfg.weight_decay,
        "warmup_epochs": cfg.warmup_epochs,
        "warmup_bias_lr": 0.0,
        "mosaic": cfg.mosaic_frac,
        "close_mosaic": cfg.close_mosaic_epochs if cfg.mosaic_frac else 0,
        "scale": cfg.scale_frac,
        "erasing": 0.0,
        "auto_augment": None,
    }


def label_of(truth: SceneTruth, positives: str) -> dict[str, Any]:
    """A label of ultralytics' data sets: class 0, and 1 for distractors where they have a class of their own."""
    boxes = [*truth.core, *(truth.distractors if positives != "core" else ())]
    classes = [float(positives == "both" and number >= len(truth.core)) for number in range(len(boxes))]
    width, height = truth.size_px
    rows = [
        ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        for x0, y0, x1, y1 in boxes
    ]
    return {
        "im_file": str(truth.path),
        "shape": (height, width),
        "cls": np.array(classes, dtype=np.float32).reshape(-1, 1),
        "bboxes": np.array(rows, dtype=np.float32).reshape(-1, 4),
        "segments": [],
        "keypoints": None,
        "normalized": True,
        "bbox_format": "xywh",
    }


def _read_checkpoint(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, ValueError, EOFError) as error:
        raise ModelError(
            "the detector's checkpoint is damaged", where=str(path), got=str(error), fix="delete it and train anew"
        ) from None


def _as_float(value: Any) -> Any:
    """Tensors in fp32, however deep they lie."""
    if isinstance(value, torch.Tensor):
        return value.float()
    if isinstance(value, dict):
        return {name: _as_float(part) for name, part in value.items()}
    return type(value)(_as_float(part) for part in value) if isinstance(value, (list, tuple)) else value


def _name(key: str) -> str:
    """Ultralytics' name of a metric as ours: `metrics/mAP50(B)` becomes `val/map50`."""
    return key.replace("metrics/", "val/").replace("(B)", "").replace("mAP", "map").replace("lr/pg", "rate/group")
