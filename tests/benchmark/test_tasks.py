"""The tasks beyond a shopper's query: across modalities, product to product, labelled photographs, unseen leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from catalog import ProductItem, QueryKind, Side
from tests.benchmark.encoders import Oracle, Spy
from tests.benchmark.eval_sets import build, ids, question, task
from tests.benchmark.shop import Shop, picture, stocked
from validation.benchmark import EvalSet, main_metrics, main_part, main_score, run_benchmark
from validation.benchmark.traits import masks
from validation.config import BenchmarkConfig
from validation.errors import BenchmarkError
from validation.rivals import Constant, RandomVectors


def traits(eval_set: EvalSet, product_id: str) -> dict[str, str]:
    place = [item.product.product_id for item in eval_set.gallery].index(product_id)
    return dict(eval_set.traits[place])


# --- across modalities ---------------------------------------------------------------------------------------------


def test_products_without_a_photo_are_no_candidates_for_words_that_look_for_pictures(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        shop.product("bare", title="Hat of straw")
        shop.query("q-bare", QueryKind.TEXT, ("bare",), text="straw")

    eval_set = build(stocked(tmp_path, num_test=12, change=change))
    pictures, words = task(eval_set, "text_to_image"), task(eval_set, "image_to_text")
    assert "bare" not in ids(eval_set, pictures.pool)
    assert "bare" in ids(eval_set, words.pool)
    assert "q-bare" in {query.query_id for query in task(eval_set, "text_to_product").queries}
    assert "q-bare" not in {query.query_id for query in pictures.queries}


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("text_to_image", lambda item: "".join([item.product.title or "", *item.product.category])),
        ("text_to_image", lambda item: " ".join(map(str, item.product.attributes.values()))),
        ("text_to_image", lambda item: item.product.description or ""),
        ("image_to_text", lambda item: "".join(photo.digest for photo in item.photos)),
        ("image_to_text", lambda item: "".join(item.product.images)),
        ("image_to_text_title_hidden", lambda item: item.product.title or ""),
        ("text_to_product_title_hidden", lambda item: (item.product.title or "") + (item.product.description or "")),
        ("product_to_product_title_hidden", lambda item: item.product.title or ""),
    ],
)
def test_what_is_not_shown_is_never_given(name: str, read, tmp_path: Path) -> None:
    eval_set = build(stocked(tmp_path, num_test=12, change=_with_links)).only([name])
    spy = Spy()
    run_benchmark(spy, eval_set, BenchmarkConfig())
    assert spy.products
    assert {read(item) for _, item in spy.products} == {""}


# --- product to product --------------------------------------------------------------------------------------------


def _with_links(shop: Shop) -> None:
    for number, (anchor, answers) in enumerate([("p000", ("p004", "p030")), ("p000", ("p006",)), ("p002", ("p003",))]):
        shop.link(f"l{number}", (anchor,), answers)


def test_links_of_a_product_are_one_query_and_neither_it_nor_its_variants_are_candidates(tmp_path: Path) -> None:
    eval_set = build(stocked(tmp_path, num_test=12, change=_with_links))
    first, second = task(eval_set, "product_to_product").queries
    assert (first.query_id, ids(eval_set, first.relevant)) == ("p000", {"p004", "p006"}), "p030 is on the train side"
    assert ids(eval_set, first.excluded) == {"p000", "p001"}
    assert (second.query_id, ids(eval_set, second.relevant)) == ("p002", {"p003"}), "a variant that is linked counts"
    assert ids(eval_set, second.excluded) == {"p002"}


def test_the_asking_product_is_not_found_first(tmp_path: Path) -> None:
    """Anchor and answer on one axis: only an anchor that stays out of its own pool lets the answer come first."""
    eval_set = build(stocked(tmp_path, num_test=12, change=_with_links)).only(["product_to_product"])
    pairs = {"p004": "p000", "p006": "p000", "p003": "p002"}

    def own(item: ProductItem, hide: frozenset[str]) -> str:
        return pairs.get(item.product.product_id, item.product.product_id)

    scores = run_benchmark(Oracle(own), eval_set, BenchmarkConfig(num_bootstrap=100)).scores
    assert scores["product_to_product/map"].value == 1.0
    open_pool = tuple(
        replace(own, queries=tuple(replace(query, excluded=()) for query in own.queries)) for own in eval_set.retrieval
    )
    with pytest.raises(BenchmarkError, match="its own candidate"):
        replace(eval_set, retrieval=open_pool)


def test_linked_products_of_one_picture_are_neither_answers_nor_candidates(tmp_path: Path) -> None:
    """The parts of an outfit may share its photograph: by that the asking product would find them without knowing."""

    def change(shop: Shop) -> None:
        shared = picture(77)
        shop.product("coat", group_id="coat", images=[shop.photo("coat.png", shared)])
        shop.product("scarf", group_id="scarf", images=[shop.photo("scarf.png", shared.resize((48, 48)))])
        shop.link("l0", ("coat",), ("scarf", "p004"))
        shop.link("l1", ("scarf",), ("coat",))

    asked = task(build(stocked(tmp_path, num_test=12, change=change)), "product_to_product")
    (query,) = asked.queries
    eval_set = build(stocked(tmp_path / "again", num_test=12, change=change))
    assert (query.query_id, ids(eval_set, query.relevant)) == ("coat", {"p004"})
    assert ids(eval_set, query.excluded) == {"coat", "scarf"}
    assert asked.note == "2 linked products left out: they show a photo of the product that asks"


def test_a_catalogue_without_links_says_so(eval_set: EvalSet) -> None:
    assert dict(eval_set.absent)["product_to_product"] == "no product on this side is linked to another of its side"


# --- labels --------------------------------------------------------------------------------------------------------


def test_leaves_that_no_train_product_has_are_asked_by_themselves(tmp_path: Path, config: BenchmarkConfig) -> None:
    def change(shop: Shop) -> None:
        for number in range(3):
            shop.product(f"new{number}", category=("Garden", "Gnomes"), title="A small gnome")

    eval_set = build(stocked(tmp_path, change=change), config)
    unseen = question(eval_set, "category_leaf_unseen")
    assert ids(eval_set, unseen.items) == {"new0", "new1", "new2"}
    assert unseen.labels == question(eval_set, "category_leaf").labels, "all labels stand beside the unseen one"
    assert question(eval_set, "category_leaf_unseen_title_hidden").hide == {"category", "title", "description"}
    assert traits(eval_set, "new0")["leaf"] == "unseen"
    assert traits(eval_set, "p000")["leaf"] == "seen"


def test_a_catalogue_whose_leaves_are_all_trained_on_has_no_strict_question(eval_set: EvalSet) -> None:
    assert "category_leaf_unseen" in dict(eval_set.absent)


def test_labelled_photographs_alone_are_an_evaluation_set(tmp_path: Path, config: BenchmarkConfig) -> None:
    shop = Shop(tmp_path)
    for number, label in enumerate(["dress", "hat", "dress", "shoes"]):
        shop.labelled(f"c{number}", shop.photo(f"{number}.png", number), label)
    eval_set = build(shop)
    (asked,) = eval_set.labels
    assert (asked.name, asked.labels) == ("photo_label", ("dress", "hat", "shoes"))
    right = {f"c{number}": label for number, label in enumerate(["dress", "hat", "dress", "shoes"])}
    knows = Oracle(lambda item, hide: "", lambda item: right[item.query_id])
    record = run_benchmark(knows, eval_set, config)
    assert record.scores["photo_label/accuracy"].value == 1.0
    assert record.scores["photo_label/f1_macro"].value == 1.0
    assert run_benchmark(Constant(), eval_set, config).scores["photo_label/accuracy"].value == 0.0
    blind = RandomVectors()
    blind.modalities = frozenset({"text"})
    assert "photo_label" in run_benchmark(blind, eval_set, config).not_applicable


def test_one_picture_under_two_names_is_one_piece_of_evidence(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for number in range(6):
        shop.labelled(f"l{number}", shop.photo(f"{number}.png", number // 2), ("hat", "shoe")[number // 2 % 2])
    score = run_benchmark(RandomVectors(), build(shop), BenchmarkConfig(num_bootstrap=100)).scores
    assert (score["photo_label/accuracy"].n, score["photo_label/accuracy"].num_groups) == (6, 3)


def test_one_label_for_all_photographs_asks_nothing(tmp_path: Path) -> None:
    shop = stocked(tmp_path, num_test=6)
    shop.labelled("c0", shop.photo("c0.png", 77), "dress")
    assert dict(build(shop).absent)["photo_label"] == "fewer than two labels to choose from"


@pytest.mark.parametrize("labels", [("red", 3), ("red", None), ("red", ""), ("red", "red")])
def test_labels_that_are_no_distinct_texts_never_score_silently(labels, eval_set: EvalSet) -> None:
    colour = question(eval_set, "attribute.color")
    odd = replace(colour, labels=labels, answers=((0,),) * len(colour.items))
    with pytest.raises(BenchmarkError, match=r"attribute\.color"):
        replace(eval_set, labels=(odd,))


@pytest.mark.parametrize("answers", [("red",), (None,), (True,), (7,), (-1,)])
def test_answers_that_are_no_positions_never_score_silently(answers, eval_set: EvalSet) -> None:
    colour = question(eval_set, "attribute.color")
    with pytest.raises(BenchmarkError, match="points nowhere"):
        replace(eval_set, labels=(replace(colour, answers=(answers, *colour.answers[1:])),))


@pytest.mark.parametrize("change", [{"relevant": (99,)}, {"relevant": ()}, {"same_group": (-1,)}, {"excluded": (0,)}])
def test_queries_that_point_nowhere_are_refused_by_name(change: dict, eval_set: EvalSet) -> None:
    first = task(eval_set, "image_to_product")
    broken = replace(first, queries=(replace(first.queries[0], **change), *first.queries[1:]))
    with pytest.raises(BenchmarkError, match=f"query {first.queries[0].query_id}"):
        replace(eval_set, retrieval=(broken,))


def _spoilt(eval_set: EvalSet, which: str, **change: object) -> EvalSet:
    return replace(
        eval_set,
        retrieval=tuple(replace(own, **change) if own.name == which else own for own in eval_set.retrieval),
        labels=tuple(replace(own, **change) if own.name == which else own for own in eval_set.labels),
    )


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("image_to_product", {"name": "text_to_product"}, "two tasks have one name"),
        ("attribute.color", {"name": "category_leaf"}, "two tasks have one name"),
        ("image_to_product", {"queries": ()}, "points nowhere"),
        ("image_to_product", {"pool": (0, 99)}, "points nowhere"),
        ("attribute.color", {"items": (), "answers": (), "traits": ()}, "points nowhere"),
        ("attribute.color", {"labels": ("one",), "answers": ((),) * 36}, "points nowhere"),
        ("attribute.color", {"majority": 3}, "points nowhere"),
        ("attribute.color", {"majority": None}, "points nowhere"),
        ("attribute.color", {"items": (0,) * 36}, "asked about twice"),
        ("attribute.color", {"answers": ((0, 0),) * 36}, "right twice"),
        ("category_leaf", {"paths": (("Wear",),)}, "points nowhere"),
    ],
)
def test_a_set_that_cannot_mean_what_it_says_is_refused(name: str, change: dict, why: str, eval_set: EvalSet) -> None:
    with pytest.raises(BenchmarkError, match=why):
        _spoilt(eval_set, name, **change)


def test_one_id_stands_for_one_thing(eval_set: EvalSet) -> None:
    first, other = task(eval_set, "image_to_product"), task(eval_set, "text_to_product")
    with pytest.raises(BenchmarkError, match="asked twice"):
        _spoilt(eval_set, first.name, queries=(*first.queries, first.queries[0]))
    renamed = replace(other.queries[0], item=replace(other.queries[0].item, query_id=first.queries[0].query_id))
    with pytest.raises(BenchmarkError, match="two queries have one id"):
        _spoilt(eval_set, other.name, queries=(renamed, *other.queries[1:]))
    with pytest.raises(BenchmarkError, match="two products have one id"):
        replace(eval_set, gallery=(*eval_set.gallery, eval_set.gallery[0]), traits=())


def test_variants_that_count_as_found_hold_the_right_products_and_are_candidates(eval_set: EvalSet) -> None:
    first = task(eval_set, "image_to_product")
    query = first.queries[0]
    for change in ({"same_group": (5,)}, {"excluded": (query.same_group[-1],)}):
        with pytest.raises(BenchmarkError, match=f"query {query.query_id}"):
            _spoilt(eval_set, first.name, queries=(replace(query, **change), *first.queries[1:]))


def test_attributes_that_name_the_category_are_told(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        for row, product in enumerate(shop.products):
            told = {**product.attributes, "kind": product.category[-1].lower() if row % 2 else "other"}
            shop.products[row] = product.model_copy(update={"attributes": told})

    (note,) = [note for note in build(stocked(tmp_path, change=change)).notes if "is a level of it" in note]
    assert note.startswith("attribute kind,")
    assert note.endswith("for 18 of the 36 products that carry it")


# --- what slices are made of ---------------------------------------------------------------------------------------


def test_traits_say_what_a_product_has(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        shop.product("bare", title="Hat of straw")
        shop.product("silent", title=None, images=[shop.photo("silent.png", 5)])
        for number in range(4):
            shop.product(f"rare{number}", Side.TRAIN if number else Side.TEST, category=("Home", "Lamps"))

    eval_set = build(stocked(tmp_path, num_test=12, change=change))
    assert traits(eval_set, "bare") == {"modality": "title", "photos": "none"}
    assert traits(eval_set, "silent") | {"background": ""} == {"modality": "photo", "photos": "one", "background": ""}
    assert traits(eval_set, "rare0")["frequency"] == "tail"
    assert traits(eval_set, "p004")["frequency"] == "head", "half of train is in the first two leaves"
    assert traits(eval_set, "p000")["photos"] == "several"
    assert traits(eval_set, "p000")["category"] == "Wear"


def test_the_head_ends_with_the_leaf_that_fills_half_of_train(tmp_path: Path) -> None:
    def side(key: str, leaf: str, of: Side, shop: Shop) -> None:
        shop.product(key, of, category=("All", leaf))

    shop = Shop(tmp_path)
    for number, leaf in enumerate("aabc"):
        side(f"train{number}", leaf, Side.TRAIN, shop)
    for leaf in "abcd":
        side(f"test-{leaf}", leaf, Side.TEST, shop)
    eval_set = build(shop)
    told = {leaf: traits(eval_set, f"test-{leaf}") for leaf in "abcd"}
    assert [told[leaf]["frequency"] for leaf in "abcd"] == ["head", "tail", "tail", "tail"]
    assert [told[leaf]["leaf"] for leaf in "abcd"] == ["seen", "seen", "seen", "unseen"]


def test_a_kind_in_which_no_item_differs_makes_no_slice() -> None:
    assert masks([{"photos": "one"}, {"photos": "one"}]) == {}
    found = masks([{"photos": "one"}, {}, {"photos": "one"}])
    assert {name: mask.tolist() for name, mask in found.items()} == {"photos=one": [True, False, True]}


def test_a_query_is_cut_by_its_own_photo_before_its_products(tmp_path: Path, config: BenchmarkConfig) -> None:
    def change(shop: Shop) -> None:
        blank = Image.new("RGB", (64, 64), "white")
        shop.product("plain", images=[shop.photo("plain.png", blank)])
        shop.query("i-plain", QueryKind.PHOTO, ("plain",), image=shop.photo("i-plain.png", 4242))

    eval_set = build(stocked(tmp_path, num_test=12, change=change), config)
    assert traits(eval_set, "plain")["background"] == "clean"
    record = run_benchmark(RandomVectors(), eval_set, config)
    cut = [score.n for key, score in record.slices.items() if key.startswith("image_to_product/mrr[category=")]
    assert sum(cut) == 12, "and the products' kinds stand in for those that it lacks"
    assert not [key for key in record.slices if key.startswith("image_to_product/mrr[background=clean")]


def test_words_of_the_title_in_a_query_are_told(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for number, text in enumerate(("a straw hat", "for the beach")):
        shop.product(f"p{number}", title="Hat of straw")
        shop.query(f"t{number}", QueryKind.TEXT, (f"p{number}",), text=text)
    asked = task(build(shop), "text_to_product").queries
    assert [dict(query.traits)["names_answer"] for query in asked] == ["yes", "no"]


def test_a_product_of_attributes_alone_can_be_found_by_words(tmp_path: Path) -> None:
    def change(shop: Shop) -> None:
        for key, own in (("mute", {}), ("told", {"attributes": {"color": "red"}}), ("filed", {"category": ("Wear",)})):
            shop.product(key, title=None, images=[shop.photo(f"{key}.png", len(key) * 31 + ord(key[0]))], **own)

    eval_set = build(stocked(tmp_path, num_test=12, change=change))
    inside = ids(eval_set, task(eval_set, "image_to_text").pool)
    assert {"told", "filed"} <= inside
    assert "mute" not in inside


@pytest.mark.parametrize(("min_n", "max_values", "asked"), [(4, 3, True), (5, 3, False), (4, 2, False)])
def test_an_attribute_is_asked_from_so_many_products_up_to_so_many_values(
    min_n: int, max_values: int, asked: bool, tmp_path: Path
) -> None:
    shop = Shop(tmp_path)
    for number in range(4):
        shop.product(f"test{number}", attributes={"fit": "slim"})
        shop.product(f"train{number}", Side.TRAIN, attributes={"fit": f"f{number % 3}"})
    config = BenchmarkConfig(min_attribute_n=min_n, max_attribute_values=max_values)
    assert bool(build(shop, config).labels) is asked


def test_slices_partition_every_score_they_cut(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    record = run_benchmark(RandomVectors(), eval_set, config)
    parts: dict[tuple[str, str], list] = {}
    for key, score in record.slices.items():
        whole, _, kind = key.removesuffix("]").partition("[")
        parts.setdefault((whole, kind.partition("=")[0]), []).append(score)
    assert parts
    for (whole, _), scores in parts.items():
        total = record.scores[whole]
        assert sum(score.n for score in scores) == total.n
        assert sum(score.n * score.value for score in scores) == pytest.approx(total.n * total.value)


def test_the_main_score_needs_only_its_own_part_of_the_set(eval_set: EvalSet, config: BenchmarkConfig) -> None:
    part = main_part(eval_set)
    assert len(part.retrieval) == 3
    assert len(part.labels) < len(eval_set.labels) / 2
    whole, alone = (run_benchmark(RandomVectors(), own, config) for own in (eval_set, part))
    assert main_metrics(whole) == main_metrics(alone)
    assert main_score(whole) == main_score(alone)
