"""Articles, words and shoppers before anything is drawn: cheap, so these look at thousands."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from catalog import Catalog, Product, Query, QueryKind, Side, Signal, SplitConfig, split_catalog
from catalog.demo import language
from catalog.demo.assortment import Article, plan_articles
from catalog.demo.seeds import seed_of
from catalog.demo.shoppers import plan_queries
from catalog.demo.taxonomy import LEAVES, leaf_by_name

ARTICLES = plan_articles(2000, seed=7)


def _as_catalog(articles: list[Article], queries_per_product: float) -> Catalog:
    products = tuple(Product(product_id=a.product_id, group_id=a.group_id, title=a.title) for a in articles)
    queries = tuple(
        Query(
            query_id=i.query_id,
            kind=i.kind,
            text=i.text,
            image=None if i.shows is None else "images/x.jpg",
            product_ids=i.product_ids,
            timestamp=i.timestamp,
        )
        for i in plan_queries(articles, 7, queries_per_product)
    )
    return Catalog("plan", products, queries)


def test_seeds_never_change() -> None:
    assert seed_of(7, "group", 0) == 1979323822185529374
    assert seed_of(1, "a") != seed_of(1, "b") != seed_of(2, "a")


def test_a_group_depends_on_its_number_alone() -> None:
    assert plan_articles(500, seed=7) == ARTICLES[:500]


@pytest.mark.parametrize("queries_per_product", [3.0, 5.0])
def test_mix_of_queries(queries_per_product: float) -> None:
    kinds = Counter(intent.kind for intent in plan_queries(ARTICLES, 7, queries_per_product))
    total = sum(kinds.values())
    assert total / len(ARTICLES) == pytest.approx(queries_per_product, rel=0.05)
    assert kinds[QueryKind.PHOTO] / total == pytest.approx(0.45, abs=0.03)
    assert kinds[QueryKind.TEXT] / total == pytest.approx(0.40, abs=0.03)
    assert kinds[QueryKind.BOTH] / total == pytest.approx(0.15, abs=0.03)


def test_every_product_is_asked_for_by_photograph_at_the_default() -> None:
    intents = plan_queries(ARTICLES, 7, 2.0)
    assert len(intents) / len(ARTICLES) == pytest.approx(2.0, rel=0.05)
    shown = {intent.shows.product_id for intent in intents if intent.kind is QueryKind.PHOTO and intent.shows}
    assert len(shown) == len(ARTICLES)


def test_no_queries_where_none_are_wanted() -> None:
    assert plan_queries(ARTICLES, 7, 0.0) == []


def test_enough_held_out_photo_queries_for_the_benchmark() -> None:
    splits = split_catalog(_as_catalog(ARTICLES[:800], 3.5), SplitConfig())
    photos = [query for query in splits.queries[Side.TEST] if query.kind is QueryKind.PHOTO]
    assert len(photos) >= 200
    assert len(splits.product_ids(Side.TEST)) >= 120


def test_words_without_a_colour_mean_the_whole_group() -> None:
    members = Counter(article.group_id for article in ARTICLES)
    groups = {article.product_id: article.group_id for article in ARTICLES}
    sizes = Counter()
    for intent in plan_queries(ARTICLES, 7, 3.0):
        assert len({groups[key] for key in intent.product_ids}) == 1
        if len(intent.product_ids) > 1:
            assert intent.kind is QueryKind.TEXT
            assert len(intent.product_ids) == members[groups[intent.product_ids[0]]]
        sizes[len(intent.product_ids) > 1] += 1
    assert sizes[True] > 100


def test_most_signals_are_purchases_and_weaker_ones_weigh_less() -> None:
    intents = plan_queries(ARTICLES, 7, 2.0)
    weights = {signal: {i.weight for i in intents if i.signal is signal} for signal in Signal if signal != "none"}
    assert weights == {Signal.PURCHASE: {1.0}, Signal.CART: {0.5}, Signal.CLICK: {0.2}}
    assert sum(i.signal is Signal.PURCHASE for i in intents) / len(intents) == pytest.approx(0.82, abs=0.03)


def test_titles_name_the_category_sometimes_and_never_are_empty() -> None:
    named = [article.leaf.nouns[0].lower() in article.title.lower() for article in ARTICLES]
    assert 0.25 < sum(named) / len(named) < 0.5
    assert all(article.title.strip() for article in ARTICLES)
    assert sum("NEW 2026" in article.title for article in ARTICLES) > 5


def test_titles_of_a_group_are_nearly_the_same() -> None:
    groups: dict[str, list[str]] = {}
    for article in ARTICLES:
        groups.setdefault(article.group_id, []).append(article.title)
    same_start = [len({title[:12] for title in titles}) == 1 for titles in groups.values() if len(titles) > 1]
    assert sum(same_start) / len(same_start) > 0.85


def test_some_attributes_are_not_listed_and_few_are_wrong() -> None:
    traits = [(a.listed.get(name), value) for a in ARTICLES for name, value in a.traits.items()]
    missing = sum(listed is None for listed, _ in traits) / len(traits)
    wrong = sum(listed is not None and listed != value for listed, value in traits) / len(traits)
    assert 0.09 < missing < 0.15
    assert 0 < wrong < 0.02


def test_descriptions_have_one_to_three_sentences() -> None:
    texts = [article.description for article in ARTICLES]
    assert 0.05 < texts.count(None) / len(texts) < 0.15
    assert {text.count(".") for text in texts if text} <= {1, 2, 3}


def test_prices_fit_their_leaf() -> None:
    for article in ARTICLES:
        low, high = article.leaf.price
        assert low - 1 <= article.price <= high + 1


def test_searches_speak_of_the_product() -> None:
    leaf = leaf_by_name("Mugs")
    traits = {"colour": "navy", "pattern": "dots", "handle": "loop", "details": ("spoon",)}
    heard = Counter()
    for k in range(300):
        text, named = language.search_words(leaf, traits, random.Random(k))
        assert text == text.lower() != ""
        assert named <= set(traits)
        if "colour" in named:
            assert "navy" in text or "dark blue" in text
        heard.update(named)
    assert heard["colour"] > heard["handle"] > 0


def test_every_leaf_is_stocked() -> None:
    stocked = Counter(article.leaf.name for article in ARTICLES)
    assert set(stocked) == {leaf.name for leaf in LEAVES}
