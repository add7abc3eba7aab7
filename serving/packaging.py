"""The Bento of one version: its model folder, its index, the code that answers, and the packages that code needs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from catalog import StorageError
from models.config import ModelConfig
from models.crops import crops_digest, with_crops
from models.prefix import check_dims, prefix_digest
from serving.bundle import Bundle
from serving.config import ServingConfig
from serving.errors import ServingError
from serving.index import read_index_info
from serving.requirements import service_requirements

logger = logging.getLogger(__name__)

BENTO_NAME = "moon"
PACKAGES = ("catalog", "models", "serving")
ENTRY_MODULE = "moon_bento"
ENTRY_SOURCE = '''"""Entry of this Bento: the service, with the bundle that lies beside this file."""

from pathlib import Path

import bentoml

from serving.bundle import Bundle
from serving.service import MoonService, equip, service_options

CONFIG = Bundle.read(Path(__file__).parent / "bundle").config


class Moon(MoonService):
    """Product embeddings and search: photos, words and products in one space."""

    bundle = Path(__file__).parent / "bundle"


service = equip(bentoml.service(**service_options(CONFIG))(Moon), CONFIG)
'''
ULTRALYTICS_BACKEND = "yolo"
"""`regions.backend` of a model whose detector is ultralytics'."""
LOCK = "requirements.lock"
CODE_SUFFIXES = (".py", ".html", ".yaml", ".json")
BUILD_TIMEOUT_S = 300


@dataclass(frozen=True)
class BentoInfo:
    """A Bento in the local store."""

    tag: str
    """`moon:VERSION-DIGEST`."""
    path: str
    model_digest: str
    """Of the model folder, whatever length its vectors are served at."""
    index_digest: str
    content_digest: str
    """Over model, index, code, configuration and requirements: equal content is built once."""
    built: bool
    """False when the Bento was already there."""


def package_bento(
    model_folder: str | Path,
    index_folder: str | Path,
    cfg: ServingConfig,
    *,
    version: str,
    labels: dict[str, str] | None = None,
) -> BentoInfo:
    """Build the Bento of a version, or return the one that already holds the same content.

    Args:
        model_folder: As `MoonEncoder.load` reads it.
        index_folder: As `build_index` wrote it, with this very model.
        cfg: Travels inside the Bento.
        version: The registry's version; part of the tag.
        labels: Put on the Bento beside version and digests; a run id, for instance.

    Raises:
        ServingError: The index is of another model, the model needs ultralytics and the configuration leaves it out,
            its configuration names files outside its folder, the lock lacks a package, or BentoML cannot build; then
            its last words are in the message.
        ModelError: The model was not trained for vectors of `cfg.dims` numbers, or with `cfg.crops`.
        StorageError: No space, or a store that cannot be written.
    """
    from models.folder import folder_digest

    model_folder, index_folder = Path(model_folder), Path(index_folder)
    index = read_index_info(index_folder)
    model_digest = folder_digest(model_folder)
    wanted = _encoder_digest(model_folder, model_digest, cfg)
    if index.model_digest != wanted:
        raise ServingError(
            "index was built with another model, for another length of vectors, or with other crops",
            where=str(index_folder),
            got=f"{index.model_digest[:12]}, {index.dims} numbers a vector",
            allowed=f"{wanted[:12]}, {cfg.dims or 'model.embedding_dims'} numbers a vector",
            fix="build the index again with this model and the same serving.dims and serving.crops",
        )
    _check_model_config(model_folder, cfg)
    root = Path(__file__).resolve().parent.parent
    requirements = service_requirements(root / LOCK, include_ultralytics=cfg.include_ultralytics)
    parts = (model_digest, index.digest, code_digest(root), cfg.model_dump_json(), version, "\n".join(requirements))
    content_digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    bento_version = f"{_slug(version)}-{content_digest[:12]}"
    path = bento_path(f"{BENTO_NAME}:{bento_version}")
    info = BentoInfo(
        tag=f"{BENTO_NAME}:{bento_version}",
        path=str(path),
        model_digest=model_digest,
        index_digest=index.digest,
        content_digest=content_digest,
        built=not (path / "bento.yaml").is_file(),
    )
    if not info.built:
        logger.info("Bento %s is already there", info.tag)
        return info
    all_labels = {
        **(labels or {}),
        "version": version,
        "model_digest": model_digest,
        "index_digest": index.digest,
        "content_digest": content_digest,
    }
    try:
        with tempfile.TemporaryDirectory(prefix="moon-bento-") as context:
            bundle = Bundle(Path(context) / "bundle", version, cfg, all_labels)
            _stage(Path(context), root, model_folder, index_folder, bundle, requirements)
            _build(Path(context), bento_version)
    except OSError as error:
        raise StorageError("Bento cannot be written", where=str(path.parent), got=str(error)) from None
    if not (path / "bento.yaml").is_file():
        raise ServingError("BentoML built nothing", where=str(path), fix="see the log above")
    return info


