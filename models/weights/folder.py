"""Weights on this machine: where they lie, whether they are whole, and their tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog import ModelError
from models.weights.again import made_again, named_command
from models.weights.known import BY_NAME, HUB_ID, PLAIN_NAME, folder_name
from models.weights.manifest import files_amiss, read_manifest
from models.weights.root import weights_root
from models.weights.stored import check_config

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS, INDEX, TOKENIZER = "config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json"
MAX_NAMED_FILES = 6


def weights_folder(name_or_path: str) -> Path:
    """The folder of weights that are at hand, found whole by names and sizes of its files.

    Nothing is fetched. Digests are for `check_manifest`: they cost a second per gigabyte.

    Args:
        name_or_path: A name of `moon weights list`, a hub id that was fetched, a name that was given to converted
            weights, or a folder with config.json and safetensors.

    Raises:
        ModelError: Not at hand, or incomplete; what is missing is listed.
    """
    folder = _place(name_or_path)
    if not folder.is_dir():
        named = name_or_path in BY_NAME or HUB_ID.fullmatch(name_or_path) is not None
        raise ModelError(
            "weights are not at hand",
            where=str(folder),
            got=f"{name_or_path}: no such folder",
            allowed="a local folder, or " + ", ".join(BY_NAME),
            fix=named_command(name_or_path) if named else "name a folder of weights, or one of `moon weights list`",
        )
    missing = missing_files(folder)
    if missing:
        more = len(missing) - MAX_NAMED_FILES
        raise ModelError(
            "weights folder is incomplete",
            where=str(folder),
            got="; ".join(missing[:MAX_NAMED_FILES]) + (f"; and {more} more" if more > 0 else ""),
            allowed=f"{CONFIG} and {WEIGHTS}, or {INDEX} with every file it names; {TOKENIZER} of a language model",
            fix=made_again(folder, read_manifest(folder)),
        )
    return folder


def missing_files(folder: Path) -> list[str]:
    """What a weights folder lacks, in words; empty when it is whole."""
    missing = [] if (folder / CONFIG).is_file() else [f"{CONFIG} missing"]
    if (folder / INDEX).is_file():
        missing += [f"{name} missing" for name in _shards(folder) if not (folder / name).is_file()]
    elif not (folder / WEIGHTS).is_file():
        missing.append(f"{WEIGHTS} missing")
    if _reads_text(folder) and not (folder / TOKENIZER).is_file() and not _has_older_tokenizer(folder):
        missing.append(f"{TOKENIZER} missing")
    return missing + [text for text in files_amiss(folder, by_digest=False) if text not in missing]


def read_safetensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, from one file or from the shards that its index names, as they are stored.

    Raises:
        ModelError: A file is absent or damaged, or a tensor of the index is in no shard.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    sharded = (folder / INDEX).is_file()
    tensors: dict[str, Tensor] = {}
    for name in _shards(folder) if sharded else [WEIGHTS]:
        try:
            tensors |= load_file(folder / name)
        except (OSError, SafetensorError) as error:
            raise ModelError(
                "weights cannot be read",
                where=str(folder / name),
                got=str(error),
                fix=made_again(folder, read_manifest(folder)),
            ) from None
    absent = sorted(_weight_map(folder).keys() - tensors.keys()) if sharded else []
    if absent:
        raise ModelError(
            "weights lack tensors that their index names",
            where=str(folder / INDEX),
            got=", ".join(absent[:MAX_NAMED_FILES]),
            fix=f"index and shards must come from one place: {made_again(folder, read_manifest(folder))}",
        )
    return tensors


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a weights folder.

    Raises:
        ModelError: Absent, no JSON object, or one that the class of its model_type does not take.
    """
    path = folder / CONFIG
    config = _read_json(path)
    check_config(config, str(path), made_again(folder, read_manifest(folder)))
    return config


def tensor_file(folder: Path, name: str) -> Path:
    """The file that holds a tensor; the folder itself where neither file nor index tells."""
    if not (folder / INDEX).is_file():
        return folder / WEIGHTS if (folder / WEIGHTS).is_file() else folder
    return folder / _weight_map(folder).get(name, "")


def _place(name_or_path: str) -> Path:
    if name_or_path in BY_NAME:
        return weights_root() / name_or_path
    path = Path(name_or_path).expanduser()
    fetched = weights_root() / folder_name(name_or_path)
    named = HUB_ID.fullmatch(name_or_path) or PLAIN_NAME.fullmatch(name_or_path)
    # Both look like a relative path: a folder that is there comes first.
    return fetched if not path.is_dir() and named and fetched.is_dir() else path


def _reads_text(folder: Path) -> bool:
    # A config.json of transformers says model_type; one of timm says architecture, and sees pictures alone.
    try:
        config = _read_json(folder / CONFIG)
    except ModelError:
        return False  # absent or damaged: told by those who need it
    return "model_type" in config and "architecture" not in config


def _has_older_tokenizer(folder: Path) -> bool:
    # OWLv2 is published with these two, from which transformers makes the tokenizer; MOON's own encoders read only one.
    older = all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    return older and _read_json(folder / CONFIG).get("model_type") == "owlv2"


def _shards(folder: Path) -> list[str]:
    return sorted(set(_weight_map(folder).values()))


def _weight_map(folder: Path) -> dict[str, str]:
    path = folder / INDEX
    found = _read_json(path).get("weight_map")
    plain = isinstance(found, dict) and all(
        isinstance(shard, str) and Path(shard).name == shard and shard.endswith(".safetensors")
        for shard in found.values()
    )
    if not isinstance(found, dict) or not found or not plain:
        raise ModelError(
            "index of the weights cannot be used",
            where=str(path),
            got=str(found)[:80],
            allowed="weight_map: tensor name -> file of the same folder, *.safetensors",
            fix=made_again(folder, read_manifest(folder)),
        )
    return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fix = made_again(path.parent, read_manifest(path.parent))
        raise ModelError(
            "file of the weights folder cannot be read", where=str(path), got=str(error), fix=fix
        ) from None
    if not isinstance(value, dict):
        raise ModelError(
            "file of the weights folder is no JSON object",
            where=str(path),
            got=type(value).__name__,
            fix=made_again(path.parent, read_manifest(path.parent)),
        )
    return value
