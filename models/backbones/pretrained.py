"""What every backbone with weights of its own needs: its folder read and checked, its tensors put into the module."""

from __future__ import annotations

import json
import re
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
    *("chunk_size_feed_forward", "is_encoder_decoder", "num_stored_layers"),
}


def from_sizes(build: Callable[[Any], Any], known: Any, where: str) -> Any:
    """What `build` makes of a configuration that its class took, with an error of ours where the values do not go
    together: a width that the heads do not divide, an activation nobody knows.

    Args:
        build: A model's class, or a function like one.
        known: The configuration, of transformers' class.
        where: The key that the weights are named under, or the weights themselves.

    Raises:
        ModelError: It cannot be built.
    """
    from models.weights import faults_told

    with faults_told(
        "no model can be built from the configuration of the weights",
        f"config.json of {where}",
        "fetch or copy the weights once more, or name others",
        RuntimeError,
    ):
        return build(known)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer.json of a weights folder; a text that spells a special token stays text.

    Raises:
        ModelError: Absent, or not a tokenizer.
    """
    from models.weights import made_again, read_manifest

    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for every malformed file
        fix = made_again(folder, read_manifest(folder))
        raise ModelError("tokenizer cannot be read", where=str(path), got=str(error), fix=fix) from None
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

    How many there were stays in it as `num_stored_layers`: `put_weights` leaves out these layers, and no others.

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
    config.num_stored_layers = config.num_hidden_layers
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
        ModelError: That file is damaged, or its values are not three finite numbers each, the deviations above 0.
    """
    from models.weights import check_statistics, made_again, read_manifest

    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return list(default_mean), list(default_std)
    fix = made_again(folder, read_manifest(folder))
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError("preprocessor_config.json cannot be read", where=str(path), got=str(error), fix=fix) from None
    if not isinstance(stored, dict):
        raise ModelError(
            "preprocessor_config.json is no JSON object", where=str(path), got=type(stored).__name__, fix=fix
        )
    mean, std = stored.get("image_mean"), stored.get("image_std")
    return check_statistics(default_mean if mean is None else mean, default_std if std is None else std, str(path), fix)


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
        layers: The decoder's layers, a part of `module`: those that `cut_layers` has cut off are left out. Layers
            beyond what config.json counts, and those of any other part, such as a vision tower, must have their place.

    Raises:
        ModelError: Names or shapes that are not the module's, or values that are not finite; the first of each are
            named.
    """
    own = module.state_dict()
    cut_off = _cut_off(module, layers)
    surplus = re.compile("|".join(getattr(module, "_keys_to_ignore_on_load_unexpected", None) or ()) or "(?!)")
    found: dict[str, torch.Tensor] = {}
    unknown: list[str] = []
    for old, tensor in tensors.items():
        new = rename(old)
        if new is None:
            continue
        if new in own:
            found[new] = tensor
        # Tensors that published checkpoints of this class bring and the class has no use for, as transformers knows.
        elif not cut_off(new) and not surplus.search(old):
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
            fix=_again(where, "config.json and tensors must come from one place"),
        )
    ready = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}
    broken = sorted(name for name, tensor in ready.items() if not bool(torch.isfinite(tensor).all()))
    if broken:
        raise _not_finite(broken, [old for old in tensors if rename(old) in broken], where)
    module.load_state_dict(ready, strict=False, assign=True)


def load_checked(name: str, model_type: str) -> tuple[Path, dict[str, Any], Tokenizer]:
    """Folder, config.json and tokenizer of pretrained weights, found to belong together.

    Args:
        name: Weights name or folder.
        model_type: That config.json must name.

    Raises:
        ModelError: Not at hand, of another model, or tokenizer and configuration disagree.
    """
    from models.weights import check_architecture, check_pair, made_again, read_config, read_manifest, weights_folder

    folder = weights_folder(name)
    stored = read_config(folder)
    check_architecture(stored, model_type, str(folder))
    tokenizer = read_tokenizer(folder)
    check_pair(stored, tokenizer, model_type, str(folder), made_again(folder, read_manifest(folder)))
    return folder, stored, tokenizer


def _cut_off(module: nn.Module, layers: nn.ModuleList | None) -> Callable[[str], bool]:
    """Whether a tensor's name in `module` belongs to a layer that `cut_layers` has cut off those of `layers`."""
    if layers is None:
        return lambda name: False
    prefix = next(name for name, part in module.named_modules() if part is layers) + "."
    owner = next(part for part in module.modules() if any(child is layers for child in part.children()))
    num_stored = getattr(getattr(owner, "config", None), "num_stored_layers", len(layers))

    def cut_off(name: str) -> bool:
        number = name.removeprefix(prefix).split(".")[0]
        return name.startswith(prefix) and number.isdecimal() and len(layers) <= int(number) < num_stored

    return cut_off


def _not_finite(names: list[str], stored: list[str], where: str) -> ModelError:
    from models.weights import tensor_file

    files = {str(tensor_file(Path(where), name)) for name in stored}
    return ModelError(
        "weights are not finite",
        where=_first(sorted(files)) or where,
        got=_first(names),
        allowed="numbers",
        fix=_again(where, "the file holds NaN or infinity"),
    )


def _again(where: str, why: str) -> str:
    from models.weights import made_again, read_manifest

    return f"{why}: {made_again(Path(where), read_manifest(Path(where)))}"


def _may_be_absent(own: Mapping[str, torch.Tensor]) -> set[str]:
    # Batch norm's counter of batches: older checkpoints lack it, and nothing reads it at evaluation.
    return {name for name in own if name.endswith("num_batches_tracked")}


def _first(names: list[str]) -> str:
    more = len(names) - MAX_NAMED_TENSORS
    return ", ".join(names[:MAX_NAMED_TENSORS]) + (f" and {more} more" if more > 0 else "")
