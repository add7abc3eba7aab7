"""One article that is listed twice: the same words and the same picture under two groups."""

from __future__ import annotations

from dataclasses import replace

from catalog.catalog import Catalog
from catalog.rows import Product
from validation.curating.config import CuratingConfig
from validation.curating.findings import Found, Rule, found
from validation.curating.photos import PhotoLinks
from validation.curating.texts import full_text, near_texts, shingles
from validation.curating.unions import Unions
from validation.curating.variants import variant_signature


def merge_duplicates(
    catalog: Catalog, cfg: CuratingConfig, photos: PhotoLinks, group_of: dict[str, str]
) -> tuple[Catalog, list[Found]]:
    """Keep one of each set of duplicates and count the others' purchases for it.

    Duplicates share a near-identical picture, (nearly) the same title, category and attributes, and name the same
    sizes and colours. Equal words alone, or one shared picture alone, make none: variants and articles photographed
    together have those. Two products of one group are variants by the shop's own word and are never merged, nor are
    two that a third one would join. Kept is the one with the most photos, then the most attributes, then the first
    product id.

    Args:
        catalog: Groups may be united already.
        cfg: Thresholds.
        photos: Of the same catalogue.
        group_of: product_id -> group as the shop has it.
    """
    in_play = sorted({key for a, b in photos.pictures() if group_of[a] != group_of[b] for key in (a, b)})
    rows = [catalog.by_id[key] for key in in_play]
    told = [variant_signature(row, cfg.variant_attributes) for row in rows]
    near = near_texts([shingles(row) for row in rows], cfg.near_text_frac)
    pairs = [
        (-overlap, in_play[i], in_play[j])
        for (i, j), overlap in near.items()
        if group_of[in_play[i]] != group_of[in_play[j]] and told[i] == told[j] and photos.alike(in_play[i], in_play[j])
    ]
    unions = Unions(in_play)
    groups_in = {key: {group_of[key]} for key in in_play}
    for _, one, other in sorted(pairs):
        first, second = unions.root(one), unions.root(other)
        if first != second and groups_in[first].isdisjoint(groups_in[second]):
            joined = groups_in[first] | groups_in[second]
            unions.join(first, second)
            groups_in[unions.root(first)] = joined

    def rank(key: str) -> tuple[int, int, str]:
        row = catalog.by_id[key]
        return -len(set(photos.of_product.get(key, ()))), -len(row.attributes), key

    kept_for = {}
    for members in unions.classes():
        kept = min(members, key=rank)
        kept_for.update({key: kept for key in members if key != kept})
    names = [f"{key} = {kept} (kept)" for key, kept in kept_for.items()]
    return _merged(catalog, kept_for), [
        found(
            Rule.DUPLICATES,
            "products are another one over again, in words and picture; dropped, the one kept has their purchases",
            names,
        ),
        found(
            Rule.EQUAL_TEXT,
            "texts stand for products of several groups that share no picture; all kept, no encoder of words can "
            "tell them apart",
            _equal_texts(catalog, kept_for, group_of),
        ),
    ]


def _merged(catalog: Catalog, kept_for: dict[str, str]) -> Catalog:
    if not kept_for:
        return catalog
    products = tuple(row for row in catalog.products if row.product_id not in kept_for)

    def again(keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(kept_for.get(key, key) for key in keys))

    queries = []
    for query in catalog.queries:
        if kept_for.keys().isdisjoint((*query.product_ids, *query.anchor_ids)):
            queries.append(query)
            continue
        anchors = again(query.anchor_ids)
        answers = tuple(key for key in again(query.product_ids) if key not in anchors)
        if answers:
            queries.append(query.model_copy(update={"product_ids": answers, "anchor_ids": anchors}))
    return replace(catalog, products=products, queries=tuple(queries))


def _equal_texts(catalog: Catalog, kept_for: dict[str, str], group_of: dict[str, str]) -> list[str]:
    bearers: dict[str, list[Product]] = {}
    for row in catalog.products:
        if row.title and row.product_id not in kept_for:
            bearers.setdefault(full_text(row), []).append(row)
    several = [
        sorted(row.product_id for row in rows)
        for rows in bearers.values()
        if len({group_of[row.product_id] for row in rows}) > 1
    ]
    return [f"{', '.join(keys[:4])}{f' and {len(keys) - 4} more' if len(keys) > 4 else ''}" for keys in several]
