"""Where a rival's weights come from: a local folder, or a hub id in the local cache. Never fetched unasked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from catalog.errors import ModelError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
FETCHED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
"""What is asked of the hub: tensors, configuration and tokenizers. No pickle and no code."""
CODE = "*.py"
"""Asked for too, and part of the digest, where the user lets the model's own code run."""
PICKLES = "pytorch_model*.bin"
"""What sentence-transformers unpickles in a module's folder that has no safetensors."""
_HASH_BLOCK = 1 << 20


def find_folder(name: str | Path, *, fetch: bool = False, code: bool = False) -> Path:
    """The folder of a model: `name` itself, or the snapshot of this hub id in the local Hugging Face cache.

    Args:
        name: Local folder, or `owner/name` on the hub.
        fetch: The user asked for the network: bring what the cache lacks.
        code: The user lets the model's own code run: bring that too.

    Raises:
        ModelError: No such folder, a hub id that is not in the cache, or the hub did not give it.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if not HUB_ID.fullmatch(str(name)):
        raise ModelError(
            "no model there",
            where=str(path),
            got="no such folder, and not a hub id",
            allowed="a local folder, or owner/name of the Hugging Face hub",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = [*FETCHED, CODE] if code else [*FETCHED]
    try:
        return Path(snapshot_download(str(name), local_files_only=not fetch, allow_patterns=wanted if fetch else None))
    except LocalEntryNotFoundError:
        raise ModelError(
            "model is not on this machine, and nothing is fetched unasked",
            where=str(name),
            got="no such folder, and not in the local Hugging Face cache",
            fix=f"give --fetch, or: hf download {name}; or name a local folder",
        ) from None
    except (HfHubHTTPError, OSError) as error:
        raise ModelError("model could not be fetched", where=str(name), got=str(error).splitlines()[0][:300]) from None


def check_folder(
    folder: Path,
    *,
    configs: tuple[str, ...] = ("config.json",),
    trust_remote_code: bool = False,
    unread: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Hold a model folder to the house rules before any library opens it.

    Args:
        folder: Of the model.
        configs: Files that may describe it; the first that is there is read.
        trust_remote_code: The user has read the code that comes with the model, and lets it run here.
        unread: Files that the library in question does not open, so that code they name is not run.

    Returns:
        What that file holds; empty where it is a list, as modules.json of sentence-transformers is.

    Raises:
        ModelError: No configuration, no safetensors, a part with a pickle alone, or Python code of its own that nobody
            asked to run.
    """
    path = next((folder / name for name in configs if (folder / name).is_file()), None)
    if path is None:
        raise ModelError("model folder has no configuration", where=str(folder), allowed=" or ".join(configs))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("model configuration cannot be read", where=str(path), got=str(error)) from None
    if not any(folder.rglob("*.safetensors")):
        other = sorted(one.name for one in folder.rglob("*") if one.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt"))
        raise ModelError(
            "model folder has no safetensors",
            where=str(folder),
            got=", ".join(other[:4]) or "no weights",
            allowed="*.safetensors; a pickle could run code of its own",
            fix="use a revision that has safetensors, or convert the weights where you trust them",
        )
    pickled = sorted(one for one in folder.rglob(PICKLES) if not any(one.parent.glob("*.safetensors")))
    if pickled:
        raise ModelError(
            "a part of the model has no safetensors",
            where=str(folder),
            got=", ".join(one.relative_to(folder).as_posix() for one in pickled[:4]),
            allowed="*.safetensors in every part; a pickle could run code of its own",
            fix="use a revision that has safetensors, or convert the weights where you trust them",
        )
    code = sorted(one.name for one in folder.rglob("*.json") if one.name not in unread and _asks_for_code(one))
    if code and not trust_remote_code:
        raise ModelError(
            "model brings Python code of its own, which is not run unasked",
            where=str(folder),
            got=f"classes of its own in {', '.join(code)}",
            fix="read that code; where you trust it, give --trust-remote-code",
        )
    return content if isinstance(content, dict) else {}


def folder_digest(folder: Path, *, code: bool = False) -> str:
    """SHA-256 over names and bytes of weights, configuration and tokenizer files; of `code` too where it runs."""
    total = hashlib.sha256()
    patterns = (*FETCHED, CODE) if code else FETCHED
    for path in sorted(one for pattern in patterns for one in folder.rglob(pattern) if one.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\x00")
        with path.open("rb") as stream:
            while block := stream.read(_HASH_BLOCK):
                total.update(block)
        total.update(b"\x00")
    return total.hexdigest()


def num_weight_bytes(folder: Path) -> int:
    """Bytes of all safetensors in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


@contextmanager
def from_disk_alone(what: str, where: Path) -> Iterator[None]:
    """Let a library load from a folder with the hub switched off; what it cannot read becomes a `ModelError`.

    A configuration may name a second repository (a text tower's, a tokenizer's): without the switch it would be
    fetched.
    """
    from huggingface_hub import constants
    from safetensors import SafetensorError

    faults = (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError, AttributeError, SafetensorError)
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except faults as error:
        raise ModelError(
            f"{what} cannot be loaded from this folder",
            where=str(where),
            got=f"{type(error).__name__}: {error}"[:400],
            fix="check that the folder is whole and of this kind; nothing is fetched while a model is loaded",
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _asks_for_code(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # the library that needs it will tell
    if path.name == "modules.json" and isinstance(content, list):
        kinds = [str(module.get("type", "")) for module in content if isinstance(module, dict)]
        return any(not kind.startswith("sentence_transformers.") for kind in kinds)
    return _holds_code(content)


def _holds_code(content: Any) -> bool:
    if isinstance(content, dict):
        return (
            bool(content.get("auto_map"))
            or content.get("trust_remote_code") is True
            or any(_holds_code(value) for value in content.values())
        )
    return isinstance(content, list) and any(_holds_code(value) for value in content)
