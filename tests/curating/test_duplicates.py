from __future__ import annotations

import pytest

from catalog import Product, Query, QueryKind
from tests.curating.shops import bought, product, shop
from validation.curating import CuratingConfig, Rule
from validation.curating.duplicates import merge_duplicates
from validation.curating.photos import PhotoLinks

FIELDS = {"title": "alma wool scarf with fringe", "attributes": {"color": "red", "material": "wool"}}


def shown(**photos: str) -> PhotoLinks:
    """product_id -> digests separated by spaces; `x1` and `x2` are two saves of one picture."""
    of_product = {key: tuple(digests.split()) for key, digests in photos.items()}
    by: dict[str, list[str]] = {}
    for key, digests in of_product.items():
        for digest in digests:
            by.setdefault(digest, []).append(key)
    partners = {one: frozenset(other for other in by if other[:-1] == one[:-1] and other != one) for one in by}
    return PhotoLinks(
        of_product,
        {},
        {one: others for one, others in partners.items() if others},
        {digest: tuple(sorted(keys)) for digest, keys in by.items()},
    )


def merged(rows: list[Product], photos: PhotoLinks, *queries: Query) -> tuple[set[str], dict[str, Query], list[str]]:
    groups = {row.product_id: row.group_id for row in rows}
    left, findings = merge_duplicates(shop(rows, queries), CuratingConfig(), photos, groups)
    found = next(one for one in findings if one.rule is Rule.DUPLICATES)
    return set(left.by_id), {query.query_id: query for query in left.queries}, list(found.items)


def test_equal_words_and_one_picture_make_a_duplicate() -> None:
    rows = [product("a", **FIELDS), product("b", **FIELDS | {"title": "ALMA wool scarf with fringe!"})]
    keys, _, told = merged(rows, shown(a="x1", b="x2"))
    assert keys == {"a"}
    assert told == ["b = a (kept)"]


@pytest.mark.parametrize(
    ("other", "photos"),
    [
        (product("b", **FIELDS), shown(a="x1", b="y1")),
        (product("b", title="something else by far"), shown(a="x1", b="x2")),
        (product("b", "a", **FIELDS), shown(a="x1", b="x2")),
        (product("b", **FIELDS | {"attributes": {"color": "blue", "material": "wool"}}), shown(a="x1", b="x2")),
        (product("b", **FIELDS | {"title": "alma wool scarf with fringe, 180 cm"}), shown(a="x1", b="x2")),
        (product("b", **FIELDS), shown(a="x1")),
    ],
    ids=["words alone", "a picture alone", "one group", "another colour", "another size", "no photo"],
)
def test_what_only_looks_like_a_duplicate_is_kept(other: Product, photos: PhotoLinks) -> None:
    assert merged([product("a", **FIELDS), other], photos)[0] == {"a", "b"}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_two_variants_of_one_group_are_not_merged_through_a_third(order: tuple[int, ...]) -> None:
    rows = [product("a", "g", **FIELDS), product("b", "h", **FIELDS), product("c", "g", **FIELDS)]
    keys, _, told = merged([rows[i] for i in order], shown(a="x1", b="x2", c="x3"))
    assert keys == {"a", "c"}
    assert told == ["b = a (kept)"]


def test_the_one_with_most_photos_then_most_attributes_is_kept() -> None:
    rows = [product(key, **FIELDS) for key in "abc"]
    assert merged(rows, shown(a="x1", b="x2 y1", c="x3"))[0] == {"b"}
    richer = product("c", **FIELDS | {"attributes": {"color": "red", "material": "wool", "care": "wash"}})
    assert merged([*rows[:2], richer], shown(a="x1", b="x2", c="x3"))[0] == {"c"}


def test_every_kind_of_query_follows_to_the_product_that_is_kept() -> None:
    rows = [product("a", **FIELDS), product("b", **FIELDS), product("c")]
    linked = Query(query_id="link", kind=QueryKind.LINK, anchor_ids=("c",), product_ids=("b", "a"))
    itself = Query(query_id="itself", kind=QueryKind.LINK, anchor_ids=("a",), product_ids=("b",))
    _, left, _ = merged(rows, shown(a="x1", b="x2"), bought("q", "b", "c"), linked, itself, bought("other", "c"))
    assert left["q"].product_ids == ("a", "c")
    assert left["link"].product_ids == ("a",)
    assert "itself" not in left
    assert left["other"].product_ids == ("c",)
