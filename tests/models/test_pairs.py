"""Pairs, sampler and batches: no leak, the mix, the same batch for the same step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from catalog import QueryKind, Side, Splits
from catalog.catalog import Catalog
from models.config import ModelConfig
from models.negatives import not_negative
from models.pairs import build_pairs
from models.pictures import PictureMaker, letterbox, photo_key
from models.processor import Processor
from models.tokenizer import catalog_texts, train_tokenizer
from models.tokens import TokenType
from models.training.data import TrainSet
from models.training.picture_store import ShotSet, fill_picture_store
from models.training.sampler import BatchSampler, category_key
from models.training.train_batch import TrainBatch, View
from models.training.views import draw_hidden, draw_labels, draw_text_view, facts_of, label_fields
from tests.models import shop


def _dataset(catalog: Catalog, folder: Path, model: ModelConfig | None = None, **changes: object) -> TrainSet:
    config = shop.tiny_train(**changes)
    model = model or shop.tiny_model()
    splits = shop.all_train(catalog)
    maker = PictureMaker(32, shop.regions())
    processor = Processor.of(train_tokenizer(catalog_texts(catalog, splits), 400), model, maker)
    table = build_pairs(catalog, splits, config)
    ids = list(table.by_product)
    category = {key: category_key(catalog.by_id[key].category, -1) for key in ids}
    sampler = BatchSampler(ids, category, config.batch_size, config.hard_negatives_per_query, config.seed)
    fields = label_fields(catalog.products)
    dataset = TrainSet(catalog, table, fields, sampler, processor, None, config)
    folder.mkdir(parents=True, exist_ok=True)
    dataset.store = fill_picture_store(folder, ShotSet(dataset.shots(), 32, "digest"), maker)
    return dataset


NO_CHANGE = {"min_area_frac": 1.0, "flip": 0.0, "brightness": 0.0, "contrast": 0.0}
NO_DROPOUT = dict.fromkeys(("title", "category", "attribute", "all_attributes", "images", "text"), 0.0)


def test_sources_are_chosen_and_counted(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path)
    splits = shop.all_train(catalog)
    every = build_pairs(catalog, splits, shop.tiny_train(pair_sources=["purchases", "views", "texts"])).counts()
    assert every == {
        "purchases/both": 8,
        "purchases/image": 8,
        "purchases/text": 8,
        "texts/text": 24,
        "views/both": 24,
        "views/image": 24,
    }
    assert build_pairs(catalog, splits, shop.tiny_train(pair_sources=["views"])).counts() == {"views/image": 24}


def test_nothing_of_the_test_side_is_paired(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path)
    side_of = {p.product_id: Side.TEST if "mug" in p.product_id else Side.TRAIN for p in catalog.products}
    own = tuple(query for query in catalog.queries if side_of[query.product_ids[0]] is Side.TRAIN)
    splits = Splits(side_of, {Side.TRAIN: own, Side.VAL: (), Side.TEST: ()}, {})
    table = build_pairs(catalog, splits, shop.tiny_train(pair_sources=["purchases", "views", "texts"]))
    assert all("box" in pair.product_id for pair in table.pairs())
    assert not any("mug" in text.lower() for text in catalog_texts(catalog, splits))


def test_a_single_photo_is_asked_for_by_a_crop_or_not_at_all(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path, purchases=False)
    lone = [product.model_copy(update={"images": product.images[:1]}) for product in catalog.products]
    catalog = replace(catalog, products=tuple(lone))
    splits = shop.all_train(catalog)
    pairs = build_pairs(catalog, splits, shop.tiny_train(pair_sources=["views"])).pairs()
    assert len(pairs) == 8
    assert all(pair.is_crop for pair in pairs)
    refused = build_pairs(catalog, splits, shop.tiny_train(pair_sources=["views"], single_photo_crops=False))
    assert not refused.pairs()
    assert sum(refused.dropped.values()) == 8


def test_the_query_photo_is_never_among_the_products_pixels(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path / "shop")
    dataset = _dataset(
        catalog, tmp_path / "work", photos_per_product=2, augment=NO_CHANGE, dropout=NO_DROPOUT, pair_sources=["views"]
    )
    seen = 0
    for step in range(20):
        batch = dataset[step]
        pictures, queries, rows = batch.pixels_NCHW, batch.views[View.QUERIES], batch.views[View.PRODUCTS]
        for row in range(len(batch.product_ids)):
            asked = pictures[queries.slot_picture_S[queries.slot_row_S == row]][0]
            held = pictures[rows.slot_picture_S[rows.slot_row_S == row]]
            assert not any(torch.equal(asked, one) for one in held)
            # The check can fail: the product does own this photograph, it only must not show it here.
            photos = dataset.photos[batch.product_ids[row]]
            own = [dataset.processor.pixels([letterbox(photo.load(), 32)])[0] for photo in photos]
            assert any(torch.allclose(asked, one, atol=1e-6) for one in own)
            seen += 1
    assert seen >= 100


def test_a_text_query_hides_the_field_it_was_made_of(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path / "shop", purchases=False)
    dataset = _dataset(catalog, tmp_path / "work", pair_sources=["texts"], dropout=NO_DROPOUT)
    tokenizer = dataset.processor.tokenizer
    titles = {product.product_id: (product.title or "").lower() for product in catalog.products}
    from_title = 0
    for step in range(12):
        batch = dataset[step]
        for row, key in enumerate(batch.product_ids):
            words = tokenizer.decode(batch.views[View.QUERIES].ids_BL[row].tolist(), skip_special_tokens=True).strip()
            shown = tokenizer.decode(batch.views[View.PRODUCTS].ids_BL[row].tolist(), skip_special_tokens=True)
            if words == titles[key]:
                from_title += 1
                assert titles[key] not in shown
            else:
                assert titles[key] in shown
    assert from_title > 5


def test_a_batch_depends_on_seed_and_step_alone(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path / "shop")
    one, two = (_dataset(catalog, tmp_path / name) for name in ("a", "b"))
    for step in (0, 1, 5):
        two[step + 1]  # another history
        _assert_equal(one[step], two[step])
    other = _dataset(catalog, tmp_path / "c", seed=2)[0]
    assert other.product_ids != one[0].product_ids or not torch.equal(other.pixels_NCHW, one[0].pixels_NCHW)


def _assert_equal(one: TrainBatch, two: TrainBatch) -> None:
    assert one.product_ids == two.product_ids
    assert torch.equal(one.pixels_NCHW, two.pixels_NCHW)
    assert torch.equal(one.views[View.PRODUCTS].ids_BL, two.views[View.PRODUCTS].ids_BL)
    assert torch.equal(one.views[View.QUERIES].slot_picture_S, two.views[View.QUERIES].slot_picture_S)
    for left, right in ((one.query_codes, two.query_codes), (one.product_codes, two.product_codes)):
        assert torch.equal(left.table(), right.table())


def test_false_negative_masks_of_a_batch_by_brute_force(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path / "shop")
    # One query bought two products, and two products share a photograph.
    twice = catalog.queries[0].model_copy(update={"product_ids": ("mug-red", "box-black")})
    shared = catalog.by_id["box-red"].images[0]
    products = tuple(
        p.model_copy(update={"images": (*p.images, shared)}) if p.product_id == "mug-black" else p
        for p in catalog.products
    )
    catalog = replace(catalog, queries=(twice, *catalog.queries[1:]), products=products)
    dataset = _dataset(catalog, tmp_path / "work", batch_size=8)
    checked = Counter[str]()
    for step in range(30):
        rng = np.random.default_rng((dataset.config.seed, step, 1))
        rows = [catalog.by_id[key] for key in dataset.sampler.products(step)]
        pairs = [pair for product in rows for pair in dataset._draw_pairs(product.product_id, rng)]
        batch = dataset[step]
        mask = not_negative(batch.query_codes, batch.product_codes)
        for i, pair in enumerate(pairs):
            for j, other in enumerate(rows):
                digests = {photo_key(photo) for photo in dataset.photos[other.product_id]}
                reasons = {
                    "group": rows[i].group_id == other.group_id,
                    "bought": other.product_id in pair.accepted,
                    "photo": pair.photo is not None and photo_key(pair.photo) in digests,
                }
                assert bool(mask[i, j]) == any(reasons.values())
                checked.update(name for name, value in reasons.items() if value and i != j)
    assert checked["group"] > 0
    assert checked["bought"] > 0
    assert checked["photo"] > 0


def test_rows_of_the_same_words_are_one_query(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path / "shop")
    # One query typed in three ways, one that is another, and photographs, which make other queries of the same words.
    wide = "\uff47\uff49\uff46\uff54\tidea"
    asked = {"mug-red": "Gift idea", "box-black": " gift  IDEA", "mug-black": wide, "box-red": "gift ideas"}
    queries = tuple(
        query.model_copy(update={"text": asked.get(query.product_ids[0], query.text)})
        for query in catalog.queries
        if query.kind is not QueryKind.PHOTO
    )
    catalog = replace(catalog, queries=queries)
    dataset = _dataset(catalog, tmp_path / "work", batch_size=8, pair_sources=["purchases"], mask_same_group=False)
    same = {"mug-red", "box-black", "mug-black"}
    masked = 0
    for step in range(6):
        rng = np.random.default_rng((dataset.config.seed, step, 1))
        batch = dataset[step]
        pairs = [pair for key in batch.product_ids for pair in dataset._draw_pairs(key, rng)]
        mask = not_negative(batch.query_codes, batch.product_codes, mask_same_group=False)
        for i, pair in enumerate(pairs):
            for j, other in enumerate(batch.product_ids):
                one_query = pair.kind == "text" and {pair.product_id, other} <= same
                assert bool(mask[i, j]) == (i == j or one_query)
                masked += one_query and i != j
    assert masked > 0


def test_labels_are_only_asked_of_products_that_do_not_show_them(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path / "shop")
    dataset = _dataset(catalog, tmp_path / "work")
    blind = 0
    for step in range(10):
        batch = dataset[step]
        has_category = (batch.views[View.PRODUCTS].types_BL == TokenType.CATEGORY).any(dim=1)
        asked = batch.labels[0]
        assert not bool((asked.product_may_see_B & has_category).any())
        blind += int(asked.product_may_see_B.sum())
        assert bool(asked.right_BL.any(dim=1).all())
    assert blind > 0


def test_word_views_hold_no_picture_no_category_and_not_what_they_are_asked(tmp_path: Path) -> None:
    dataset = _dataset(shop.make_shop(tmp_path / "shop"), tmp_path / "work")
    tokenizer = dataset.processor.tokenizer
    asked_something = 0
    for step in range(10):
        batch = dataset[step]
        types = batch.views[View.WORDS].types_BL
        for kind in (TokenType.IMAGE, TokenType.CROP, TokenType.CATEGORY):
            assert not bool((types == kind).any())
        shown = [tokenizer.decode(row.tolist(), skip_special_tokens=True) for row in batch.views[View.WORDS].ids_BL]
        for asked in batch.labels:
            ids = batch.views[View.TEXTS].ids_BL[len(batch.text_view_rows) + asked.first_text].tolist()
            first = tokenizer.decode(ids, skip_special_tokens=True)
            if not first.strip().startswith("colour"):
                continue
            for row, key in enumerate(batch.product_ids):
                if bool(asked.words_may_see_B[row]):
                    asked_something += 1
                    assert f"colour: {dataset.products[key].attributes['colour']}" not in shown[row]
                else:
                    assert f"colour: {dataset.products[key].attributes['colour']}" in shown[row]
    assert asked_something > 0


def test_label_fields_and_draws(tmp_path: Path) -> None:
    fields = {field.hides: field for field in label_fields(shop.make_shop(tmp_path).products)}
    # Level 0 has one answer only and is no question.
    assert set(fields) == {"category", "attributes.colour", "attributes.use"}
    assert fields["category"].texts == ("Home > Box", "Home > Mug")
    assert fields["attributes.use"].answers["mug-red"] == frozenset(("use: daily", "use: gift"))
    rng = np.random.default_rng(0)
    drawn = draw_labels(fields["attributes.colour"], ["mug-red", "box-blue"], 3, rng)
    assert {"colour: red", "colour: blue"} <= set(drawn)
    assert len(drawn) == 3


def test_dropout_hides_as_often_as_configured_and_never_everything(tmp_path: Path) -> None:
    product = shop.make_shop(tmp_path).products[0]
    config = shop.tiny_train().dropout
    rng = np.random.default_rng(0)
    draws = [draw_hidden(product, config, rng, frozenset(), 2) for _ in range(4000)]
    share = {name: sum(name in hidden for hidden in draws) / len(draws) for name in ("title", "category", "images")}
    kept = (1 - config.images) * (1 - config.text)
    all_text = (1 - config.images) * config.text
    assert share["images"] == pytest.approx(config.images, abs=0.02)
    assert share["title"] == pytest.approx(all_text + kept * config.title, abs=0.03)
    assert share["category"] == pytest.approx(all_text + kept * config.category, abs=0.03)
    assert not any({"images", "title", "category"} <= hidden for hidden in draws)


def test_a_product_that_would_show_nothing_keeps_what_only_dropout_hides(tmp_path: Path) -> None:
    whole = shop.make_shop(tmp_path).products[0]
    bare = whole.model_copy(update={"category": (), "attributes": {}})
    worst = shop.tiny_train(dropout=dict.fromkeys(NO_DROPOUT, 1.0)).dropout
    no_images = shop.tiny_train(dropout=dict.fromkeys(NO_DROPOUT, 1.0) | {"images": 0.0}).dropout
    only_images = shop.tiny_train(dropout=NO_DROPOUT | {"images": 1.0}).dropout
    title, none = frozenset(("title",)), frozenset[str]()
    rng = np.random.default_rng(0)
    # Asked for by its title, a product without other words must show its photographs.
    assert draw_hidden(bare, worst, rng, title, 2) == title
    assert draw_hidden(whole, worst, rng, title, 2) == {"title", "images"}
    # Its photographs are unusable, or the query's own is its only one.
    assert draw_hidden(whole, no_images, rng, none, 0) == none
    assert "category" in draw_hidden(whole, no_images, rng, none, 1)
    # A description is something only where the model reads it.
    assert draw_hidden(bare, only_images, rng, title, 1) == title
    assert draw_hidden(bare, only_images, rng, title, 1, use_description=True) == {"title", "images"}
    # The query took all: nothing is left to show, and what it was made of stays hidden.
    assert draw_hidden(bare, worst, rng, title, 0) == title
    one, two = (np.random.default_rng(1) for _ in range(2))
    assert draw_hidden(whole, no_images, one, none, 0) != draw_hidden(whole, no_images, two, none, 2)
    assert one.random() == two.random()


def test_no_training_product_is_empty(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path / "shop")
    bare = {"category": (), "attributes": {}, "description": None}
    catalog = replace(catalog, products=tuple(one.model_copy(update=bare) for one in catalog.products))
    sources = ["purchases", "views", "texts"]
    dropout = {"images": 0.5, "text": 0.5}
    dataset = _dataset(catalog, tmp_path / "work", batch_size=8, pair_sources=sources, dropout=dropout)
    shown = {TokenType.IMAGE, TokenType.CROP, TokenType.TITLE, TokenType.CATEGORY, TokenType.ATTRIBUTE}
    rows = [row for step in range(12) for row in dataset[step].views[View.PRODUCTS].types_BL.tolist()]
    assert all(shown.intersection(row) for row in rows)
    # The dropout is on: some show no picture, some no words.
    assert any(TokenType.IMAGE not in row for row in rows)
    assert any(TokenType.TITLE not in row for row in rows)


def test_text_views_are_sometimes_a_title_and_sometimes_a_shoppers_words(tmp_path: Path) -> None:
    product = shop.make_shop(tmp_path).by_id["mug-red"]
    rng = np.random.default_rng(0)
    drawn = [view for _ in range(200) if (view := draw_text_view(product, rng)) is not None]
    views = Counter(view.text for view in drawn)
    assert views["Lovely mug number 0"] > 20
    assert views["red Mug"] > 2
    assert any(view.startswith("Home > Mug; ") for view in views)
    # What a view says is true of its own product, and a title says nothing that is known.
    assert all(view.facts <= facts_of(product) for view in drawn)
    assert {view.text for view in drawn if not view.facts} == {"Lovely mug number 0"}
    red = {view.facts for view in drawn if view.text == "red Mug"}
    other = product.model_copy(update={"attributes": {"tint": "red"}})
    assert all(facts <= facts_of(other) for facts in red)
    assert not any(facts <= facts_of(product.model_copy(update={"category": ("Home", "Cup")})) for facts in red)
    bare = product.model_copy(update={"title": None, "category": (), "attributes": {}})
    assert draw_text_view(bare, rng) is None
