"""The longest sequence that a configuration allows, held against the positions that its decoder has."""

from __future__ import annotations

import logging

from torch import nn

from catalog import ModelError
from models.backbones.places import Places, places
from models.batch import TokenSequence
from models.processor import Processor

_log = logging.getLogger(__name__)


def num_places(sequence: TokenSequence) -> int:
    """Positions that a sequence takes: its tokens, or fewer where a picture's share rows and columns."""
    return 1 + max(max(place) for place in sequence.positions)


def check_longest(processor: Processor, backbone: nn.Module) -> None:
    """Refuse budgets that allow a sequence which a table of positions cannot hold; warn of one that rotary positions
    can, but were not trained on.

    Whatever the catalogue holds now: a product with more photographs may be embedded later.

    Args:
        processor: Its budgets, layout and template.
        backbone: Its decoder.

    Raises:
        ModelError: Names the keys to lower.
    """
    found = places(backbone)
    if found is None:
        return
    product, query = num_places(processor.longest_product()), num_places(processor.longest_query())
    if max(product, query) <= found.most:
        return
    error = _too_long(processor, found, product, query)
    if found.is_table:
        raise error
    _log.warning("%s", error)


def check_length(sequence: TokenSequence, found: Places | None, name: str) -> None:
    """Refuse a sequence that a table of positions cannot hold.

    Args:
        sequence: Of one item.
        found: The decoder's.
        name: Of the item.

    Raises:
        ModelError: Names got and allowed; it would be an index out of range within the decoder.
    """
    if found is not None and found.is_table and num_places(sequence) > found.most:
        raise ModelError(
            "item is longer than the decoder's table of positions",
            where=name,
            got=f"{num_places(sequence)} positions",
            allowed=f"{found.most}, of {found.decoder}",
            fix="give fewer photographs or shorter texts, or train a model with lower budgets (model.max_images, "
            "model.max_picture_tokens, model.max_title_tokens, model.max_field_tokens, model.max_text_tokens)",
        )


def _too_long(processor: Processor, found: Places, product: int, query: int) -> ModelError:
    config, layout = processor.config, processor.layout
    got, keys = [], []
    if product > found.most:
        told = [f"title {config.max_title_tokens}", f"category and attributes {config.max_field_tokens} each"]
        keys += ["model.max_title_tokens", "model.max_field_tokens"]
        if config.use_description:
            told.append(f"description {config.max_description_tokens}")
            keys.append("model.max_description_tokens")
        if processor.shows_pictures:
            views = config.max_images * config.product_views
            told.insert(0, f"{views} pictures of {layout.num_tokens} tokens")
            keys += ["model.max_images", "model.max_picture_tokens"]
        got.append(f"{product} positions of a product: {', '.join(told)}, with marks and slots")
    if query > found.most:
        named = "a picture" if config.query_views == 1 else f"{config.query_views} pictures"
        picture = f"{named} of {layout.num_tokens} tokens, " if processor.shows_pictures else ""
        got.append(f"{query} positions of a query: {picture}text {config.max_text_tokens}, with marks and slots")
        keys += ["model.max_text_tokens", "model.max_picture_tokens"] if picture else ["model.max_text_tokens"]
    known = "table of positions" if found.is_table else "positions the decoder was trained on"
    return ModelError(
        f"the longest sequence that the budgets allow goes beyond the {known}",
        where="model",
        got="; ".join(got),
        allowed=f"{found.most} positions of {found.decoder}",
        fix=f"lower {', '.join(dict.fromkeys(keys))}"
        + (", or name a decoder with more positions" if found.is_table else ""),
    )
