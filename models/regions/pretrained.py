"""Folders of pretrained networks for detectors: found, checked and loaded; safetensors alone, never fetched unasked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from catalog import ModelError
from models.devices import choose_device
from models.weights import faults_told, fetch_weights, folder_digest, read_config, weights_folder
from models.weights.again import named_command
from models.weights.known import BY_NAME, HUB_ID

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class PretrainedSettings(Protocol):
    """What the sections of these detectors have in common."""

    @property
    def weights(self) -> str | None: ...
    @property
    def download(self) -> bool: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...


def model_folder(cfg: PretrainedSettings, section: str, usual: str, weights_dir: str | Path | None) -> Path:
    """The folder of a section's weights, safetensors alone; fetched from the hub only where `download` says so.

    Args:
        cfg: The section.
        section: Its key, such as regions.grounding.
        usual: A name of weights that fit, for the message.
        weights_dir: Where relative paths start; the working folder when None.

    Raises:
        ModelError: No weights named, not at hand, incomplete, or pickles.
    """
    if cfg.weights is None:
        raise ModelError(
            f"{section} has no weights",
            where=f"{section}.weights",
            got="null",
            allowed=f"a folder with config.json and safetensors, or a name such as {usual}",
            fix=f"{named_command(usual)}, then set {section}.weights to {usual}; or set regions.backend to saliency",
        )
    path = Path(weights_dir or ".") / cfg.weights
    if path.is_dir() or path.suffix in _PICKLES:
        refuse_pickles(path, f"{section}.weights")
    elif cfg.download and (cfg.weights in BY_NAME or HUB_ID.fullmatch(cfg.weights)):
        return weights_folder(str(fetch_weights(cfg.weights, revision=cfg.revision)))
    return weights_folder(str(path) if path.is_dir() else cfg.weights)


def refuse_pickles(path: Path, where: str) -> None:
    """Refuse a pickle, and a folder that holds weights as pickles alone.

    Raises:
        ModelError: It is one.
    """
    found = [path.name] if path.suffix in _PICKLES else []
    if path.is_dir() and not any(path.glob("*.safetensors")):
        found = sorted(one.name for one in path.iterdir() if one.suffix in _PICKLES)
    if found:
        raise ModelError(
            "detector weights are not safetensors",
            where=where,
            got=", ".join(found),
            allowed="safetensors; the others are pickles, which can run code when opened",
            fix="save the model again with save_pretrained(folder), which writes safetensors",
        )


def check_model_type(folder: Path, allowed: Sequence[str], section: str) -> str:
    """The `model_type` of a folder's config.json.

    Raises:
        ModelError: Weights of another task.
    """
    kind = str(read_config(folder).get("model_type"))
    if kind not in allowed:
        raise ModelError(
            "weights are of another task",
            where=f"{section}.weights: {folder}",
            got=f"model_type {kind}",
            allowed=", ".join(allowed),
            fix=f"name weights of one of these in {section}.weights",
        )
    return kind


def load_pretrained(auto_class: Any, folder: Path, cfg: PretrainedSettings, section: str) -> tuple[Any, Any]:
    """A network of a folder with every weight from there, on its device, and its processor; no code, no network.

    Args:
        auto_class: Of transformers, for the task.
        folder: As `model_folder` found it.
        cfg: Its device and number format count.
        section: The key of `cfg`.

    Raises:
        ModelError: The folder is damaged, lacks weights that the network has, or a file of its processor.
    """
    from safetensors import SafetensorError
    from transformers import AutoProcessor

    device, _ = choose_device(cfg.device, f"{section}.device")
    dtype = torch.bfloat16 if cfg.dtype == "bf16" else torch.float32
    problem, fix = "weights cannot be loaded", "copy the folder again from where it came from"
    with faults_told(problem, str(folder), fix, OSError, RuntimeError, SafetensorError, ImportError):
        model, info = auto_class.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # What is missing would be drawn at random, and only said in a warning.
    absent = sorted(info["missing_keys"]) + sorted(str(one) for one in info["mismatched_keys"])
    if absent:
        raise ModelError(
            "weights lack tensors of the network (another task or size)",
            where=str(folder),
            got=f"{absent[0]} absent or of another shape ({len(absent)} in all)",
            fix=fix,
        )
    return model.to(device).eval(), processor


def folder_settings(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a detector's digest depends on: the folder's files, the library's version, and the settings.

    Where and how many at a time a network runs moves the last bits alone, and is left out: the same detector serves on
    another device.
    """
    from importlib.metadata import version

    aside = {"weights", "download", "revision", "device", "batch_size"}
    kept = {name: value for name, value in settings.items() if name not in aside}
    return kept | {"weights": folder_digest(folder), "transformers": version("transformers")}
