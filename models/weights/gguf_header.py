"""What a GGUF file says of itself, read and checked before any of its tensors is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog import ModelError

MAGIC = b"GGUF"
ROTARY_TABLES = ("rope_freqs.", "rope_factors_long.", "rope_factors_short.")
"""Tensors that scale the rotary frequencies, as Llama 3.1 and Phi-3 have them: transformers leaves them out."""
SCALING_READ = ("gpt-oss",)
"""Architectures whose `rope.scaling` transformers reads."""


@dataclass(frozen=True)
class GgufHeader:
    """Facts of a GGUF file that holds a whole model with its tokenizer."""

    architecture: str
    """llama.cpp's word for it, such as `llama` or `qwen2`."""
    licence: str
    tensor_types: tuple[str, ...]
    """How its tensors are stored, such as Q4_1; each once, sorted."""
    tokenizer: str
    """Its kind: `gpt2` is byte-level BPE, `llama` is SentencePiece."""
    pre_tokenizer: str
    """Name of the rule by which texts are cut before BPE; empty where the file names none."""


def read_header(path: Path) -> GgufHeader:
    """Read a GGUF file's header.

    Raises:
        ModelError: Not there, not GGUF, cut off, a part of a split model, without a tokenizer, or with scaled rotary
            positions that would be lost.
    """
    fields, tensors = _open(path)
    if int(fields.get("split.count") or 1) > 1:
        raise ModelError(
            "GGUF file is one part of several",
            where=str(path),
            got=f"part {int(fields.get('split.no') or 0) + 1} of {fields['split.count']}",
            allowed="a whole model in one file",
            fix="llama-gguf-split --merge FIRST_PART WHOLE.gguf, of llama.cpp",
        )
    architecture = str(fields.get("general.architecture") or "")
    if not architecture:
        raise ModelError("GGUF file names no architecture", where=str(path), got="no general.architecture")
    lacking = [key for key in ("tokenizer.ggml.model", "tokenizer.ggml.tokens") if key not in fields]
    if not lacking and not {"tokenizer.ggml.merges", "tokenizer.ggml.scores"} & fields.keys():
        lacking = ["tokenizer.ggml.merges or tokenizer.ggml.scores"]
    if lacking:
        raise ModelError(
            "GGUF file brings no tokenizer",
            where=str(path),
            got="no " + ", no ".join(lacking),
            allowed="a language model with its vocabulary in the file",
            fix="take the file of the whole model, not a vision projector, an adapter or bare tensors",
        )
    scaling = str(fields.get(f"{architecture}.rope.scaling.type") or "none")
    tables = [tensor.name for tensor in tensors if tensor.name.startswith(ROTARY_TABLES)]
    if tables or (scaling != "none" and architecture not in SCALING_READ):
        raise ModelError(
            "GGUF file scales its rotary positions, which its conversion would lose",
            where=str(path),
            got=", ".join(tables) or f"rope.scaling.type {scaling}",
            allowed="a model without such scaling",
            fix="fetch the model's own safetensors: moon weights fetch OWNER/NAME --revision COMMIT",
        )
    return GgufHeader(
        architecture=architecture,
        licence=str(fields.get("general.license") or "as its maker says"),
        tensor_types=tuple(sorted({tensor.tensor_type.name for tensor in tensors})),
        tokenizer=str(fields["tokenizer.ggml.model"]),
        pre_tokenizer=str(fields.get("tokenizer.ggml.pre") or ""),
    )


def _open(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """Metadata, arrays as None, and the tensors' entries."""
    from gguf import GGUFReader, GGUFValueType

    try:
        with path.open("rb") as stream:
            start = stream.read(len(MAGIC))
        if start != MAGIC:
            raise ModelError(
                "file is not GGUF",
                where=str(path),
                got=f"it begins with {start!r}",
                allowed=f"a file that begins with {MAGIC!r}",
                fix="name the .gguf file itself; folders of safetensors are used as they are",
            )
        reader = GGUFReader(path)
    except OSError as error:
        raise ModelError("GGUF file cannot be read", where=str(path), got=str(error)) from None
    except (ValueError, KeyError, IndexError, OverflowError) as error:  # a damaged header leads the reader anywhere
        raise ModelError(
            "GGUF file cannot be read",
            where=str(path),
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix="it is cut off or damaged: bring it again",
        ) from None
    # A vocabulary has 10^5 entries: that it is there is enough.
    fields = {
        name: None if GGUFValueType.ARRAY in field.types else field.contents() for name, field in reader.fields.items()
    }
    return fields, list(reader.tensors)
