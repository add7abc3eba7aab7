"""How many positions a decoder knows: a table that ends, or rotary ones that only training has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Places:
    """Positions of a decoder."""

    most: int
    """How many there are, counted from 0."""
    is_table: bool
    """True where a later one cannot be computed; else it was only never seen in pretraining."""
    decoder: str
    """Name of its class."""


def places(backbone: nn.Module) -> Places | None:
    """Positions of a backbone's decoder; None where its configuration does not tell.

    Args:
        backbone: Of the `Backbone` interface, on any device.
    """
    decoder = _decoder(backbone)
    most = getattr(getattr(decoder, "config", None), "max_position_embeddings", None)
    if decoder is None or not isinstance(most, int) or most < 1:
        return None
    words = decoder.get_input_embeddings()
    tables = [one for one in decoder.modules() if isinstance(one, nn.Embedding) and one is not words]
    rows = [one.num_embeddings for one in tables] + [len(one) for one in decoder.buffers() if one.ndim > 1]
    return Places(most, most in rows, type(decoder).__name__)


def _decoder(backbone: nn.Module) -> Any:
    """The module of transformers that holds the decoder layers."""
    layers = backbone.decoder_layers()  # type: ignore[operator]
    return next((part for part in backbone.modules() if any(child is layers for child in part.children())), None)
