"""Put guided experts, or their dense twins, where a decoder's FFNs were."""

from __future__ import annotations

import torch
from torch import nn

from catalog import ModelError
from models.config import MoeConfig
from models.moe.dense_twin import DenseTwin
from models.moe.guided import GuidedMoe
from models.moe.in_view import TypesInView
from models.moe.probe import probe


def upcycle(
    layers: nn.ModuleList, ffn_name: str, width: int, config: MoeConfig, in_view: TypesInView
) -> list[GuidedMoe]:
    """Replace the FFN of the chosen layers, in place; every output stays what it was.

    Args:
        layers: The decoder's.
        ffn_name: Attribute of a layer that is its FFN.
        width: Width of the hidden states.
        config: Which layers, and what comes there; empty layers leave the decoder as it is.
        in_view: Where the new modules will find the token types.

    Returns:
        The guided modules, in the order of the layers; none for dense twins.

    Raises:
        ModelError: A layer is named that the decoder has not, an FFN returns more than its output, or full experts
            meet an FFN that is not a SwiGLU.
    """
    indices = chosen_layers(config, len(layers))
    for index in indices:
        _check_output(getattr(layers[index], ffn_name), width, index)
    made = []
    for index in indices:
        layer = layers[index]
        ffn = getattr(layer, ffn_name)
        if config.kind == "dense":
            setattr(layer, ffn_name, DenseTwin(ffn, width, config))
            continue
        moe = GuidedMoe(ffn, width, config, in_view)
        setattr(layer, ffn_name, moe)
        made.append(moe)
    return made


def chosen_layers(config: MoeConfig, num: int) -> list[int]:
    """Places of the layers that get experts, counted from 0, in order and each once, however it was named.

    Args:
        config: Names them, also from the end.
        num: Layers of the decoder.

    Raises:
        ModelError: A layer is named that the decoder has not.
    """
    for index in config.layers:
        if not -num <= index < num:
            raise ModelError(
                "the mixture of experts is asked for in a layer that the decoder has not",
                where="model.moe.layers",
                got=str(index),
                allowed=f"{-num} to {num - 1}: the decoder has {num} layers",
                fix="name other layers in model.moe.layers, or keep more of the decoder's",
            )
    return sorted({layer % num for layer in config.layers})


def _check_output(ffn: nn.Module, width: int, index: int) -> None:
    """Refuse an FFN that hands on more than hidden states: nothing could be added to it."""
    tried = probe(ffn, width)
    if tried is None or isinstance(tried[1], torch.Tensor):
        return
    raise ModelError(
        "experts cannot stand beside an FFN that returns more than its output",
        where=f"model.moe.layers, decoder FFN of class {type(ffn).__name__} in layer {index}",
        got=f"a {type(tried[1]).__name__}",
        allowed="an FFN that returns one tensor",
        fix="name layers with a dense FFN, leave model.moe.layers empty ([]), or name another language model",
    )
