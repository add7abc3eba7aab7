"""Which products are looked at, and everything that is known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from catalog import Box, Catalog, ProductItem, QueryItem, Side, Splits
from models.encoder import MoonEncoder
from models.inside import Explanation, Left, Shown, embed_without, explain, show_product, show_query
from models.inside.pairs import query_kind
from models.inside.without import RESIDUALS, parts_of
from models.regions import box_iou

WITHOUT = (None, Left.CROPS, Left.SLOTS, Left.GUIDED_EXPERTS, *RESIDUALS)
"""What neighbours are looked up without; None: nothing left out."""
NUM_CASES, NUM_NEIGHBOURS = 6, 5


@dataclass(frozen=True)
class Held:
    """The held-out side: products, and the queries that bought one of them."""

    items: tuple[ProductItem, ...]
    queries: tuple[QueryItem, ...]
    answers: tuple[frozenset[str], ...]
    """Products that each query bought, in step with `queries`."""


@dataclass(frozen=True)
class Neighbours:
    """What a query finds among the held-out products."""

    items: tuple[ProductItem, ...]
    """Nearest first."""
    cosines: tuple[float, ...]
    rank: int
    """Place of the nearest product that was bought, from 1."""


@dataclass(frozen=True)
class Case:
    """One product and the query that bought it."""

    number: int
    """From 1, as on the page."""
    item: ProductItem
    query: QueryItem
    answers: frozenset[str]
    explanation: Explanation
    core_iou: tuple[float | None, ...]
    """Overlap of the core crop with the true box, a photograph each; None where one of them is unknown."""
    neighbours: dict[str, Neighbours]
    """By what was left out; `all parts` for nothing."""


ALL_PARTS = "all parts"


def name_of(part: Left | None) -> str:
    """As rows of tables and figures are called."""
    return ALL_PARTS if part is None else f"without {part}"


def held_out(catalog: Catalog, splits: Splits, side: Side = Side.TEST) -> Held:
    """Products and queries of one side, in the order of their ids."""
    keys = sorted(key for key in splits.product_ids(side) if key in catalog.by_id)
    asked = [
        (query, frozenset(query.product_ids) & frozenset(keys))
        for query in sorted(splits.queries.get(side, ()), key=lambda query: query.query_id)
    ]
    asked = [(query, answers) for query, answers in asked if answers]
    return Held(
        tuple(catalog.items(keys)),
        tuple(catalog.query_item(query) for query, _ in asked),
        tuple(answers for _, answers in asked),
    )


def choose(held: Held, num: int = NUM_CASES) -> list[tuple[ProductItem, int]]:
    """Products, and the index of the query of each: kinds of query in turn, no leaf category twice where it can be.

    The first that fit in the order of ids: nothing is picked because it looks good.
    """
    by_id = {item.product.product_id: item for item in held.items}
    waiting: dict[str, list[int]] = {"photo": [], "text": [], "both": []}
    for index, query in enumerate(held.queries):
        waiting[query_kind(query)].append(index)
    found: list[tuple[ProductItem, int]] = []
    for new_leaf in (True, False):
        grew = True
        while grew and len(found) < num:
            grew = False
            for indices in waiting.values():
                fitting = (one for one in indices if _is_new(by_id[min(held.answers[one])], found, new_leaf))
                pick = next(fitting, None)
                if pick is not None and len(found) < num:
                    indices.remove(pick)
                    found.append((by_id[min(held.answers[pick])], pick))
                    grew = True
    return found


def study(
    encoder: MoonEncoder, held: Held, num: int = NUM_CASES, say: Callable[[str], None] = lambda _: None
) -> list[Case]:
    """Look at `num` products.

    Args:
        encoder: The model.
        held: Where they and their neighbours are taken from.
        num: How many.
        say: Told what is being done.
    """
    chosen = choose(held, num)
    gallery = [show_product(encoder, item) for item in held.items]
    asked = [show_query(encoder, held.queries[index]) for _, index in chosen]
    found = {}
    for part in WITHOUT:
        if part is not None and not any(part in parts_of(encoder, shown) for shown in (*gallery, *asked)):
            continue
        say(f"neighbours, {name_of(part)}")
        found[name_of(part)] = _neighbours(encoder, held, gallery, asked, [held.answers[i] for _, i in chosen], part)
    cases = []
    for number, (item, index) in enumerate(chosen, start=1):
        say(f"explaining {item.product.product_id}, {number} of {len(chosen)}")
        explanation = explain(encoder, item, held.queries[index], each_view=False)
        overlaps = tuple(_overlap(heat.region_px, heat.photo.box) for heat in explanation.product.maps)
        rows = {name: rows[number - 1] for name, rows in found.items()}
        cases.append(Case(number, item, held.queries[index], held.answers[index], explanation, overlaps, rows))
    return cases


def _is_new(item: ProductItem, found: Sequence[tuple[ProductItem, int]], leaf: bool) -> bool:
    """Whether the product, or its whole leaf category, was not chosen yet."""
    if leaf:
        return item.product.category not in {one.product.category for one, _ in found}
    return item.product.product_id not in {one.product.product_id for one, _ in found}


def _neighbours(
    encoder: MoonEncoder,
    held: Held,
    gallery: Sequence[Shown],
    asked: Sequence[Shown],
    answers: Sequence[frozenset[str]],
    part: Left | None,
) -> list[Neighbours]:
    """Queries and products alike lose the part."""
    cosines = embed_without(encoder, asked, part) @ embed_without(encoder, gallery, part).T
    made = []
    for row, bought in zip(cosines, answers, strict=True):
        order = np.argsort(-row, kind="stable")
        ids = [held.items[place].product.product_id for place in order]
        made.append(
            Neighbours(
                tuple(held.items[place] for place in order[:NUM_NEIGHBOURS]),
                tuple(float(row[place]) for place in order[:NUM_NEIGHBOURS]),
                1 + next(rank for rank, key in enumerate(ids) if key in bought),
            )
        )
    return made


def _overlap(region: tuple[int, int, int, int] | None, box: Box | None) -> float | None:
    if region is None or box is None:
        return None
    x0, y0, x1, y1 = (float(edge) for edge in region)
    return box_iou((x0, y0, x1, y1), box)


def vectors_of(encoder: MoonEncoder, held: Held) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of all held-out products and queries, (N, dims) and (M, dims)."""
    return torch.from_numpy(encoder.embed_products(held.items)), torch.from_numpy(encoder.embed_queries(held.queries))
