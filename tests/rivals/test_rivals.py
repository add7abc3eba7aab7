"""The trivial rivals against closed forms, naive loops and another library."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import jensenshannon

from catalog import Catalog, Embedder, ModelError, Photo, Product, ProductItem, QueryItem, check_vectors, sha256_hex
from tests.benchmark.shop import Shop, picture, png
from validation.benchmark import EvalSet, run_benchmark
from validation.config import BenchmarkConfig
from validation.rivals import ColourHistogram, Constant, RandomVectors, TitleWordOverlap, judge_majority
from validation.rivals.colour_histogram import hsv_histogram


def photo_of(image: Image.Image) -> Photo:
    data = png(image)
    return Photo("memory", digest=sha256_hex(data), data=data)


def item_of(*images: Image.Image, **fields: object) -> ProductItem:
    photos = tuple(photo_of(image) for image in images)
    return ProductItem(Product.model_validate({"product_id": "p", "title": "Thing", **fields}), photos)


def shop_of(*rows: dict[str, object]) -> Catalog:
    products = [Product.model_validate({"product_id": str(index), **row}) for index, row in enumerate(rows)]
    return Catalog("words", tuple(products))


@pytest.fixture(scope="module")
def rivals(shop: Shop) -> list[Embedder]:
    return [RandomVectors(), Constant(), ColourHistogram(), TitleWordOverlap(shop.catalog())]


def test_they_keep_the_protocol(rivals: list[Embedder], eval_set: EvalSet) -> None:
    keys = [item.product.product_id for item in eval_set.gallery]
    queries = [query.item for query in eval_set.queries()]
    for rival in rivals:
        assert isinstance(rival, Embedder)
        check_vectors(rival.embed_products(iter(eval_set.gallery)), keys, rival.dims, rival.name)
        check_vectors(rival.embed_queries(iter(queries)), [item.query_id for item in queries], rival.dims, rival.name)
        for call in (rival.embed_products, rival.embed_queries):
            assert call([]).shape == (0, rival.dims)
        if "text" in rival.modalities:
            check_vectors(rival.embed_labels(iter("ab")), ["a", "b"], rival.dims, rival.name)
    assert len({rival.digest for rival in rivals}) == len(rivals)


def test_a_product_with_nothing_to_read_still_gets_a_vector_that_matches_nothing(rivals: list[Embedder]) -> None:
    bare = ProductItem(Product(product_id="p", title="zzz qqq"))
    for rival in rivals[2:]:
        product = rival.embed_products([bare], frozenset({"title"}))
        check_vectors(product, ["p"], rival.dims, rival.name)
        query = rival.embed_queries([QueryItem("q", "unknownword")])
        assert float((product @ query.T)[0, 0]) == 0.0


def test_random_vectors_depend_on_id_kind_and_seed_alone() -> None:
    one, two = RandomVectors(seed=1), RandomVectors(seed=2)
    first = one.embed_products([item_of(title="a"), item_of(title="b")])
    assert (first[0] == first[1]).all()
    assert not (first[0] == one.embed_queries([QueryItem("p")])[0]).all()
    assert not (first[0] == two.embed_products([item_of(title="a")])[0]).all()


# --- colours -------------------------------------------------------------------------------------------------------


def test_one_plain_colour_fills_one_cell() -> None:
    cells = hsv_histogram(Image.new("RGB", (40, 30), (255, 0, 0)))
    assert cells.sum() == 1.0
    assert np.flatnonzero(cells).tolist() == [(0 * 4 + 3) * 4 + 3]


def test_the_histogram_equals_a_loop_over_pixels() -> None:
    image = picture(3, 64)
    counted: Counter[int] = Counter()
    hsv = image.convert("HSV")
    for x in range(64):
        for y in range(64):
            h, s, v = hsv.getpixel((x, y))
            counted[(h // 16 * 4 + s // 64) * 4 + v // 64] += 1
    expected = np.array([counted[cell] / 64**2 for cell in range(256)])
    assert np.allclose(hsv_histogram(image), expected)


def test_cosine_is_the_bhattacharyya_coefficient() -> None:
    one, two = picture(1, 64), picture(2, 64)
    vectors = ColourHistogram().embed_products([item_of(one), item_of(two)])
    p, q = hsv_histogram(one), hsv_histogram(two)
    assert float(vectors[0] @ vectors[1]) == pytest.approx(np.sqrt(p * q).sum(), abs=1e-6)
    assert 0.0 < jensenshannon(p, q, base=2) < 1.0, "the two pictures must differ for the test to mean anything"


def test_a_product_is_the_mean_of_its_photos_and_finds_its_own_colours() -> None:
    red, blue = Image.new("RGB", (20, 20), (250, 5, 5)), Image.new("RGB", (20, 20), (5, 5, 250))
    products = ColourHistogram().embed_products([item_of(red, red, blue), item_of(blue)])
    queries = ColourHistogram().embed_queries([QueryItem("q", photo=photo_of(red)), QueryItem("r", "red")])
    assert (queries @ products.T)[0].tolist() == pytest.approx([np.sqrt(2 / 3), 0.0])
    assert (queries @ products.T)[1].tolist() == [0.0, 0.0]


def test_hidden_images_are_not_looked_at_and_a_photo_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    item, rival = item_of(picture(1)), ColourHistogram()
    first = rival.embed_products([item, item])
    monkeypatch.setattr(Photo, "load", lambda self, *_: pytest.fail("decoded twice"))
    assert (rival.embed_products([item]) == first[:1]).all()
    assert rival.embed_products([item], frozenset({"images"}))[0, :-2].sum() == 0.0


def test_colours_cannot_be_read_from_words() -> None:
    with pytest.raises(ModelError, match="cannot read text"):
        ColourHistogram().embed_labels(["red"])


# --- words ---------------------------------------------------------------------------------------------------------


def test_rare_words_weigh_more_and_cosine_equals_tf_idf_by_hand() -> None:
    catalog = shop_of({"title": "red shirt"}, {"title": "blue shirt"}, {"title": "red hat"})
    rival = TitleWordOverlap(catalog)
    queries = rival.embed_queries([QueryItem("q", "Red shirts!")])
    products = rival.embed_products(catalog.items())
    texts = [["red", "shirt"], ["blue", "shirt"], ["red", "hat"], ["product"]]
    idf = {word: np.log(5 / (1 + sum(word in text for text in texts))) + 1 for text in texts for word in text}

    def cosine(one: list[str], two: list[str]) -> float:
        dot = sum(idf[word] ** 2 for word in one if word in two)
        return dot / np.sqrt(sum(idf[w] ** 2 for w in one) * sum(idf[w] ** 2 for w in two))

    expected = [cosine(["red", "shirt"], text) for text in texts[:3]]
    assert (queries @ products.T)[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert expected[0] == pytest.approx(1.0)


def test_words_of_a_hidden_field_are_not_used() -> None:
    catalog = shop_of({"title": "thing", "category": ["Hats"], "attributes": {"color": "teal", "tags": ["x1", "y2"]}})
    rival = TitleWordOverlap(catalog)
    item = next(catalog.items())
    words = {"category": "hats", "attributes.color": "teal", "title": "thing", "attributes.tags": "y2"}
    for field, word in words.items():
        label = rival.embed_labels([word])
        assert float((rival.embed_products([item]) @ label.T)[0, 0]) > 0
        assert float((rival.embed_products([item], frozenset({field})) @ label.T)[0, 0]) == 0.0


def test_chinese_titles_match_by_characters() -> None:
    catalog = shop_of({"title": "红色连衣裙"}, {"title": "蓝色帽子"})
    rival = TitleWordOverlap(catalog)
    scores = rival.embed_queries([QueryItem("q", "连衣裙")]) @ rival.embed_products(catalog.items()).T
    assert scores[0, 0] > 0.5 > scores[0, 1]


def test_its_digest_follows_the_vocabulary() -> None:
    one, two = shop_of({"title": "red shirt"}), shop_of({"title": "red hat"})
    assert TitleWordOverlap(one).digest == TitleWordOverlap(one).digest != TitleWordOverlap(two).digest


def test_a_catalogue_of_pictures_alone_has_a_vocabulary_all_the_same(tmp_path: Path) -> None:
    rival = TitleWordOverlap(replace(shop_of(), products=(Product(product_id="p", images=("a.png",)),)))
    assert rival.embed_queries([QueryItem("q", "red")]).shape == (1, rival.dims)


# --- majority ------------------------------------------------------------------------------------------------------


def test_majority_is_right_exactly_where_the_answer_is_trains_most_frequent(
    shop: Shop, eval_set: EvalSet, config: BenchmarkConfig
) -> None:
    record, _ = judge_majority(eval_set, config)
    sides = {key: str(side) for key, side in shop.sides.items()}
    train = [p for p in shop.products if sides[p.product_id] == "train"]
    test = [p for p in shop.products if sides[p.product_id] == "test"]
    ((most, _),) = Counter(product.category for product in sorted(train, key=lambda p: p.category)).most_common(1)
    expected = np.mean([product.category == most for product in test])
    assert record.scores["category_leaf/accuracy"].value == pytest.approx(expected)
    assert record.scores["attribute.care/accuracy"].value == 1.0, "every product may be washed"
    assert record.scores["category_leaf/accuracy"] == record.scores["category_leaf_title_hidden/accuracy"]


def test_majority_has_no_vectors_to_retrieve_with(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    record, _ = judge_majority(eval_set, config)
    assert record.encoder == "majority"
    assert not any("to_product" in key for key in record.scores)
    assert "has no vectors" in record.not_applicable["image_to_product"]
    assert set(record.tasks) == set(run_benchmark(Constant(), eval_set, config).tasks)
