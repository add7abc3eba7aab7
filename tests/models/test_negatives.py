"""False-negative masks by brute force, on strings and on codes."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.negatives import (
    EMPTY,
    CandidateCodes,
    QueryCodes,
    answers,
    candidate_codes,
    code_of,
    codes_of,
    guarded_above,
    not_negative,
    query_codes,
    related,
    same_category,
)
from tests.models.naive_masks import guarded, same_key, shares_photo

KEYS = st.lists(st.sampled_from("abc"), min_size=1, max_size=6)


@dataclass(frozen=True)
class Product:
    key: str
    group: str
    category: str
    photos: frozenset[str]


@dataclass(frozen=True)
class Query:
    product: Product
    photo: str
    accepted: frozenset[str]


PRODUCTS = st.builds(
    Product,
    st.sampled_from("pqrst"),
    st.sampled_from("ghi"),
    st.sampled_from(["", "x", "y"]),
    st.frozensets(st.sampled_from(["1", "2", "3", "4"]), max_size=3),
)
QUERIES = st.builds(
    Query, PRODUCTS, st.sampled_from(["", "1", "2", "9"]), st.frozensets(st.sampled_from("pqrstu"), max_size=4)
)


def _codes_of_queries(rows: list[Query]) -> QueryCodes:
    return query_codes(
        [row.product.key for row in rows],
        [row.product.group for row in rows],
        [row.product.category for row in rows],
        [row.photo for row in rows],
        [row.accepted for row in rows],
    )


def _codes_of_products(rows: list[Product]) -> CandidateCodes:
    return candidate_codes(
        [row.key for row in rows],
        [row.group for row in rows],
        [row.category for row in rows],
        [row.photos for row in rows],
    )


@given(KEYS, KEYS)
def test_same_key(left: list[str], right: list[str]) -> None:
    mask = same_key(left, right)
    for (i, a), (j, b) in itertools.product(enumerate(left), enumerate(right)):
        assert bool(mask[i, j]) == (a == b)


@given(st.lists(st.frozensets(st.sampled_from("abc")), min_size=1, max_size=5), KEYS)
def test_answers(accepted: list[frozenset[str]], ids: list[str]) -> None:
    mask = answers(accepted, ids)
    for (i, a), (j, b) in itertools.product(enumerate(accepted), enumerate(ids)):
        assert bool(mask[i, j]) == (b in a)


def test_no_photo_is_shared_with_nobody() -> None:
    mask = shares_photo(["x", ""], [frozenset(("x", "y")), frozenset(("",))])
    assert mask.tolist() == [[True, False], [False, False]]


@given(st.lists(QUERIES, min_size=1, max_size=7), st.lists(PRODUCTS, min_size=1, max_size=9), st.booleans())
@settings(deadline=None)
def test_codes_say_what_sets_and_a_naive_loop_say(
    queries: list[Query], products: list[Product], mask_same_group: bool
) -> None:
    mask = not_negative(_codes_of_queries(queries), _codes_of_products(products), mask_same_group)
    keys, groups = [row.key for row in products], [row.group for row in products]
    by_sets = same_key([row.product.key for row in queries], keys)
    if mask_same_group:
        by_sets = by_sets | same_key([row.product.group for row in queries], groups)
    by_sets = by_sets | answers([row.accepted for row in queries], keys)
    by_sets = by_sets | shares_photo([row.photo for row in queries], [row.photos for row in products])
    assert torch.equal(mask, by_sets)
    for (i, query), (j, product) in itertools.product(enumerate(queries), enumerate(products)):
        reasons = (
            query.product.key == product.key,
            mask_same_group and query.product.group == product.group,
            product.key in query.accepted,
            query.photo != "" and query.photo in product.photos,
        )
        assert bool(mask[i, j]) == any(reasons)


@given(st.lists(PRODUCTS, min_size=1, max_size=6), st.lists(PRODUCTS, min_size=1, max_size=6))
@settings(deadline=None)
def test_relations_between_products_by_brute_force(left: list[Product], right: list[Product]) -> None:
    one, two = _codes_of_products(left), _codes_of_products(right)
    for (i, a), (j, b) in itertools.product(enumerate(left), enumerate(right)):
        assert bool(related(one, two)[i, j]) == (a.key == b.key or a.group == b.group)
        assert bool(related(one, two, False)[i, j]) == (a.key == b.key)
        # An unknown category is nobody's neighbour.
        assert bool(same_category(one, two)[i, j]) == (a.category == b.category != "")


def test_a_place_without_a_product_is_never_a_negative() -> None:
    queries = query_codes(["a"], ["g"], ["c"], [""], [frozenset()])
    empty = CandidateCodes(*(torch.zeros(2, dtype=torch.int64) for _ in range(3)), torch.zeros(2, 0).long())
    assert not_negative(queries, empty).tolist() == [[True, True]]
    assert not_negative(queries, empty.rows(slice(0))).shape == (1, 0)
    assert not_negative(queries.rows(slice(0)), empty).shape == (0, 2)


def test_a_code_is_the_start_of_a_digest_and_fits_an_int64() -> None:
    digest = int(hashlib.sha256(b"mug").hexdigest()[:16], 16)
    assert code_of("mug") == digest // 2
    assert code_of("") == EMPTY
    codes = [code_of(f"product {number}") for number in range(20_000)]
    assert len(set(codes)) == len(codes)
    assert 0 < min(codes) <= max(codes) < 2**63
    assert codes_of(["mug", ""]).tolist() == [code_of("mug"), EMPTY]


def test_rows_tables_and_joins_keep_the_mask() -> None:
    products = [Product(str(n), str(n // 2), "x", frozenset(str(k) for k in range(n))) for n in range(5)]
    queries = [Query(product, "1", frozenset(("0", "4"))) for product in products]
    asked, held = _codes_of_queries(queries), _codes_of_products(products)
    mask = not_negative(asked, held)
    assert torch.equal(not_negative(QueryCodes.of_table(asked.table()), CandidateCodes.of_table(held.table())), mask)
    # The first rows list fewer photographs than the last: joining pads them.
    first, last = _codes_of_products(products[:2]), _codes_of_products(products[2:])
    assert first.photos_NF.shape[1] < last.photos_NF.shape[1]
    assert torch.equal(not_negative(asked, first.followed_by(last)), mask)
    assert torch.equal(not_negative(asked, last.followed_by(first)), mask[:, [2, 3, 4, 0, 1]])
    index = torch.tensor([3, 1])
    assert torch.equal(not_negative(asked.rows(index), held), mask[index])
    assert len(held.to("cpu")) == 5


def test_guard_is_relative_to_the_positive() -> None:
    similarity = torch.tensor([[0.2, 0.6, 0.45], [0.9, 0.95, 0.1]])
    positive = torch.tensor([[True, False, False], [True, False, False]])
    assert guarded(similarity, positive, 0.3).tolist() == [[False, True, False], [False, False, False]]


def test_guard_lets_collapsed_vectors_learn() -> None:
    similarity = torch.full((4, 4), 0.999)
    assert not bool(guarded(similarity, torch.eye(4, dtype=torch.bool), 0.3).any())


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
def test_the_guard_needs_the_positives_cosine_alone(margin: float) -> None:
    similarity = torch.rand(5, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    eye = torch.eye(5, dtype=torch.bool)
    assert torch.equal(guarded_above(similarity, similarity.diag(), margin), guarded(similarity, eye, margin))
