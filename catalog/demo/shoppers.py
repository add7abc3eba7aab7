"""Simulated shoppers: who searched with which words or photograph, and what was bought. Nothing is drawn here."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from catalog.demo import language
from catalog.demo.assortment import Article
from catalog.demo.seeds import rng_of
from catalog.rows import QueryKind, Signal

FIRST_TIME_S = 1_704_067_200
"""2024-01-01 00:00 UTC."""
SPAN_S = 731 * 86_400
"""Two years."""
NOISE_FRAC = 0.05
"""Share of words that speak of another product than the one bought."""
PHOTO_SHARE, BOTH_SHARE = 0.45, 0.15


@dataclass(frozen=True)
class Intent:
    """One shopper's query before its photograph is taken."""

    query_id: str
    kind: QueryKind
    text: str | None
    shows: Article | None
    """The article in the shopper's photograph."""
    product_ids: tuple[str, ...]
    timestamp: float
    signal: Signal
    weight: float


def plan_queries(articles: Sequence[Article], seed: int, queries_per_product: float) -> list[Intent]:
    """All shoppers of the shop.

    About 45 % ask with a photograph, 40 % with words, 15 % with both. Every product is asked for by photograph at
    least once where `queries_per_product` is 1 or more, which moves the mix towards photographs below 2.2.
    """
    groups: dict[str, list[Article]] = {}
    for article in articles:
        groups.setdefault(article.group_id, []).append(article)
    intents: list[Intent] = []
    for number, article in enumerate(articles):
        rng = rng_of(seed, "shoppers", article.product_id)
        for k, kind in enumerate(_kinds(queries_per_product, rng)):
            query_id = f"q{article.product_id[1:]}-{k + 1}"
            stranger = articles[(number + 1 + rng.randrange(max(1, len(articles) - 1))) % len(articles)]
            intents.append(_intent(query_id, kind, article, groups[article.group_id], stranger, rng))
    return intents


def _kinds(queries_per_product: float, rng: random.Random) -> list[QueryKind]:
    photos = max(PHOTO_SHARE * queries_per_product, min(1.0, queries_per_product) if queries_per_product >= 1 else 0.0)
    both = min(BOTH_SHARE * queries_per_product, queries_per_product - photos)
    words = queries_per_product - photos - both

    def count(mean: float) -> int:
        return int(mean) + (rng.random() < mean - int(mean))

    return [QueryKind.PHOTO] * count(photos) + [QueryKind.TEXT] * count(words) + [QueryKind.BOTH] * count(both)


def _intent(
    query_id: str, kind: QueryKind, article: Article, group: list[Article], stranger: Article, rng: random.Random
) -> Intent:
    text, named = None, set[str]()
    if kind is not QueryKind.PHOTO:
        spoken = stranger if rng.random() < NOISE_FRAC else article
        text, named = language.search_words(spoken.leaf, spoken.traits, rng, with_photo=kind is QueryKind.BOTH)
    bought: tuple[str, ...] = (article.product_id,)
    # Words that say nothing of a colour fit every colour of the article alike.
    if kind is QueryKind.TEXT and "colour" not in named:
        bought = tuple(member.product_id for member in group)
    signal, weight = rng.choices(((Signal.PURCHASE, 1.0), (Signal.CART, 0.5), (Signal.CLICK, 0.2)), (0.82, 0.1, 0.08))[
        0
    ]
    stamp = FIRST_TIME_S + float(rng.randrange(SPAN_S))
    shows = None if kind is QueryKind.TEXT else article
    return Intent(query_id, kind, text, shows, bought, stamp, signal, weight)
