"""Groups that are one article under several group ids, united so that no article stands on two sides of the split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from catalog.catalog import Catalog
from catalog.config import SplitConfig
from catalog.rows import Product
from catalog.splits import Side, split_catalog
from validation.curating.config import CuratingConfig
from validation.curating.findings import Found, Rule, found
from validation.curating.photos import PhotoLinks
from validation.curating.unions import Unions
from validation.curating.variants import title_stem
from validation.errors import BenchmarkError

_RANK = {Side.TEST: 0, Side.VAL: 1, Side.TRAIN: 2}


@dataclass(frozen=True)
class Link:
    """Two products of different groups that are variants or copies of one article."""

    one: str
    other: str
    why: str


def unite_groups(
    catalog: Catalog, split: SplitConfig, cfg: CuratingConfig, photos: PhotoLinks
) -> tuple[Catalog, list[Found]]:
    """Give the groups of one article a common group id.

    The id is that of a member on the test side if there is one, else on the validation side: so the split of the
    united catalogue, which hashes group ids, puts the whole article there, and a catalogue that grows can move a group
    towards the test side, where a model has not trained on it, but never from test to train.

    Raises:
        BenchmarkError: More than `max_united_groups` groups would become one: a placeholder picture or an empty title.
    """
    by_photo, by_title = _photo_links(catalog, photos), _title_links(catalog.products, cfg) if cfg.link_titles else []
    group_of = {row.product_id: row.group_id for row in catalog.products}
    unions = Unions(set(group_of.values()))
    for link in (*by_photo, *by_title):
        unions.join(group_of[link.one], group_of[link.other])
    classes = [members for members in unions.classes() if len(members) > 1]
    _refuse_placeholders(classes, (*by_photo, *by_title), group_of, photos, cfg)

    side_of_group = {
        row.group_id: side
        for row, side in zip(catalog.products, split_catalog(catalog, split).side_of.values(), strict=True)
    }
    leaked, new_id = [], {}
    for members in classes:
        chosen = min(members, key=lambda group: (_RANK[side_of_group[group]], group))
        new_id.update(dict.fromkeys(members, chosen))
        if len({side_of_group[group] for group in members}) > 1:
            told = ", ".join(f"{group} ({side_of_group[group]})" for group in members)
            leaked.append(f"{told}: all on {side_of_group[chosen]} now")
    products = tuple(
        row.model_copy(update={"group_id": new_id[row.group_id]}) if row.group_id in new_id else row
        for row in catalog.products
    )

    def named(links: Iterable[Link]) -> list[str]:
        return [f"{x.one} ({group_of[x.one]}) ~ {x.other} ({group_of[x.other]}): {x.why}" for x in links]

    return replace(catalog, products=products), [
        found(
            Rule.NEAR_IDENTICAL_PHOTOS,
            "pairs of products of different groups share a picture; their groups are one for the split",
            named(by_photo),
        ),
        found(
            Rule.VARIANT_TITLES,
            "pairs of groups have titles that are equal but for size and colour; they are one for the split",
            named(by_title),
        ),
        found(
            Rule.LEAKED_GROUPS,
            "articles stood on two sides of the split under several group ids; the whole article went to one",
            leaked,
        ),
    ]


def _photo_links(catalog: Catalog, photos: PhotoLinks) -> list[Link]:
    group_of = {row.product_id: row.group_id for row in catalog.products}
    pairs = {pair for pair in photos.pictures() if group_of[pair[0]] != group_of[pair[1]]}
    return [Link(one, other, "a near-identical photo") for one, other in sorted(pairs)]


def _title_links(products: Iterable[Product], cfg: CuratingConfig) -> list[Link]:
    """One link a further group of the same stem and category, so that their number does not grow with its square."""
    first_of: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, str]] = {}
    for row in sorted(products, key=lambda row: row.product_id):
        stem = title_stem(row, cfg.variant_attributes)
        if len(stem) >= cfg.min_stem_words:
            first_of.setdefault((stem, row.category), {}).setdefault(row.group_id, row.product_id)
    links = []
    for (stem, _), members in first_of.items():
        first, *others = members.values()
        links += [Link(first, other, f"titles equal in {' '.join(stem)}") for other in others]
    return sorted(links, key=lambda link: (link.one, link.other))


def _refuse_placeholders(
    classes: Iterable[tuple[str, ...]],
    links: Iterable[Link],
    group_of: dict[str, str],
    photos: PhotoLinks,
    cfg: CuratingConfig,
) -> None:
    for members in classes:
        if len(members) <= cfg.max_united_groups:
            continue
        inside = set(members)
        keys = sorted({key for link in links for key in (link.one, link.other) if group_of[key] in inside})
        shown = sorted({digest for key in keys for digest in photos.of_product.get(key, ())})
        most = max(shown, key=lambda digest: len({group_of[key] for key in photos.sellers(digest)}), default="")
        raise BenchmarkError(
            "too many groups would be one article",
            where=f"{len(keys)} products, among them {', '.join(keys[:3])}",
            got=f"{len(members)} groups; the picture most of them show: {most or 'none'}",
            allowed=f"at most {cfg.max_united_groups} (curating.max_united_groups)",
            fix="name a placeholder picture under curating.ignored_photos; for plain titles raise "
            "curating.min_stem_words or set curating.link_titles to false",
        )
