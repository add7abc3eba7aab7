"""Frozen weights: those of the decoder in low precision while a model is trained in it, a tower that is seen once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from models.config import TrainConfig
from models.moon import MoonModel
from models.training.parameters import ADAPTER


def keeps_features(model: MoonModel, train: TrainConfig) -> bool:
    """Whether what the tower makes of pictures is kept on disk: it is frozen, and that is asked for."""
    return train.feature_variants > 0 and not any(one.requires_grad for one in model.backbone.vision_parameters())


def to_lower(model: MoonModel) -> list[torch.Tensor]:
    """What `lower_frozen` would round, as it is."""
    backbone = model.backbone
    assert isinstance(backbone, nn.Module)
    apart = {id(one) for one in (*backbone.vision_parameters(), *model.expert_parameters())}
    layers = {name: one for name, one in backbone.decoder_layers().named_parameters() if ADAPTER not in name}
    of_decoder = [one for one in layers.values() if id(one) not in apart]
    if any(one.requires_grad for one in of_decoder):
        return []
    # Not what lies between: a projector's norms meet float32.
    tables = [one.weight for one in backbone.modules() if isinstance(one, nn.Embedding) and id(one.weight) not in apart]
    return [one for one in (*of_decoder, *tables) if not one.requires_grad and one.dtype == torch.float32]


def lower_frozen(model: MoonModel) -> list[torch.Tensor]:
    """Round the decoder's frozen weights to bf16 in place, so that hidden states are bf16 between its layers too.

    Under autocast a float32 weight is rounded anyway, anew at every use, while float32 norms widen what they are given:
    half of a small decoder's step goes into such copies. What learns stays float32. Nothing is lowered where more of
    the decoder than adapters and experts learns.

    Args:
        model: With its adapters, after it was chosen what learns.

    Returns:
        What was lowered; `raised` brings it back without a further change.

    Source: our choice; base weights of 16 bits under adapters of 32 are the custom of LoRA training.
    """
    lowered = to_lower(model)
    for one in lowered:
        one.data = one.data.bfloat16()
    return lowered


def raise_frozen(lowered: Sequence[torch.Tensor]) -> None:
    """Back to float32, in place; the values stay the rounded ones."""
    for one in lowered:
        one.data = one.data.float()


@contextmanager
def raised(lowered: Sequence[torch.Tensor]) -> Iterator[None]:
    """Float32 inside, for whoever uses the model without autocast."""
    raise_frozen(lowered)
    try:
        yield
    finally:
        for one in lowered:
            one.data = one.data.bfloat16()
