"""The sample of queries for the report."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmark.encoders import Oracle, Spy
from tests.benchmark.shop import Shop
from validation.benchmark import EvalSet, gallery_and_failures, retrieval_gallery, worst_failures
from validation.rivals import ColourHistogram, RandomVectors


def test_hits_are_the_best_and_right_ones_are_marked(eval_set: EvalSet) -> None:
    rows = retrieval_gallery(RandomVectors(), eval_set, queries_per_task=6, k=4)
    asked = ("image_to_product", "text_to_product", "both_to_product", "text_to_image", "image_to_text")
    assert [row.task for row in rows] == [name for name in asked for _ in range(6)]
    products = RandomVectors().embed_products(eval_set.gallery)
    queries = {query.query_id: query for query in eval_set.queries()}
    for row in rows:
        query = queries[row.query_id]
        scores = products @ RandomVectors().embed_queries([query.item])[0]
        assert [hit.score for hit in row.hits] == pytest.approx(np.sort(scores)[::-1][:4].tolist())
        right = {eval_set.gallery[index].product.product_id for index in query.relevant}
        assert [hit.right for hit in row.hits] == [hit.product_id in right for hit in row.hits]
        assert all(hit.same_group or not hit.right for hit in row.hits)
        assert (row.rank == 1) == row.hits[0].right


def test_failures_come_first_and_leave_room_for_successes(shop: Shop, eval_set: EvalSet) -> None:
    answers = {query.query_id: query.product_ids[0] for query in shop.queries}

    def half_right(item) -> str:
        return answers[item.query_id] if int(item.query_id[1:]) % 2 else "nobody"

    oracle = Oracle(lambda item, hide: item.product.product_id, half_right)
    rows = [
        row
        for row in retrieval_gallery(oracle, eval_set, queries_per_task=8, failures=5)
        if row.task == "image_to_product"
    ]
    assert [row.rank > 1 for row in rows] == [True] * 5 + [False] * 3


@pytest.mark.parametrize("share", ["all", "none"])
def test_rows_are_filled_with_what_there_is(share: str, shop: Shop, eval_set: EvalSet) -> None:
    answers = {query.query_id: query.product_ids[0] for query in shop.queries}
    oracle = Oracle(
        lambda item, hide: item.product.product_id,
        lambda item: answers[item.query_id] if share == "all" else "nobody",
    )
    rows = retrieval_gallery(oracle, eval_set, queries_per_task=8, failures=5)
    assert len(rows) == 40
    assert {row.rank == 1 for row in rows} == {share == "all"}


def test_tasks_an_encoder_cannot_read_are_left_out(eval_set: EvalSet) -> None:
    assert {row.task for row in retrieval_gallery(ColourHistogram(), eval_set)} == {"image_to_product"}
    blind = Spy()
    blind.modalities = frozenset()
    assert retrieval_gallery(blind, eval_set) == []


def test_the_best_right_product_is_told_wherever_it_came(eval_set: EvalSet) -> None:
    products = RandomVectors().embed_products(eval_set.gallery)
    queries = {query.query_id: query for query in eval_set.queries()}
    for row in retrieval_gallery(RandomVectors(), eval_set, queries_per_task=6, k=4):
        query = queries[row.query_id]
        scores = products @ RandomVectors().embed_queries([query.item])[0]
        best = max(query.relevant, key=lambda index: scores[index])
        assert row.right is not None
        assert row.right.product_id == eval_set.gallery[best].product.product_id
        assert row.right.score == pytest.approx(scores[best], abs=1e-6)
        assert row.rank == 1 + sum(score > scores[best] for score in scores)
        assert row.pool == len(eval_set.gallery)
        assert not row.worst


def test_the_worst_failures_are_those_with_the_largest_ranks(eval_set: EvalSet) -> None:
    everything = retrieval_gallery(RandomVectors(), eval_set, queries_per_task=1000, failures=1000)
    rows = worst_failures(RandomVectors(), eval_set, queries_per_task=4)
    for task in dict.fromkeys(row.task for row in everything):
        ranks = sorted((row.rank for row in everything if row.task == task), reverse=True)
        assert [row.rank for row in rows if row.task == task] == ranks[:4]
    assert all(row.worst and row.rank > 1 for row in rows)


def test_who_finds_everything_has_no_failures(shop: Shop, eval_set: EvalSet) -> None:
    answers = {query.query_id: query.product_ids[0] for query in shop.queries}
    oracle = Oracle(lambda item, hide: item.product.product_id, lambda item: answers[item.query_id])
    assert worst_failures(oracle, eval_set) == []


def test_both_at_once_are_the_one_after_the_other(eval_set: EvalSet) -> None:
    rows = gallery_and_failures(RandomVectors(), eval_set, queries_per_task=3, worst_per_task=2)
    assert rows == [
        *retrieval_gallery(RandomVectors(), eval_set, queries_per_task=3),
        *worst_failures(RandomVectors(), eval_set, queries_per_task=2),
    ]
