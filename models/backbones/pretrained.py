"""What every backbone with weights of its own needs: its folder read and checked, its tensors put into the module."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from catalog import ModelError

MAX_NAMED_TENSORS = 6
PER_LAYER_LISTS = ("layer_types", "no_rope_layers", "mlp_layer_types")
"""Entries of a decoder's configuration that hold one value a layer."""
PAD_TOKENS = ("<|endoftext|>", "<|im_end|>", "<pad>", "<|pad|>", "</s>", "<unk>")
NOT_ARCHITECTURE = {
    *("_name_or_path", "architectures", "auto_map", "transformers_version", "dtype", "torch_dtype"),
    *("id2label", "label2id", "problem_type", "return_dict", "output_attentions", "output_hidden_states", "use_cache"),
    *("chunk_size_feed_forward", "is_encoder_decoder"),
}


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer.json of a weights folder; a text that spells a special token stays text.

    Raises:
        ModelError: Absent, or not a tokenizer.
    """
    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for every malformed file
        raise ModelError("tokenizer cannot be read", where=str(path), got=str(error)) from None
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def padding_id(tokenizer: Tokenizer) -> int:
    """Id that fills sequences up: a token that says nothing where there is one, else the first; it is masked anyway."""
    known = [found for found in map(tokenizer.token_to_id, PAD_TOKENS) if found is not None]
    return int(known[0]) if known else 0


def architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """A transformers configuration without what says nothing about the architecture; JSON."""
    kept = {name: value for name, value in config.items() if name not in NOT_ARCHITECTURE}
    return {name: architecture(value) if isinstance(value, Mapping) else value for name, value in kept.items()}


def cut_layers(config: Any, keep_layers: int | None) -> None:
    """Let a decoder's transformers configuration end after its first `keep_layers` layers.

    Raises:
        ModelError: It has fewer.
    """
    if keep_layers is None:
        return
    if keep_layers > config.num_hidden_layers:
        raise ModelError(
            "more decoder layers are to be kept than there are",
            where="keep_layers",
            got=str(keep_layers),
            allowed=f"1 to {config.num_hidden_layers}",
            fix="lower it, or leave it empty for all of them",
        )
    config.num_hidden_layers = keep_layers
    for name in PER_LAYER_LISTS:
        if isinstance(getattr(config, name, None), list):
            setattr(config, name, getattr(config, name)[:keep_layers])


def check_vocabulary(vocab_size: int, num_rows: int, where: str) -> None:
    """Every id of the tokenizer must have its row in the embedding table.

    Raises:
        ModelError: The tokenizer is larger: it belongs to another model.
    """
    if vocab_size > num_rows:
        raise ModelError(
            "tokenizer has more entries than the embedding table has rows",
            where=where,
            got=f"{vocab_size} entries, {num_rows} rows",
            allowed=f"at most {num_rows} entries",
            fix="use the tokenizer.json that came with the weights",
        )


def pixel_statistics(
    folder: Path, default_mean: Sequence[float], default_std: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of a channel, of values in [0, 1], from the folder's preprocessor_config.json.

    Args:
        folder: Of the weights.
        default_mean: Where the folder does not tell.
        default_std: Where the folder does not tell.

    Raises:
        ModelError: That file is damaged.
    """
    path = folder / "preprocessor_config.json"
    try:
        stored = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise ModelError("preprocessor_config.json cannot be read", where=str(path), got=str(error)) from None
    mean, std = stored.get("image_mean") or default_mean, stored.get("image_std") or default_std
    return [float(x) for x in mean], [float(x) for x in std]


@contextmanager
def without_init() -> Iterator[None]:
    """Build modules whose weights are loaded right after: drawing three billion random numbers takes a minute."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        yield


def put_weights(
    module: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    rename: Callable[[str], str | None],
    where: str,
    layers: nn.ModuleList | None = None,
) -> None:
    """Put a checkpoint into `module`, in float32.

    Args:
        module: Its tensors are replaced, not copied into: nothing is held twice.
        tensors: The checkpoint.
        rename: A tensor's name in the checkpoint to its name in `module`; None for one that has no place in it.
        where: Told in errors.
        layers: The decoder's layers, a part of `module`: the checkpoint's later ones of the same list are left out.
            Layers of any other part, such as a vision tower, must all have their place.

    Raises:
        ModelError: Names or shapes that are not the module's; the first of each are named.
    """
    own = module.state_dict()
    later = _later_layers(module, layers)
    found: dict[str, torch.Tensor] = {}
    unknown: list[str] = []
    for old, tensor in tensors.items():
        new = rename(old)
        if new is None:
            continue
        if new in own:
            found[new] = tensor
        elif not later(new):
            unknown.append(old)
    faults = {
        "missing": sorted(own.keys() - found.keys() - _may_be_absent(own)),
        "unknown": sorted(unknown),
        "of another shape": [
            f"{name}: {tuple(tensor.shape)} instead of {tuple(own[name].shape)}"
            for name, tensor in sorted(found.items())
            if tensor.shape != own[name].shape
        ],
    }
    told = [f"{what}: {_first(names)}" for what, names in faults.items() if names]
    if told:
        raise ModelError(
            "weights do not fit their config.json",
            where=where,
            got="; ".join(told),
            fix="fetch the weights again; config.json and tensors must come from one place",
        )
    ready = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}
    module.load_state_dict(ready, strict=False, assign=True)


def load_checked(name: str, model_type: str) -> tuple[Path, dict[str, Any], Tokenizer]:
    """Folder, config.json and tokenizer of pretrained weights, found to belong together.

    Args:
        name: Weights name or folder.
        model_type: That config.json must name.

    Raises:
        ModelError: Not at hand, of another model, or tokenizer and configuration disagree.
    """
    from models.weights import check_architecture, check_pair, read_config, weights_folder

    folder = weights_folder(name)
    stored = read_config(folder)
    check_architecture(stored, model_type, str(folder))
    tokenizer = read_tokenizer(folder)
    check_pair(stored, tokenizer, model_type)
    return folder, stored, tokenizer


def _later_layers(module: nn.Module, layers: nn.ModuleList | None) -> Callable[[str], bool]:
    """Whether a tensor's name in `module` belongs to a layer that comes after those of `layers`."""
    if layers is None:
        return lambda name: False
    prefix = next(name for name, part in module.named_modules() if part is layers) + "."

    def later(name: str) -> bool:
        number = name.removeprefix(prefix).split(".")[0]
        return name.startswith(prefix) and number.isdecimal() and int(number) >= len(layers)

    return later


def _may_be_absent(own: Mapping[str, torch.Tensor]) -> set[str]:
    # Batch norm's counter of batches: older checkpoints lack it, and nothing reads it at evaluation.
    return {name for name in own if name.endswith("num_batches_tracked")}


def _first(names: list[str]) -> str:
    more = len(names) - MAX_NAMED_TENSORS
    return ", ".join(names[:MAX_NAMED_TENSORS]) + (f" and {more} more" if more > 0 else "")
