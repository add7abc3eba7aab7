"""The digest of an evaluation set: what changes it and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from catalog import Side
from tests.benchmark.eval_sets import build, question, task
from tests.benchmark.shop import Shop, stocked
from validation.benchmark import EvalSet
from validation.config import BenchmarkConfig


def _more(shop: Shop) -> None:
    shop.product("one-more")


def _other_title(shop: Shop) -> None:
    shop.products[0] = shop.products[0].model_copy(update={"title": "Another"})


def _other_answer(shop: Shop) -> None:
    shop.queries[0] = shop.queries[0].model_copy(update={"product_ids": ("p005",)})


def _other_words(shop: Shop) -> None:
    shop.queries[0] = shop.queries[0].model_copy(update={"text": "something else"})


def _other_photo(shop: Shop) -> None:
    shop.photo("images/p000-0.png", 123_456)


def _other_query_photo(shop: Shop) -> None:
    shop.photo("images/q000.png", 123_456)


def _other_train_value(shop: Shop) -> None:
    shop.product("train-more", Side.TRAIN, attributes={"color": "teal"})


def _other_train_category(shop: Shop) -> None:
    shop.product("train-more", Side.TRAIN, category=("Garden",))


def _fewer_queries(shop: Shop) -> None:
    shop.queries.pop()


@pytest.mark.parametrize(
    "change",
    [
        *(_more, _other_title, _other_answer, _other_words, _other_photo, _other_query_photo),
        *(_other_train_value, _other_train_category, _fewer_queries),
    ],
)
def test_the_digest_changes_with_anything_that_is_asked(change, tmp_path: Path) -> None:
    config = BenchmarkConfig(min_attribute_n=10)
    shop = stocked(tmp_path, num_test=12)
    first = build(shop, config)
    change(shop)
    assert build(shop, config).digest != first.digest


def test_the_digest_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    one, two = (build(stocked(tmp_path / name, num_test=12)) for name in ("one", "two"))
    assert one.digest == two.digest


def test_the_digest_depends_on_every_field_of_the_set(eval_set: EvalSet) -> None:
    names, words = task(eval_set, "image_to_product"), question(eval_set, "category_leaf")
    query = names.queries[0]
    others = [
        replace(eval_set, side="val"),
        replace(eval_set, gallery=eval_set.gallery[::-1]),
        replace(eval_set, traits=eval_set.traits[::-1]),
        *(
            replace(eval_set, retrieval=(other, *eval_set.retrieval[1:]))
            for other in (
                replace(names, name="x"),
                replace(names, query_source="x"),
                replace(names, needs=("text",)),
                replace(names, hide=frozenset({"description"})),
                replace(names, pool=tuple(range(36))),
                *(
                    replace(names, queries=(changed, *names.queries[1:]))
                    for changed in (
                        replace(query, relevant=(query.same_group[1],)),
                        replace(query, same_group=(*query.same_group, 5)),
                        replace(query, group_id="x"),
                        replace(query, traits=(("names_answer", "x"),)),
                        replace(query, excluded=(7,)),
                    )
                ),
            )
        ),
        *(
            replace(eval_set, labels=(other, *(own for own in eval_set.labels if own.name != words.name)))
            for other in (
                replace(words, labels=(*words.labels[:-1], "x")),
                replace(words, answers=(*words.answers[:-1], ())),
                replace(words, hide=frozenset()),
                replace(words, majority=2 - words.majority if words.majority != 1 else 0),
                replace(words, traits=(*words.traits[:-1], (("word_in_title", "x"),))),
                replace(words, paths=(("x",), *words.paths[1:])),
            )
        ),
    ]
    digests = {other.digest for other in others}
    assert len(digests) == len(others)
    assert eval_set.digest not in digests


def test_train_products_that_bring_no_new_label_leave_the_digest_alone(tmp_path: Path) -> None:
    config = BenchmarkConfig(min_attribute_n=10)

    def change(shop: Shop) -> None:
        shop.product("train-more", Side.TRAIN, title="Only a title")

    one, two = build(stocked(tmp_path / "one"), config), build(stocked(tmp_path / "two", change=change), config)
    assert one.digest == two.digest
    assert one.dataset_digest != two.dataset_digest
