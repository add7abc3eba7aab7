"""Which product answers which query: counted in the log, not taken from a single click."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from catalog.catalog import Catalog
from catalog.rows import Query, QueryKind, Signal
from catalog.splits import Side
from validation.curating.config import CuratingConfig
from validation.curating.findings import Found, Rule, found
from validation.curating.photos import PhotoLinks
from validation.curating.times import ASKED
from validation.errors import BenchmarkError

SUPPORT = "pair_support"
"""Key in the extra of a query that sums up several rows: product_id -> support."""
_STRENGTH = (Signal.PURCHASE, Signal.CART, Signal.CLICK, Signal.NONE)


def plain_text(text: str) -> str:
    """Words as they are compared: compatibility forms, case and white space folded."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass
class _Asked:
    """All rows that ask the same."""

    rows: list[Query] = field(default_factory=list)
    support: dict[str, dict[str, float]] = field(default_factory=dict)
    """product_id -> session -> its largest weight."""
    stated: set[str] = field(default_factory=set)
    """Products that a row without a signal names: relevance by the source's own word."""

    def of(self, key: str) -> float:
        return sum(self.support.get(key, {}).values())


def count_relevance(
    catalog: Catalog, side_of: Mapping[str, Side], cfg: CuratingConfig, photos: PhotoLinks
) -> tuple[Catalog, list[Found]]:
    """Unite the test queries that ask the same and keep the pairs of query and product with enough support.

    Queries are the same when kind, words (case and white space aside) and photo are. The support of a pair is the sum
    of `signal_weights` over its rows, once a session where the log has sessions.

    Raises:
        BenchmarkError: Nothing has enough support.
    """
    test = [q for q in catalog.queries if q.kind in ASKED and any(side_of.get(k) is Side.TEST for k in q.product_ids)]
    asked = _united(test, cfg, photos)
    kept, thin, united = [], [], []
    for one in asked:
        least = cfg.min_support if one.rows[0].kind is QueryKind.TEXT else cfg.min_photo_support
        products = sorted({key for row in one.rows for key in row.product_ids})
        good = [key for key in products if key in one.stated or one.of(key) >= least]
        name = one.rows[0].query_id
        thin += [f"{name} -> {key}: {one.of(key):g} of {least:g}" for key in products if key not in good]
        if good:
            kept.append(_as_query(one, good, least))
            united += [f"{row.query_id} in {name}" for row in one.rows[1:]]
    if asked and not kept:
        best = max((one.of(key) for one in asked for key in one.support), default=0.0)
        raise BenchmarkError(
            "no query has enough support",
            where="curating.min_support and min_photo_support",
            got=f"{len(asked)} test queries, the best pair {best:g}",
            allowed=f"{cfg.min_support:g} for words, {cfg.min_photo_support:g} with a photo",
            fix="lower them, give carts or clicks a weight (curating.signal_weights), or take a longer log",
        )
    gone = {query.query_id for query in test}
    queries = (*(query for query in catalog.queries if query.query_id not in gone), *kept)
    return replace(catalog, queries=queries), [
        found(Rule.UNITED_QUERIES, "queries ask what another one asks; united with it", united),
        found(Rule.THIN_SUPPORT, "pairs of query and product have too little support; not counted as relevant", thin),
    ]


def _united(queries: Sequence[Query], cfg: CuratingConfig, photos: PhotoLinks) -> list[_Asked]:
    asked: dict[tuple[str, bool, str, str], _Asked] = {}
    for query in sorted(queries, key=lambda query: query.query_id):
        text = plain_text(query.text or "") if query.kind is not QueryKind.PHOTO else ""
        photo = photos.of_query.get(query.query_id) or query.image or "" if query.kind is not QueryKind.TEXT else ""
        one = asked.setdefault((query.kind, query.augmented, text, photo), _Asked())
        one.rows.append(query)
        if query.signal is Signal.NONE:
            one.stated |= set(query.product_ids)
            continue
        counted = query.extra.get(SUPPORT)
        session = next((f"session {query.extra[n]}" for n in cfg.session_fields if query.extra.get(n)), query.query_id)
        for key in query.product_ids:
            # A row that sums up others keeps its sum: curating twice changes nothing.
            summed = counted.get(key) if isinstance(counted, dict) else None
            weight = cfg.signal_weights.get(query.signal, 0.0) if summed is None else float(summed)
            sessions = one.support.setdefault(key, {})
            sessions[session] = max(weight, sessions.get(session, 0.0))
    return list(asked.values())


def _as_query(one: _Asked, good: Sequence[str], least: float) -> Query:
    first = one.rows[0]
    spellings = Counter(" ".join(row.text.split()) for row in one.rows if row.text)
    text = min(spellings, key=lambda text: (-spellings[text], text)) if spellings else first.text
    stamps = [row.timestamp for row in one.rows if row.timestamp is not None]
    logged = any(row.signal is not Signal.NONE for row in one.rows)
    support = {key: max(one.of(key), least) if key in one.stated else one.of(key) for key in good}
    return first.model_copy(
        update={
            "text": text,
            "product_ids": tuple(good),
            "timestamp": max(stamps, default=None),
            "signal": min((row.signal for row in one.rows), key=_STRENGTH.index),
            "weight": 1.0,
            "extra": {SUPPORT: support} if logged else first.extra,
        }
    )
