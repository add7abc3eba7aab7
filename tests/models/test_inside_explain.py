"""The whole explanation, its figures, and the experts that fired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from catalog import ModelError, QueryItem
from models.inside import HeatConfig, experts_fired, explain, show_product, show_query
from models.inside.figures import draw_experts, draw_maps, draw_parts, figures_of
from models.moe import recording
from models.processor import Processor
from models.tokens import TokenType
from tests.models import shop
from tests.models.inside_models import item, lively

QUICK = HeatConfig(cells=3, window_cells=1)


def test_an_explanation_holds_both_sides() -> None:
    encoder = lively()
    query = QueryItem("q", "red", shop.photo_of(shop.noise(9)))
    mug = item(shop.noise(1), shop.noise(2))
    found = explain(encoder, mug, query, heat=QUICK)
    cosine = float((encoder.embed_products([mug]) @ encoder.embed_queries([query]).T)[0, 0])
    assert found.cosine == pytest.approx(cosine, abs=1e-6)
    assert found.query is not None
    assert (found.product.name, found.query.name) == ("mug", "q")
    assert (found.product.text, found.query.text) == ("red mug", "red")
    assert (len(found.product.maps), len(found.query.maps)) == (2, 1)
    for side in (found.product, found.query):
        assert sum(part.cosine for part in side.parts) == pytest.approx(cosine, abs=2e-6)
        assert len(side.experts) == 1


def test_words_alone_a_label_and_no_query_at_all() -> None:
    encoder = lively()
    mug = item(shop.noise(1))
    text = explain(encoder, mug, QueryItem("q", "red"), heat=QUICK)
    assert text.query is not None
    assert text.query.maps == ()
    label = explain(encoder, mug, "Home > Mug", heat=QUICK)
    assert label.query is not None
    assert label.query.text == "Home > Mug"
    own = explain(encoder, mug, heat=QUICK)
    assert own.query is None
    assert own.cosine == pytest.approx(1.0, abs=1e-6)
    assert sum(part.cosine for part in own.product.parts) == pytest.approx(1.0, abs=2e-6)


def test_an_item_without_photographs_has_no_map_and_says_so() -> None:
    found = explain(lively(), item(), "red mug", heat=QUICK)
    assert found.product.maps == ()
    assert {part.path for part in found.product.parts} == {"fused", "words"}
    figure = draw_maps(found.product)
    assert [text.get_text() for text in figure.texts if text.get_text() == "no photograph"]
    assert not [name for name in figures_of(found) if name.endswith("maps")]


def test_hidden_fields_are_gone_from_the_explanation() -> None:
    found = explain(lively(), item(shop.noise(1)), "red", frozenset({"title", "images"}), QUICK)
    assert found.product.maps == ()
    assert found.product.text == ""
    assert TokenType.TITLE not in {part.kind for part in found.product.parts}


def test_the_same_every_time() -> None:
    one, other = (explain(lively(), item(shop.noise(1)), "red mug", heat=QUICK) for _ in range(2))
    np.testing.assert_array_equal(one.product.maps[0].heat, other.product.maps[0].heat)
    assert one.product.parts == other.product.parts
    assert one.product.without == other.product.without


def test_only_squares_that_can_be_traced_are_explained() -> None:
    class Other:
        def squares(self, *_: object) -> np.ndarray:
            return np.zeros((2, 32, 32, 3), np.uint8)

    encoder = lively()
    old = encoder.processor
    encoder.processor = Processor(old.tokenizer, old.config, Other(), old.layout, old.template)
    with pytest.raises(ModelError, match="traced back"):
        explain(encoder, item(shop.noise(1)))


@pytest.mark.parametrize("combination", ["additive", "switch"])
def test_experts_against_a_loop_over_the_tokens(combination: str) -> None:
    moe = {"layers": (0, 1), "num_experts": 3, "top_k": 2, "rank": 4, "combination": combination}
    encoder = lively(moe=moe)
    shown = show_product(encoder, item(shop.noise(1)))
    layers = experts_fired(encoder, shown)
    with torch.no_grad(), recording(encoder.model.moes) as recorded:
        encoder.model(shown.batch(encoder.processor, encoder.processor.pixels(shown.encoded.squares)))
    assert [layer.layer for layer in layers] == [0, 1]
    for layer, passes in zip(layers, recorded, strict=True):
        for row, kind in enumerate(layer.kinds):
            places = [place for place, one in enumerate(shown.encoded.sequence.types) if one == kind]
            naive = np.zeros(3)
            for place in places:
                for expert, gate in zip(
                    passes[0].expert_BLK[0, place].tolist(), passes[0].gate_BLK[0, place].tolist(), strict=True
                ):
                    if expert >= 0:
                        naive[expert] += gate / len(places)
            np.testing.assert_allclose(layer.share_KE[row], naive, atol=1e-6)
            assert layer.num_tokens[row] == len(places)
        guides = dict(zip(layer.kinds, layer.guides, strict=True))
        assert guides[TokenType.CATEGORY] == guides[TokenType.CATEGORY_SLOT] == "category"
        assert guides[TokenType.ATTRIBUTE] == guides[TokenType.ATTRIBUTE_SLOT] == "attribute"
        assert guides[TokenType.TITLE] == guides[TokenType.IMAGE] == ""
        sums = layer.share_KE.sum(axis=1)
        routed = [not (combination == "switch" and guide) for guide in layer.guides]
        np.testing.assert_allclose(sums, np.array(routed, float), atol=1e-5)


def test_a_query_meets_the_guided_experts_in_its_slots() -> None:
    encoder = lively()
    (layer,) = experts_fired(encoder, show_query(encoder, "red mug"))
    guides = dict(zip(layer.kinds, layer.guides, strict=True))
    assert guides[TokenType.CATEGORY_SLOT] == "category"
    assert guides[TokenType.ATTRIBUTE_SLOT] == "attribute"


def test_figures_are_drawn_and_can_be_saved(tmp_path: Path) -> None:
    encoder = lively()
    wide = Image.effect_noise((60, 30), 60).convert("RGB")
    query = QueryItem("q", "red", shop.photo_of(wide))
    found = explain(encoder, item(wide, shop.noise(2), box=(5.0, 5.0, 20.0, 25.0)), query, heat=QUICK)
    figures = figures_of(found, "mug")
    kinds = ("maps", "parts", "experts")
    assert set(figures) == {f"mug/{side}_{kind}" for side in ("product", "query") for kind in kinds}
    for name, figure in figures.items():
        path = tmp_path / f"{name.replace('/', '_')}.png"
        figure.savefig(path, dpi=40)
        assert path.stat().st_size > 500
    # Two photographs: the plain one, its map, and each view apart.
    assert len(figures["mug/product_maps"].axes) == 8
    bars = figures["mug/product_parts"].axes[0]
    assert sum(bar.get_width() for bar in bars.patches) == pytest.approx(found.cosine, abs=0.01)


def test_a_dense_model_has_no_experts() -> None:
    encoder = lively(moe={"layers": ()})
    found = explain(encoder, item(shop.noise(1)), "red", heat=QUICK)
    assert found.product.experts == ()
    assert "a dense model: no experts" in [text.get_text() for text in draw_experts(()).texts]
    assert draw_parts(found.product, found.cosine).axes
