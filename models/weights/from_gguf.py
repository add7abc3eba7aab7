"""A GGUF file to a plain folder of transformers: config.json, model.safetensors, tokenizer.json."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from catalog import ModelError
from models.weights.folder import TOKENIZER, WEIGHTS
from models.weights.pair import check_pair

LOADER_ENTRY = "quantization_config"
"""Of the configuration: with the entries that begin with a line it describes the GGUF file, not the model."""
DIGIT_BY_DIGIT = ("smollm",)
"""Values of `tokenizer.ggml.pre` whose tokenizer splits numbers into single digits before anything else."""


def convert_gguf(gguf: Path, out: Path) -> None:
    """De-quantise a causal language model and write it as transformers would.

    Stored in float16. A Q4 block is a float16 scale and a float16 minimum, so that float16 (11 bits of mantissa)
    comes nearer to what the file says than bfloat16 (8 bits) at the same size: on SmolLM2 the relative error is
    0.02 % against 0.14 %, and the largest change of a logit 0.03 against 0.13. Weights are small (at most 9.25 in
    magnitude there), so float16's range is no danger; one that did not fit would be refused.

    Args:
        gguf: The file.
        out: Folder to write into; it exists.

    Raises:
        ModelError: transformers cannot read the file, tensors of its architecture are absent or of another shape, a
            weight is not finite in float16, or the file's tokenizer and its embeddings disagree.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    try:
        with _alone(gguf) as (folder, name):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=name, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise ModelError(
            "GGUF file cannot be read",
            where=str(gguf),
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            allowed="a causal language model of an architecture that transformers de-quantises",
        ) from None
    read, found = loaded
    # transformers fills what it did not find, or what did not fit, with random numbers, and goes on.
    invented = sorted({*found["missing_keys"], *(entry[0] for entry in found["mismatched_keys"])})
    if invented:
        raise ModelError(
            "GGUF file lacks tensors of its architecture, or has them in another shape",
            where=str(gguf),
            got=", ".join(invented[:3]) + (f" and {len(invented) - 3} more" if len(invented) > 3 else ""),
            fix="take another file of the model; of a split one, the whole",
        )
    stored = read.config.to_dict()
    kept = {name: value for name, value in stored.items() if name != LOADER_ENTRY and not name.startswith("_")}
    # A model read from a GGUF refuses to be saved or cast: its state goes into a fresh one of the same configuration.
    config = AutoConfig.for_model(kept.pop("model_type"), **kept)
    fresh = AutoModelForCausalLM.from_config(config)
    fresh.load_state_dict(read.state_dict())
    tied = set(fresh._tied_weights_keys or ()) if config.tie_word_embeddings else set()
    tensors = {
        name: tensor.to(torch.float16).contiguous() for name, tensor in fresh.state_dict().items() if name not in tied
    }
    overflown = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if overflown:
        raise ModelError("weights are not finite in float16", where=str(gguf), got=", ".join(overflown[:3]))
    config.dtype, config.architectures = torch.float16, [type(fresh).__name__]
    config.save_pretrained(out)
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    tokenizer.save_pretrained(out)
    if _pre_tokenizer(gguf) in DIGIT_BY_DIGIT:
        _split_digits(out / TOKENIZER)
    # transformers adds tokens where a GGUF names no end or unknown token: better told now than at the first row.
    check_pair(config.to_dict(), Tokenizer.from_file(str(out / TOKENIZER)), config.model_type)


@contextmanager
def _alone(gguf: Path) -> Iterator[tuple[Path, str]]:
    """A folder and a file's name in it: transformers would also read tokenizer files that lie beside a GGUF."""
    with tempfile.TemporaryDirectory(prefix="gguf-") as folder:
        link = Path(folder) / "model.gguf"
        link.symlink_to(gguf.resolve())
        yield link.parent, link.name


def _pre_tokenizer(gguf: Path) -> str:
    from gguf import GGUFReader

    field = GGUFReader(gguf).fields.get("tokenizer.ggml.pre")
    return str(field.contents()) if field is not None else ""


def _split_digits(path: Path) -> None:
    """Put back what a GGUF only names: without it, spaces before a number are cut otherwise than in training."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    steps = [{"type": "Digits", "individual_digits": True}, value["pre_tokenizer"]]
    value["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
