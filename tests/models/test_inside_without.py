"""Items without a part: equal to models and items that never had it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from catalog import ProductItem, QueryItem
from models.encoder import MoonEncoder
from models.inside import Left, embed_without, guided_experts_off, left_out, show_product, show_query, unit_vector
from models.inside.without import parts_of
from models.processor import Processor
from models.tokens import TokenType
from tests.models import shop
from tests.models.inside_models import item, lively


def _items() -> list[ProductItem]:
    return [item(shop.noise(1), shop.noise(2)), item(shop.noise(3)), item()]


def _without(encoder: MoonEncoder, part: Left | None) -> np.ndarray:
    return embed_without(encoder, [show_product(encoder, one) for one in _items()], part, batch_size=2)


def _reconfigured(encoder: MoonEncoder, **changes: Any) -> MoonEncoder:
    """The same weights behind a processor of another configuration."""
    old = encoder.processor
    config = encoder.config.model_copy(update=changes)
    processor = Processor(old.tokenizer, config, old.pictures, old.layout, old.template)
    return MoonEncoder(encoder.model, processor, "other")


def test_nothing_left_out_is_the_plain_vector() -> None:
    encoder = lively()
    np.testing.assert_allclose(_without(encoder, None), encoder.embed_products(_items()), atol=1e-6)


@pytest.mark.parametrize(
    ("part", "hide"),
    [
        (Left.TITLE, {"title"}),
        (Left.CATEGORY, {"category"}),
        (Left.ATTRIBUTES, {"attributes.colour", "attributes.use"}),
    ],
)
def test_a_field_left_out_is_a_field_hidden(part: Left, hide: set[str]) -> None:
    encoder = lively()  # its core regions do not depend on the title
    np.testing.assert_allclose(_without(encoder, part), encoder.embed_products(_items(), frozenset(hide)), atol=1e-6)


@pytest.mark.parametrize(("part", "changes"), [(Left.CROPS, {"crops": "none"}), (Left.SLOTS, {"slots": False})])
def test_tokens_left_out_are_tokens_never_written(part: Left, changes: dict[str, Any]) -> None:
    encoder = lively()
    expected = _reconfigured(encoder, **changes).embed_products(_items())
    np.testing.assert_allclose(_without(encoder, part), expected, atol=1e-6)


def test_without_originals_the_crops_stay_crops() -> None:
    encoder = lively()
    shown = show_product(encoder, item(shop.noise(1)))
    alone = embed_without(encoder, [shown], Left.ORIGINALS)
    without_types = copy.deepcopy(shown.encoded.sequence.types)
    assert TokenType.IMAGE in without_types
    kept = _reconfigured(encoder, crops="none")
    photo = shown.encoded.squares[1]
    as_original = kept.embed_products([item(_picture(photo))])
    # Same square, same place, another token type: close under this model, and not the same.
    assert not np.allclose(alone, as_original, atol=1e-4)
    assert not np.allclose(alone, embed_without(encoder, [shown], Left.CROPS), atol=1e-4)


def _picture(square: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(square)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (Left.VISION_RESIDUAL, "vision"),
        (Left.COLOUR_RESIDUAL, "colours"),
        (Left.WORD_RESIDUAL, "words"),
        (Left.CODE_RESIDUAL, "codes"),
    ],
)
def test_a_residual_left_out_is_a_gate_shut(part: Left, name: str) -> None:
    encoder = lively(colour_residual=True, code_residual=True)
    found = _without(encoder, part)
    with torch.no_grad():
        encoder.model.head.residuals[name].gate.zero_()
    np.testing.assert_allclose(found, encoder.embed_products(_items()), atol=1e-6)


def test_guided_experts_off_are_guided_experts_at_zero() -> None:
    encoder = lively()
    plain = encoder.embed_products(_items())
    found = _without(encoder, Left.GUIDED_EXPERTS)
    assert not np.allclose(found, plain, atol=1e-4)
    np.testing.assert_array_equal(encoder.embed_products(_items()), plain)
    with torch.no_grad():
        for moe in encoder.model.moes:
            moe.guided.w_out.zero_()
    np.testing.assert_allclose(found, encoder.embed_products(_items()), atol=1e-6)


def test_under_switch_the_routed_experts_take_over() -> None:
    moe = {"layers": (-1,), "num_experts": 3, "top_k": 2, "rank": 4, "combination": "switch"}
    encoder = lively(moe=moe)
    seen = [layer.in_view for layer in encoder.model.moes]
    shown = show_product(encoder, item(shop.noise(1)))
    plain = unit_vector(encoder, shown)
    from models.moe import recording

    with guided_experts_off(encoder.model), recording(encoder.model.moes) as layers:
        off = unit_vector(encoder, shown)
    assert bool((layers[0][0].guided_BL == -1).all())
    assert bool((layers[0][0].expert_BLK >= 0).all())
    assert not torch.allclose(plain, off, atol=1e-4)
    assert [layer.in_view for layer in encoder.model.moes] == seen
    assert torch.equal(unit_vector(encoder, shown), plain)


def test_only_parts_that_are_there_can_be_left_out() -> None:
    encoder = lively()
    everything = set(Left) - {Left.COLOUR_RESIDUAL, Left.CODE_RESIDUAL}
    assert set(parts_of(encoder, show_product(encoder, item(shop.noise(1))))) == everything
    words = {Left.TITLE, Left.SLOTS, Left.WORD_RESIDUAL, Left.GUIDED_EXPERTS}
    assert set(parts_of(encoder, show_query(encoder, "red"))) == words
    photo = QueryItem("q", None, shop.photo_of(shop.noise(2)))
    seen = {Left.ORIGINALS, Left.CROPS, Left.SLOTS, Left.VISION_RESIDUAL, Left.GUIDED_EXPERTS}
    assert set(parts_of(encoder, show_query(encoder, photo))) == seen
    late = lively(fusion="late", moe={"layers": ()})
    assert Left.VISION_RESIDUAL not in parts_of(late, show_product(late, item(shop.noise(1))))
    assert Left.GUIDED_EXPERTS not in parts_of(late, show_product(late, item(shop.noise(1))))


@pytest.mark.parametrize("changes", [{}, {"fusion": "late", "colour_residual": True}], ids=str)
def test_left_out_gives_a_cosine_for_every_part(changes: dict[str, object]) -> None:
    encoder = lively(**changes)
    target = unit_vector(encoder, show_query(encoder, "red mug"))
    for shown in (
        show_product(encoder, item(shop.noise(1))),
        show_query(encoder, QueryItem("both", "red", shop.photo_of(shop.noise(2)))),
    ):
        found = left_out(encoder, shown, target)
        assert tuple(found) == parts_of(encoder, shown)
        assert all(-1.001 <= value <= 1.001 for value in found.values())


def test_a_query_without_its_words_is_its_photograph() -> None:
    encoder = lively()
    photo = shop.photo_of(shop.noise(2))
    both = show_query(encoder, QueryItem("both", "red", photo))
    found = embed_without(encoder, [both], Left.TITLE)
    np.testing.assert_allclose(found, encoder.embed_queries([QueryItem("photo", None, photo)]), atol=1e-6)
