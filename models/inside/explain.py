"""Why two items are as close as they are: everything this package knows, in one call."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from catalog import ProductItem, QueryItem
from models.encoder import MoonEncoder
from models.inside.contributions import Part, contributions
from models.inside.experts import LayerExperts, experts_fired
from models.inside.heat import HeatConfig, HeatMap, heat_maps
from models.inside.shown import Shown, show_product, show_query, unit_vector
from models.inside.without import Left, left_out


@dataclass(frozen=True)
class ExplainedItem:
    """One of the two items, seen from the other."""

    name: str
    """product_id, query_id or the label text."""
    text: str
    """Its words, for people: title, query or label; may be empty."""
    maps: tuple[HeatMap, ...]
    """One a photograph; empty without photographs."""
    parts: tuple[Part, ...]
    """They sum to the cosine."""
    without: dict[Left, float]
    """The cosine without each part that the item has."""
    experts: tuple[LayerExperts, ...]
    """One a guided layer; empty for a dense model."""


@dataclass(frozen=True)
class Explanation:
    """A cosine, taken apart."""

    cosine: float
    product: ExplainedItem
    query: ExplainedItem | None
    """None where the product was explained by itself."""


def explain(
    encoder: MoonEncoder,
    item: ProductItem,
    query: QueryItem | str | None = None,
    hide: frozenset[str] = frozenset(),
    heat: HeatConfig = HeatConfig(),
    *,
    each_view: bool = True,
) -> Explanation:
    """Take apart the cosine between a product and a query.

    Args:
        encoder: The model.
        item: The product.
        query: What it is held against: a shopper's query, a label text, or nothing: then the product is held against
            its own vector, the cosine is one, and the maps and parts show what that vector is made of.
        hide: Fields of the product that the model shall not see.
        heat: How fine the maps are.
        each_view: Map originals and crops apart, too; three times the work.

    Raises:
        ModelError, ImageError: An item cannot be embedded; names it.
    """
    product = show_product(encoder, item, hide)
    other = show_query(encoder, query) if query is not None else None
    own_E = unit_vector(encoder, product)
    target_E = own_E if other is None else unit_vector(encoder, other)

    def side(shown: Shown, towards_E: torch.Tensor) -> ExplainedItem:
        return ExplainedItem(
            name=shown.name,
            text=(shown.product.title if shown.product is not None else shown.text) or "",
            maps=heat_maps(encoder, shown, towards_E, heat, each_view=each_view),
            parts=contributions(encoder, shown, towards_E),
            without=left_out(encoder, shown, towards_E),
            experts=experts_fired(encoder, shown),
        )

    return Explanation(
        float(own_E.double() @ target_E.double()),
        side(product, target_E),
        None if other is None else side(other, own_E),
    )
