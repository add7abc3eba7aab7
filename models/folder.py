"""A model on disk: weights, configuration, tokenizer and lineage in one folder, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from catalog import ModelError, StorageError
from models.backbones import build_template
from models.config import ModelConfig
from models.moon import MoonModel
from models.regions.config import RegionsConfig, YoloConfig
from models.regions.steered_config import OpenVocabularyConfig
from models.tokenizer import load_tokenizer
from models.weights import check_config, check_statistics, faults_told
from models.weights.place import take_place

SCHEMA_VERSION = 2
WEIGHTS, CONFIG, TOKENIZER, LINEAGE = "model.safetensors", "config.json", "tokenizer.json", "lineage.json"
DIGESTED = (WEIGHTS, CONFIG, TOKENIZER)
DETECTOR_WEIGHTS = "detector.safetensors"
CHOOSER_ENCODER = "chooser_encoder"
MAX_NAMED_TENSORS = 6
COPY_OR_TRAIN = "copy the folder once more from where it was written, or train again"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder holds, read and checked."""

    model: MoonModel
    config: ModelConfig
    regions: RegionsConfig
    regions_digest: str
    tokenizer: Tokenizer
    lineage: dict[str, str]
    digest: str


def write_model_folder(
    folder: Path,
    model: MoonModel,
    tokenizer: Tokenizer,
    regions: RegionsConfig,
    regions_digest: str,
    lineage: dict[str, str],
) -> str:
    """Write a model folder beside its place, then move it there.

    Args:
        folder: Its place; an older model there is replaced.
        model: Weights and configuration.
        tokenizer: The one the model was trained with.
        regions: How core regions are found, for who loads it.
        regions_digest: Of the detector and chooser in use; checked when loaded.
        lineage: Commit, data digest, code digest.

    Returns:
        Digest of the model.

    Raises:
        StorageError: No space, or a place that cannot be written; nothing is left half-written.
    """
    config = {
        "schema_version": SCHEMA_VERSION,
        "model": model.config.model_dump(mode="json"),
        "backbone": model.backbone.spec(),
        "regions_digest": regions_digest,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        save_file(tensors, partial / WEIGHTS)
        carried = _carry_encoder(partial, _carry_detector(partial, regions))
        (partial / CONFIG).write_text(_json(config | {"regions": carried.model_dump(mode="json")}))
        tokenizer.save(str(partial / TOKENIZER))
        (partial / LINEAGE).write_text(_json(lineage))
        digest = folder_digest(partial)
        # mkdtemp makes the folder for its owner alone; a model is for whoever may read the place it is put.
        partial.chmod(0o755)
        take_place(partial, folder)
    except (OSError, SafetensorError) as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        raise StorageError(
            "model folder cannot be written",
            where=str(folder),
            got=str(error),
            fix="free space or choose another place",
        ) from None
    return digest


def _carry_detector(folder: Path, regions: RegionsConfig) -> RegionsConfig:
    """Copy a detector's files into the model folder, so that the folder finds core regions wherever it is taken.

    Returns:
        The section with paths relative to the folder. The digest of a detector covers its files, not their places.
    """
    section: YoloConfig | OpenVocabularyConfig
    if regions.backend == "yolo":
        # Imported here: it names the files, and a model without it must be written where ultralytics is not installed.
        from models.regions.yolo import detector_files

        section = regions.yolo
        weights, model_yaml = detector_files(regions.yolo)
    elif (
        regions.backend == "open_vocabulary" and regions.open_vocabulary.weights and regions.open_vocabulary.model_yaml
    ):
        # Of one file; folders of transformers are named, not carried: they have gigabytes.
        section = regions.open_vocabulary
        weights, model_yaml = Path(regions.open_vocabulary.weights), Path(regions.open_vocabulary.model_yaml)
    else:
        return regions
    shutil.copyfile(weights, folder / DETECTOR_WEIGHTS)
    changes = {"weights": DETECTOR_WEIGHTS}
    if model_yaml.is_file():
        # Its name stays: ultralytics reads the scale of the network from it.
        shutil.copyfile(model_yaml, folder / model_yaml.name)
        changes["model_yaml"] = model_yaml.name
    return regions.model_copy(update={regions.backend: section.model_copy(update=changes)})


def _carry_encoder(folder: Path, regions: RegionsConfig) -> RegionsConfig:
    """Copy the model that the chooser asks, without what found its own core regions: it is given crops alone.

    Returns:
        The section with its path relative to the folder.
    """
    chooser = regions.chooser
    if regions.backend == "none" or chooser.kind != "encoder" or chooser.encoder.folder is None:
        return regions
    source, target = Path(chooser.encoder.folder), folder / CHOOSER_ENCODER
    target.mkdir()
    for name in (*DIGESTED, LINEAGE):
        shutil.copyfile(source / name, target / name)
    size = sum(path.stat().st_size for path in target.iterdir())
    logger.info("the model carries the encoder that its chooser asks, %.1f MB, from %s", size / 1e6, source)
    encoder = chooser.encoder.model_copy(update={"folder": CHOOSER_ENCODER})
    return regions.model_copy(update={"chooser": chooser.model_copy(update={"encoder": encoder})})


def read_model_folder(folder: Path) -> ModelFolder:
    """Read and check a model folder; nothing in it is unpickled.

    Raises:
        ModelError: A file is missing or damaged, the schema is another one, the backbone or the detector's digest is
            not told or cannot be used, or tensors do not fit the configuration.
    """
    missing = [name for name in (*DIGESTED, LINEAGE) if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            "model folder is incomplete", where=str(folder), got="missing: " + ", ".join(missing), fix="train again"
        )
    stored = _read_json(folder / CONFIG)
    version = stored.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ModelError(
            "model folder has another schema version",
            where=str(folder / CONFIG),
            got=str(version),
            allowed=str(SCHEMA_VERSION),
            fix="train again, or use the version of MOON that wrote it",
        )
    try:
        config = ModelConfig.model_validate(stored.get("model"))
        regions = RegionsConfig.model_validate(stored.get("regions"))
    except ValidationError as error:
        raise ModelError(
            "model configuration is not one of this version", where=str(folder / CONFIG), got=str(error)
        ) from None
    tokenizer = load_tokenizer(folder / TOKENIZER)
    build_template(config, tokenizer)
    digest = stored.get("regions_digest")
    if not isinstance(digest, str) or not digest:
        # Without it nobody would see that core regions are found differently here than in training.
        raise ModelError(
            "model folder does not tell how its core regions were found",
            where=str(folder / CONFIG),
            got=f"regions_digest {digest!r}",
            allowed="the digest of detector and chooser",
            fix=COPY_OR_TRAIN,
        )
    model = _build(config, tokenizer.get_vocab_size(), stored.get("backbone"), str(folder / CONFIG))
    load_weights(model, folder / WEIGHTS)
    lineage = {str(name): str(value) for name, value in _read_json(folder / LINEAGE).items()}
    return ModelFolder(model.eval(), config, regions, digest, tokenizer, lineage, folder_digest(folder))


def _build(config: ModelConfig, vocab_size: int, spec: Any, where: str) -> MoonModel:
    """The model with random weights, from the architecture that its folder tells: weights at hand say nothing of it."""
    if not isinstance(spec, dict) or not spec:
        raise ModelError(
            "model folder does not tell its backbone",
            where=where,
            got=f"backbone {spec!r}",
            allowed="the architecture it was trained with",
            fix=COPY_OR_TRAIN,
        )
    problem, at = "backbone of the model folder cannot be built", f"{where}: backbone"
    for name in ("model", "language"):
        if isinstance(spec.get(name), Mapping):
            check_config(spec[name], f"{at}.{name}", COPY_OR_TRAIN)
    with faults_told(problem, at, COPY_OR_TRAIN):
        if config.backbone != "nano":
            told = spec["vision"] if config.backbone == "composed" else spec
            check_statistics(told["mean"], told["std"], at, COPY_OR_TRAIN)
        return MoonModel.seeded(config, vocab_size, seed=0, spec=spec)


def load_weights(model: MoonModel, path: Path) -> None:
    """Load a safetensors file into `model`.

    Raises:
        ModelError: Not safetensors, or names and shapes that are not the model's; names the first of them.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError("weights cannot be read", where=str(path), got=str(error), fix="train again") from None
    own = model.state_dict()
    lacking, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name}: {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if tensors[name].shape != own[name].shape
    ]
    if lacking or unknown or shapes:
        faults = {"missing": lacking, "unknown": unknown, "of another shape": shapes}
        told = [f"{what}: {', '.join(names[:MAX_NAMED_TENSORS])}" for what, names in faults.items() if names]
        raise ModelError(
            "weights do not fit the model's configuration",
            where=str(path),
            got="; ".join(told),
            fix="weights, config.json and tokenizer.json must come from one training",
        )
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError("weights are not finite", where=str(path), got=", ".join(sorted(broken)[:MAX_NAMED_TENSORS]))
    model.load_state_dict(tensors)


def folder_digest(folder: Path) -> str:
    """SHA-256 over weights, configuration and tokenizer: whatever could change a vector, lineage left out."""
    total = hashlib.sha256()
    for name in DIGESTED:
        with (folder / name).open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError("file of the model folder cannot be read", where=str(path), got=str(error)) from None
    if not isinstance(value, dict):
        raise ModelError("file of the model folder is no JSON object", where=str(path), got=type(value).__name__)
    return value