def bento_path(tag: str) -> Path:
    """Folder of a Bento in the local store, whether it is there or not. BENTOML_HOME moves the store."""
    name, _, version = tag.partition(":")
    home = os.environ.get("BENTOML_HOME") or os.path.join("~", "bentoml")
    return Path(os.path.expandvars(os.path.expanduser(home))) / "bentos" / name / version


def bento_environment() -> dict[str, str]:
    """Environment of a BentoML process: this one's, without telemetry and without a hub."""
    return {
        **os.environ,
        "BENTOML_DO_NOT_TRACK": "True",
        "HF_HUB_OFFLINE": "1",
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def code_digest(root: Path) -> str:
    """SHA-256 over the code that travels in the Bento."""
    total = hashlib.sha256(ENTRY_SOURCE.encode())
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in CODE_SUFFIXES and "__pycache__" not in path.parts:
                total.update(f"{path.relative_to(root).as_posix()}\0".encode())
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _encoder_digest(model_folder: Path, model_digest: str, cfg: ServingConfig) -> str:
    """What an encoder of this model says when its vectors are cut, and its crops left out, as `cfg` has it."""
    if cfg.dims is None and cfg.crops is None:
        return model_digest
    stored = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    config = ModelConfig.model_validate(stored["model"])
    with_crops(config, cfg.crops, where="serving.crops")
    digest = crops_digest(model_digest, config, cfg.crops)
    return prefix_digest(digest, config, check_dims(config, cfg.dims, where="serving.dims"))


def _check_model_config(model_folder: Path, cfg: ServingConfig) -> None:
    """What the model's own configuration asks of the machine that serves it."""
    config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    detects = with_crops(ModelConfig.model_validate(config.get("model", {})), cfg.crops).crops != "none"
    is_ultralytics = config.get("regions", {}).get("backend") == ULTRALYTICS_BACKEND
    if detects and is_ultralytics and not cfg.include_ultralytics:
        raise ServingError(
            "the model's region detector needs ultralytics, and the Bento would leave it out",
            where="serving.include_ultralytics",
            got="false",
            allowed=f"true where regions.backend is {ULTRALYTICS_BACKEND}",
            fix="set serving.include_ultralytics: true (AGPL-3.0 then applies to the Bento), serve without crops "
            "(serving.crops: none), or train with another regions.backend",
        )
    if paths := sorted(_absolute_paths(config)):
        raise ServingError(
            "the model's configuration points at files of this machine",
            where=str(model_folder / "config.json"),
            got=", ".join(paths),
            fix="put the files into the model folder and give their paths relative to it",
        )


def _absolute_paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _absolute_paths(part)
    elif isinstance(value, list):
        for part in value:
            yield from _absolute_paths(part)
    elif isinstance(value, str) and os.path.isabs(value):
        yield value


def _stage(
    context: Path, root: Path, model_folder: Path, index_folder: Path, bundle: Bundle, requirements: list[str]
) -> None:
    skip = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    for package in PACKAGES:
        shutil.copytree(root / package, context / package, ignore=skip)
    shutil.copytree(model_folder, bundle.model_folder)
    shutil.copytree(index_folder, bundle.index_folder)
    bundle.write_manifest()
    (context / f"{ENTRY_MODULE}.py").write_text(ENTRY_SOURCE)
    (context / "requirements.txt").write_text("\n".join(requirements) + "\n")
    build_file = {
        "service": f"{ENTRY_MODULE}:service",
        "name": BENTO_NAME,
        "description": _description(bundle),
        "labels": bundle.labels,
        "include": ["*"],
        # Locking again would ask an index on the network; the lock has been made.
        "python": {"requirements_txt": "./requirements.txt", "lock_packages": False},
    }
    (context / "bentofile.yaml").write_text(yaml.safe_dump(build_file, sort_keys=False))


def _description(bundle: Bundle) -> str:
    rows = "\n".join(f"- {name}: `{value}`" for name, value in sorted(bundle.labels.items()))
    return (
        f"# MOON {bundle.version}\n\nProduct embeddings and search: photos, words and products in one space.\n\n"
        f"{rows}\n\nPOST `/embed`, `/embed_query`, `/search`; GET `/info`, `/health`, `/livez`, `/readyz`; "
        "the search page is at `/`.\n"
    )


def _build(context: Path, bento_version: str) -> None:
    # In a process of its own: BentoML imports the staged code, changes the working folder and keeps what it imported.
    command = [sys.executable, "-m", "bentoml", "build", str(context), "--version", bento_version, "--output", "tag"]
    try:
        done = subprocess.run(
            command,
            cwd=context,
            env=bento_environment(),
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServingError("BentoML did not end", allowed=f"{BUILD_TIMEOUT_S} s to build") from None
    if done.returncode != 0:
        raise ServingError("BentoML cannot build", got="\n".join((done.stdout + done.stderr).splitlines()[-15:]))


def _slug(version: str) -> str:
    return re.sub(r"[^a-z0-9._]+", "-", version.lower()).strip("-.") or "v"
