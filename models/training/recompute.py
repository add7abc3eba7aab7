"""Gradient checkpointing: the activations of a layer are computed again when its gradient is due."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from models.moon import MoonModel

Contexts = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]


def recompute_activations(model: MoonModel) -> int:
    """Keep only what enters each decoder layer, and each block of a vision tower that learns.

    To be called before layers are sharded: they are then gathered around the layer, not inside it.

    Returns:
        Layers and blocks that are computed again.

    Pitfalls:
        A tower whose blocks stand in no `nn.ModuleList` (a convolutional one of timm) keeps its activations.
    """
    # The guided layers must find the token types again, and must not count the tokens twice.
    contexts = model.moes[0].in_view.checkpoint_contexts if model.moes else _nothing
    layers = list(model.backbone.decoder_layers())
    blocks = list(vision_blocks(model)) if any(one.requires_grad for one in model.backbone.vision_parameters()) else []
    for layer, around in [*((one, contexts) for one in layers), *((one, _nothing) for one in blocks)]:
        layer.forward = _Recomputed(layer, layer.forward, around)
    return len(layers) + len(blocks)


def vision_blocks(model: MoonModel) -> list[nn.Module]:
    """Blocks of the vision tower's longest stack; none where it has no stack."""
    own = {id(one) for one in model.backbone.vision_parameters()}
    stacks = [
        one
        for one in model.modules()
        if isinstance(one, nn.ModuleList) and len(one) and all(id(part) in own for part in one.parameters())
    ]
    return max((list(one) for one in stacks), key=len, default=[])


class _Recomputed:
    """A layer's `forward`, with activations kept only where no gradient is wanted anyway.

    Not a closure, so that a copy of the model calls the copy's layer.
    """

    def __init__(self, layer: nn.Module, forward: Callable[..., Any], contexts: Contexts) -> None:
        self.layer, self.forward, self.contexts = layer, forward, contexts
        functools.update_wrapper(self, forward)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not (self.layer.training and torch.is_grad_enabled()):
            return self.forward(*args, **kwargs)
        return checkpoint(self.forward, *args, use_reentrant=False, context_fn=self.contexts, **kwargs)


def _nothing() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), nullcontext()
