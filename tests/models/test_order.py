"""What stands first in a sequence, and who therefore sees whom."""

from __future__ import annotations

import pytest
import torch

from catalog import QueryItem
from models.encoder import MoonEncoder
from models.inside.shown import show_product, show_query
from models.moon import MoonModel
from models.tokens import PICTURE_TYPES, WORD_TYPES, TokenType
from tests.models import shop
from tests.models.inside_models import item, lively


def _states(encoder: MoonEncoder, photos: int, hide: frozenset[str] = frozenset()) -> tuple[torch.Tensor, torch.Tensor]:
    shown = show_product(encoder, item(*(shop.noise(seed) for seed in range(photos))), hide)
    batch = shown.batch(encoder.processor, encoder.processor.pixels(shown.encoded.squares))
    model: MoonModel = encoder.model
    with torch.no_grad():
        signals = model.signals(batch)
    return signals.of_words_BD[0], signals.of_pictures_BD[0]


@pytest.mark.parametrize("order", ["words_first", "pictures_first"])
def test_only_what_stands_later_sees_the_other(order: str) -> None:
    # Guided routing looks at the whole item on purpose.
    encoder = lively(order=order, head="parts", moe={"layers": ()})
    words_alone, _ = _states(encoder, 0)
    words, pictures = _states(encoder, 2)
    _, pictures_untitled = _states(encoder, 2, frozenset({"title"}))
    first = order == "words_first"
    assert torch.allclose(words, words_alone, atol=1e-5) == first
    assert torch.allclose(pictures, pictures_untitled, atol=1e-5) != first


@pytest.mark.parametrize("order", ["words_first", "pictures_first"])
def test_slots_stand_last(order: str) -> None:
    encoder = lively(order=order)
    for shown in (show_product(encoder, item(shop.noise(1))), show_query(encoder, QueryItem("q", "red mug"))):
        types = shown.encoded.sequence.types
        assert types[-2:] == [TokenType.CATEGORY_SLOT, TokenType.ATTRIBUTE_SLOT]
        pictures = [place for place, kind in enumerate(types) if kind in PICTURE_TYPES]
        words = [place for place, kind in enumerate(types) if kind in WORD_TYPES]
        if pictures:
            assert (max(words) < min(pictures)) == (order == "words_first")
            assert (max(pictures) < min(words)) == (order == "pictures_first")
