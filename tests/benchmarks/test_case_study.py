"""The page of cases: who is on it, what is left out, links that lead somewhere, small pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.case_study.cases import ALL_PARTS, Held, choose, held_out, name_of, study
from benchmarks.case_study.page import Origin, built, plain, write_page
from benchmarks.case_study.pictures import MAX_BYTES, draw_case, draw_neighbours, draw_space, plane, save_small
from catalog import QueryItem, SplitConfig, split_catalog
from models.config import ModelConfig, MoeConfig
from models.encoder import MoonEncoder
from models.inside import Left
from models.inside.pairs import query_kind
from tests.models import shop
from tests.models.inside_models import item, lively

EVERYTHING = SplitConfig(test_frac=0.99, val_frac=0.0)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    catalog = shop.make_shop(tmp_path_factory.mktemp("shop"))
    return held_out(catalog, split_catalog(catalog, EVERYTHING))


@pytest.fixture(scope="module")
def encoder() -> MoonEncoder:
    return lively(max_images=1)


def test_kinds_of_query_in_turn_and_no_product_twice(held: Held) -> None:
    found = choose(held, 6)
    kinds = [query_kind(held.queries[index]) for _, index in found]
    assert kinds[:2] == ["photo", "text"]
    assert set(kinds) == {"photo", "text", "both"}
    names = [one.product.product_id for one, _ in found]
    assert len(set(names)) == 6
    # Two leaves in this shop: each of them first, before any is seen again.
    assert len({one.product.category for one, _ in found[:2]}) == 2
    assert all(one.product.product_id in held.answers[index] for one, index in found)


def test_a_small_shop_gives_what_it_has() -> None:
    mug = item(shop.noise(1))
    held = Held((mug,), (QueryItem("q", "red"),), (frozenset({"mug"}),))
    assert choose(held, 6) == [(mug, 0)]


def test_neighbours_are_a_brute_force_search(held: Held, encoder: MoonEncoder) -> None:
    cases = study(encoder, held, 2)
    names = [name_of(part) for part in (None, Left.CROPS, Left.GUIDED_EXPERTS, Left.VISION_RESIDUAL)]
    assert set(names) <= set(cases[0].neighbours)
    products = encoder.embed_products(held.items)
    for case in cases:
        cosines = (products @ encoder.embed_queries([case.query]).T)[:, 0]
        order = np.argsort(-cosines, kind="stable")
        found = case.neighbours[ALL_PARTS]
        assert [one.product.product_id for one in found.items] == [
            held.items[place].product.product_id for place in order[: len(found.items)]
        ]
        np.testing.assert_allclose(found.cosines, cosines[order][: len(found.items)], atol=1e-5)
        ranks = [rank for rank, place in enumerate(order, 1) if held.items[place].product.product_id in case.answers]
        assert found.rank == min(ranks)
        assert case.explanation.cosine == pytest.approx(cosines[[i.product.product_id for i in held.items].index(
            case.item.product.product_id)], abs=1e-5)  # fmt: skip


def test_page_and_pictures_go_together(held: Held, encoder: MoonEncoder, tmp_path: Path) -> None:
    cases = study(encoder, held, 2)
    points = plane(np.random.default_rng(0).normal(size=(len(held.items) + len(held.queries), 8)))
    assert points.shape == (len(held.items) + len(held.queries), 2)
    pictures = {"case_space.png": draw_space(held, points, cases)}
    for case in cases:
        pictures[f"case_{case.number}.png"] = draw_case(case)
        pictures[f"case_{case.number}_neighbours.png"] = draw_neighbours(case)
    for name, figure in pictures.items():
        save_small(figure, tmp_path / name, dpi=50)
        assert (tmp_path / name).stat().st_size <= MAX_BYTES
    page = write_page(Origin("command", "model", "data", "commit", 8, 24, "a thing"), cases, "images", "Played.")
    assert set(re.findall(r"\(images/([^)]+)\)", page)) == set(pictures)
    anchors = {re.sub(r"[^a-z0-9 _-]", "", line[3:].lower()).replace(" ", "-") for line in page.splitlines()
               if line.startswith("## ")}  # fmt: skip
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors
    assert "Played." in page
    assert f"{cases[0].explanation.cosine:.3f}" in page


def test_the_page_says_what_the_model_is() -> None:
    told = built(ModelConfig(pooling="balanced", vision_residual=True, moe=MoeConfig(num_experts=6, top_k=3)))
    assert "pooling `balanced`" in told
    assert "residuals of vision, colour, code (none of word)" in told
    assert "6 experts, 3 a token; with slots" in told
    bare = built(ModelConfig(moe=MoeConfig(kind="dense"), colour_residual=False, code_residual=False, slots=False))
    assert "residuals of nothing (none of vision, colour, word, code); no guided experts; without slots" in bare


def test_signs_of_a_title_are_no_markdown() -> None:
    assert plain("HOT* [new] a_b | 5 < 6") == r"HOT\* \[new\] a\_b \| 5 \< 6"


def test_a_large_picture_is_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    monkeypatch.setattr("benchmarks.case_study.pictures.MAX_BYTES", 30_000)
    figure = Figure(figsize=(4, 4))
    figure.subplots().imshow(np.random.default_rng(0).random((300, 300, 3)))
    save_small(figure, tmp_path / "a.png", dpi=100)
    assert (tmp_path / "a.png").stat().st_size <= 30_000
    assert Image.open(tmp_path / "a.png").width < 400
