"""All that is put into the demo shop on purpose is found, and nothing else."""

from __future__ import annotations

import pytest

from catalog import Catalog, Side, split_catalog
from tests.curating.planted import SPLIT, Planter
from validation.config import BenchmarkConfig
from validation.curating import Curated, CuratingConfig, Rule, build_curated_set, curate

ALWAYS_TOLD = {Rule.SMALL_LEAVES, Rule.THIN_SUPPORT, Rule.UNITED_QUERIES}
"""Rules about what is there, not about what was put in."""


def items(curated: Curated, rule: Rule) -> set[str]:
    return {item for found in curated.findings if found.rule is rule for item in found.items}


@pytest.mark.parametrize("rule", [rule for rule in Rule if rule not in ALWAYS_TOLD])
def test_what_was_planted_is_found_and_nothing_else(
    curated: Curated, curated_clean: Curated, planter: Planter, rule: Rule
) -> None:
    new = items(curated, rule) - items(curated_clean, rule)
    planted = planter.planted.get(rule, set())
    missed = {name for name in planted if not any(name in item for item in new)}
    false = {item for item in new if not any(name in item for name in planted)}
    if rule is Rule.EARLY_PURCHASES:
        # What follows from a leak is no false find: an article that moved to the test side left old purchases behind.
        false = {item for item in false if not set(answers_of(item)) & moved_to_test(curated, planter)}
    assert not missed
    assert not false


def answers_of(item: str) -> list[str]:
    return item.partition(" -> ")[2].partition(" at ")[0].split(", ")


def moved_to_test(curated: Curated, planter: Planter) -> set[str]:
    before = split_catalog(planter.clean, SPLIT).side_of
    after = curated.splits.side_of
    return {key for key, side in before.items() if side is not Side.TEST and after.get(key) is Side.TEST}


def test_every_kind_of_fault_is_planted(planter: Planter) -> None:
    counts = {rule: len(names) for rule, names in planter.planted.items()}
    assert counts[Rule.DUPLICATES] == 6
    assert counts[Rule.LEAKED_GROUPS] == 8
    assert counts[Rule.LATE_PURCHASES] == 6
    assert counts[Rule.EARLY_PURCHASES] == 4
    assert counts[Rule.STAMPS_ABSURD] == 4
    assert counts[Rule.QUERY_PHOTO_OF_ANOTHER] == 3
    assert counts[Rule.QUERY_PHOTO_IN_TRAINING] == 2


def test_the_clean_shop_has_no_duplicates_leaks_or_shared_pictures(curated_clean: Curated) -> None:
    for rule in (Rule.DUPLICATES, Rule.NEAR_IDENTICAL_PHOTOS, Rule.VARIANT_TITLES, Rule.LEAKED_GROUPS):
        assert items(curated_clean, rule) == set()


def test_purchases_of_a_duplicate_count_for_the_product_that_is_kept(curated: Curated) -> None:
    kept_for = dict(item.removesuffix(" (kept)").split(" = ") for item in items(curated, Rule.DUPLICATES))
    by_id = {query.query_id: query for query in curated.catalog.queries}
    assert set(kept_for) == {f"dup-{n}" for n in range(6)}
    for key, kept in kept_for.items():
        assert key not in curated.catalog.by_id
        assert by_id[f"bought-{key}"].product_ids == (kept,)


def test_no_article_stands_on_two_sides(curated: Curated, planter: Planter) -> None:
    sides: dict[str, set[Side]] = {}
    for row in curated.catalog.products:
        sides.setdefault(row.group_id, set()).add(curated.splits.side_of[row.product_id])
    assert all(len(found) == 1 for found in sides.values())
    originals = {row.product_id: row.title for row in planter.clean.products}
    for row in curated.catalog.products:
        if row.product_id.startswith("variant-"):
            title = (row.title or "").removesuffix(" - Magenta, size XL")
            article = [key for key, text in originals.items() if text == title and key in curated.catalog.by_id]
            assert {curated.splits.side_of[key] for key in article} == {curated.splits.side_of[row.product_id]}


def test_variants_of_one_group_are_never_merged(curated: Curated) -> None:
    assert sum(row.product_id.startswith("same-group-") for row in curated.catalog.products) == 2
    assert "equal-text" in curated.catalog.by_id


def test_what_is_asked_holds_no_late_and_no_early_purchase(curated: Curated) -> None:
    cut = SPLIT.cut_time_s
    assert cut is not None
    for side, queries in curated.splits.queries.items():
        assert queries
        assert all(query.timestamp is not None for query in queries)
        assert all((query.timestamp >= cut) == (side is Side.TEST) for query in queries if query.timestamp)


def test_curating_twice_changes_nothing(curated: Curated) -> None:
    again = curate(curated.catalog, curated.split, CuratingConfig(min_support=1.0))
    assert again.catalog == curated.catalog
    assert again.splits.side_of == curated.splits.side_of
    quiet = ALWAYS_TOLD | {Rule.EQUAL_TEXT}
    assert {found.rule: found.items for found in again.findings if found.count and found.rule not in quiet} == {}


def test_the_built_set_keeps_every_query_picture_out_of_its_gallery(curated: Curated) -> None:
    eval_set, findings = build_curated_set(curated, BenchmarkConfig(), CuratingConfig())
    assert [found.count for found in findings if found.rule is Rule.QUERY_PHOTO_IN_GALLERY] == [0]
    assert {item.product.product_id for item in eval_set.gallery} == set(curated.splits.product_ids(Side.TEST))
    assert [found.rule for found in findings] == sorted(Rule, key=[found.rule for found in findings].index)
    assert {found.rule for found in findings} == set(Rule)


def test_a_shop_of_its_own_curates_to_itself(clean: Catalog, curated_clean: Curated) -> None:
    assert {row.product_id for row in curated_clean.catalog.products} == {row.product_id for row in clean.products}
    assert {row.group_id for row in curated_clean.catalog.products} == {row.group_id for row in clean.products}
