"""`moon weights convert`: a GGUF file at hand becomes a weights folder of that name under the root."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalog import ModelError
from models.weights.from_gguf import DIGIT_BY_DIGIT, convert_gguf
from models.weights.gguf_header import GgufHeader, read_header
from models.weights.known import BY_NAME, PLAIN_NAME
from models.weights.manifest import check_manifest, file_sha256, read_manifest, write_manifest
from models.weights.place import new_folder
from models.weights.root import weights_root

GPT2_SPLIT = ("", "default", "gpt-2")
"""Values of `tokenizer.ggml.pre` that mean GPT-2's own rule."""


def convert_weights(gguf: Path, name: str, *, say: Callable[[str], None] = lambda text: None) -> Path:
    """Convert a GGUF file to a weights folder that `composed` can use as its language model: whole or not at all.

    Args:
        gguf: The file; it is only read.
        name: Of the folder under the root, by which configurations call it from then on.
        say: Told what happens, and what may differ from the model as it was trained.

    Returns:
        The folder; its manifest names the file's SHA-256.

    Raises:
        ModelError: A name that is taken or none; a file that is not GGUF, damaged, without a tokenizer or tensors, of
            an architecture that transformers has no name table for, or of one that `composed` cannot use.
        StorageError: The root cannot be written.
    """
    _check_name(name)
    header = read_header(gguf)
    digest = file_sha256(gguf)
    place = weights_root() / name
    if place.exists():
        _check_same(place, digest)
        say(f"{name} is already at {place}, converted from this very file")
        return place
    _check_usable(gguf, header)
    stored = ", ".join(header.tensor_types)
    say(f"{gguf.name}: {header.architecture}, stored in {stored}; converting to float16")
    if not _knows_split(header):
        say(
            f"warning: texts are split by the rule {header.pre_tokenizer!r}, which is not known here: "
            "GPT-2's takes its place, and tokens may be others than in training"
        )
    with new_folder(name, replace=False) as partial:
        convert_gguf(gguf, partial)
        said = {"kind": "gguf", "file": gguf.name, "sha256": digest, "architecture": header.architecture}
        said["form"] = f"de-quantised from {stored}, stored in float16"
        write_manifest(partial, name, header.licence, said)
    say(f"{name} is at {place} (licence: {header.licence}); use it with model.composed.language: {name}")
    return place


def _check_name(name: str) -> None:
    if name in BY_NAME:
        raise ModelError(
            "name stands for weights that are fetched",
            got=name,
            allowed="a name that is not in `moon weights list`",
            fix=f"choose another, such as {name}-gguf",
        )
    if not PLAIN_NAME.fullmatch(name):
        raise ModelError(
            "name cannot be that of a weights folder",
            got=repr(name),
            allowed="letters, digits, dots, hyphens and underscores, the first a letter or digit",
            fix="moon weights convert FILE my-model",
        )


def _check_same(place: Path, digest: str) -> None:
    """Let pass a folder that came from the file of this SHA-256, and is still as it was made."""
    manifest = (read_manifest(place) if place.is_dir() else None) or {"source": {}}
    source = manifest["source"]
    if source.get("kind") != "gguf" or source.get("sha256") != digest:
        held = f"from {source.get('file', source['kind'])}" if source.get("kind") else "of unknown origin"
        raise ModelError(
            "name is taken by other weights",
            where=str(place),
            got=f"weights {held}",
            allowed="a new name, or the very file that this folder came from",
            fix="choose another name, or remove that folder",
        )
    check_manifest(place)


def _check_usable(gguf: Path, header: GgufHeader) -> None:
    """Refuse what could not be converted or used before gigabytes are read."""
    import torch
    from transformers import AutoConfig

    from models.backbones.language import build_language

    try:
        config: Any = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # How transformers says, by version and place, that it has no table for an architecture.
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ModelError(
            "there is no table of names for this GGUF architecture",
            where=str(gguf),
            got=f"{header.architecture}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            allowed=", ".join(_architectures()),
            fix="fetch the model's own safetensors: moon weights fetch OWNER/NAME --revision COMMIT",
        ) from None
    with torch.device("meta"):
        build_language(config.to_dict(), None)


def _architectures() -> list[str]:
    from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    # Two entries of that table are about the file, not about an architecture.
    return sorted({*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_CONFIG_ARCHS} - {"general", "tokenizer"})


def _knows_split(header: GgufHeader) -> bool:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    known = {*GPT2_SPLIT, *DIGIT_BY_DIGIT, *GGUF_PRE_TOKENIZER_SPLITS}
    return header.tokenizer != "gpt2" or header.pre_tokenizer in known
