from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import Catalog, Product, Side, SplitConfig, split_catalog
from tests.curating.shops import NO_PHOTOS, product, shop
from validation.curating import CuratingConfig, Rule
from validation.curating.groups import unite_groups
from validation.curating.photos import PhotoLinks
from validation.curating.unions import Unions
from validation.errors import BenchmarkError

SPLIT = SplitConfig(test_frac=0.4, val_frac=0.2)
CFG = CuratingConfig(max_united_groups=100)
COLOURS = ("red", "green", "blue", "black")
ARTICLES = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(COLOURS), st.integers(0, 8)), min_size=1, max_size=14)


def rows_of(articles: list[tuple[int, str, int]]) -> list[Product]:
    """Products of few titles and few groups, so that chains of links are common."""
    return [
        product(f"p{number}", f"g{group}", title=f"model number{article} wool {colour}")
        for number, (article, colour, group) in enumerate(articles)
    ]


def united(catalog: Catalog, cfg: CuratingConfig = CFG) -> Catalog:
    return unite_groups(catalog, SPLIT, cfg, NO_PHOTOS)[0]


@given(ARTICLES, st.randoms())
def test_the_order_of_rows_never_matters(articles: list[tuple[int, str, int]], rng: random.Random) -> None:
    rows = rows_of(articles)
    mixed = list(rows)
    rng.shuffle(mixed)
    one, other = unite_groups(shop(rows), SPLIT, CFG, NO_PHOTOS), unite_groups(shop(mixed), SPLIT, CFG, NO_PHOTOS)
    assert one[0].digest == other[0].digest
    assert one[1] == other[1]


@given(ARTICLES)
def test_uniting_twice_changes_nothing(articles: list[tuple[int, str, int]]) -> None:
    once = united(shop(rows_of(articles)))
    again, findings = unite_groups(once, SPLIT, CFG, NO_PHOTOS)
    assert again.products == once.products
    assert all(one.count == 0 for one in findings)


@given(ARTICLES, st.integers(1, 13))
def test_growing_never_moves_a_product_from_test_to_train(articles: list[tuple[int, str, int]], first: int) -> None:
    rows = rows_of(articles)
    before = split_catalog(united(shop(rows[:first])), SPLIT).side_of
    after = split_catalog(united(shop(rows)), SPLIT).side_of
    rank = {Side.TEST: 0, Side.VAL: 1, Side.TRAIN: 2}
    assert all(rank[after[key]] <= rank[side] for key, side in before.items())


@given(ARTICLES)
def test_groups_are_united_as_far_as_chains_of_links_reach(articles: list[tuple[int, str, int]]) -> None:
    rows = rows_of(articles)
    label = {row.product_id: number for number, row in enumerate(rows)}
    changed = True
    while changed:  # a naive flood over all pairs
        changed = False
        for one in rows:
            for other in rows:
                same = one.group_id == other.group_id or (one.title or "").split()[1] == (other.title or "").split()[1]
                least = min(label[one.product_id], label[other.product_id])
                if same and label[one.product_id] != least:
                    label[one.product_id] = least
                    changed = True
    groups = {row.product_id: row.group_id for row in united(shop(rows)).products}
    for one in groups:
        for other in groups:
            assert (groups[one] == groups[other]) == (label[one] == label[other])


def test_a_short_title_ties_nothing() -> None:
    rows = [product("a", title="Dress red"), product("b", title="Dress blue")]
    assert {row.group_id for row in united(shop(rows)).products} == {"a", "b"}
    assert {row.group_id for row in united(shop(rows), CuratingConfig(min_stem_words=1)).products} in ({"a"}, {"b"})


def test_titles_of_other_categories_tie_nothing() -> None:
    rows = [product("a", title="alma wool classic"), product("b", title="alma wool classic", category=("Home",))]
    assert {row.group_id for row in united(shop(rows)).products} == {"a", "b"}


def test_titles_tie_nothing_where_told_so() -> None:
    rows = [product("a", title="alma wool classic"), product("b", title="alma wool classic red")]
    assert len({row.group_id for row in united(shop(rows)).products}) == 1
    assert len({row.group_id for row in united(shop(rows), CuratingConfig(link_titles=False)).products}) == 2


def test_a_placeholder_picture_is_refused_and_named() -> None:
    rows = [product(f"p{number}") for number in range(30)]
    photos = PhotoLinks(
        {row.product_id: ("placeholder", f"own{row.product_id}") for row in rows},
        {},
        {},
        {"placeholder": tuple(sorted(row.product_id for row in rows))},
    )
    with pytest.raises(BenchmarkError, match="one article") as caught:
        unite_groups(shop(rows), SPLIT, CuratingConfig(), photos)
    assert "30 groups" in caught.value.got
    assert "placeholder" in caught.value.got
    assert "ignored_photos" in caught.value.fix


def test_leaks_are_told_with_their_sides() -> None:
    groups = [f"g{number}" for number in range(40)]
    sides = split_catalog(shop(product(group) for group in groups), SPLIT).side_of
    train = next(group for group in groups if sides[group] is Side.TRAIN)
    test = next(group for group in groups if sides[group] is Side.TEST)
    rows = [product("a", train, title="alma wool classic"), product("b", test, title="alma wool classic red")]
    findings = {one.rule: one for one in unite_groups(shop(rows), SPLIT, CFG, NO_PHOTOS)[1]}
    told = ", ".join(f"{group} ({sides[group]})" for group in sorted((train, test)))
    assert findings[Rule.LEAKED_GROUPS].items == (f"{told}: all on test now",)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef"))))
def test_classes_do_not_depend_on_the_order_of_joins(pairs: list[tuple[str, str]]) -> None:
    one, other = Unions("abcdef"), Unions("fedcba")
    for first, second in pairs:
        one.join(first, second)
    for first, second in reversed(pairs):
        other.join(second, first)
    assert one.classes() == other.classes()
