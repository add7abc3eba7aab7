"""How many texts are cut to their budgets, against words counted by hand."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from catalog import Product
from models.backbones import build_template, picture_layout
from models.processor import Processor
from models.training import train
from models.training.cuts import MAX_COUNTED, cut_line
from tests.models import composed_models, shop

BUDGETS = {"max_title_tokens": 5, "max_field_tokens": 6, "max_text_tokens": 4, "max_description_tokens": 7}


def _processor(**changes: object) -> Processor:
    """Every word is a token, and so is every run of signs between words."""
    config = composed_models.config(**(BUDGETS | changes))
    words, spec = composed_models.tokenizer(), composed_models.spec()
    template = build_template(config, words)
    return Processor(words, config, None, picture_layout(config, spec), template)  # type: ignore[arg-type]


def _text(num: int) -> str:
    return " ".join(f"w{number}" for number in range(num))


def _product(title: int = 1, description: int = 0, category: int = 0, attribute: int = 0) -> Product:
    return Product(
        product_id="p",
        group_id="g",
        title=_text(title),
        description=_text(description) or None,
        category=(_text(category),) if category else (),
        # A name and a colon come before the words of the value.
        attributes={"w9": _text(attribute)} if attribute else {},
    )


def test_what_is_longer_than_its_budget_is_counted() -> None:
    fits = [_product(5, 7, 6, 4), _product()]
    products = [*fits, _product(title=6), _product(title=900), _product(category=7), _product(attribute=5)] * 2
    queries, labels = [_text(4), _text(5), _text(40), _text(1)], [_text(5), _text(2)]
    assert cut_line(_processor(), products, queries, labels) == (
        "cut: 4 titles (model.max_title_tokens 5), 2 categories (model.max_field_tokens 6), "
        "2 attribute lists (model.max_field_tokens 6), 2 queries (model.max_text_tokens 4), "
        "1 label texts (model.max_text_tokens 4)"
    )
    assert cut_line(_processor(), fits, [_text(4)], [_text(4)]) == "cut: nothing"


def test_descriptions_count_where_they_are_read() -> None:
    products = [_product(description=7), _product(description=8)]
    assert cut_line(_processor(), products, [], []) == "cut: nothing"
    told = cut_line(_processor(use_description=True), products, [], [])
    assert told == "cut: 1 descriptions (model.max_description_tokens 7)"


def test_a_text_without_an_end_is_cut_though_its_beginning_is_one_token() -> None:
    endless = Product(product_id="p", group_id="g", title="x" * 10_000)
    assert cut_line(_processor(), [endless], [], []) == "cut: 1 titles (model.max_title_tokens 5)"


def test_many_are_counted_on_a_sample_from_end_to_end() -> None:
    num = 3 * MAX_COUNTED
    # Every third is looked at, the first among them; the middle third is cut.
    products = [_product(title=9 if num // 3 <= place < 2 * num // 3 else 2) for place in range(num)]
    told = cut_line(_processor(), products, [_text(2)] * (MAX_COUNTED + 1), [])
    counted = int(told.split()[1])
    assert abs(counted - MAX_COUNTED / 3) <= 1
    assert told.endswith(f"; counted on {MAX_COUNTED:,} of {num:,} products, 2,000 of 2,001 queries")


def test_a_training_tells_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalog = shop.make_shop(tmp_path / "data")
    with caplog.at_level(logging.INFO, logger="models"):
        train(
            catalog,
            shop.all_train(catalog),
            model=shop.tiny_model(max_title_tokens=4, max_field_tokens=4, crops="none"),
            train=shop.tiny_train(steps=1),
            regions=shop.regions(),
            regions_config=shop.REGIONS,
            work_dir=tmp_path / "work",
            out_dir=tmp_path / "model",
        )
    (told,) = (record.getMessage() for record in caplog.records if record.getMessage().startswith("cut: "))
    # "colour: red; use: daily, gift" is ten pieces or so of the eight products.
    assert "8 attribute lists (model.max_field_tokens 4)" in told
