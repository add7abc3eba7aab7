"""Parts of a cosine: they sum to it, and each is what the module it comes from adds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from catalog import QueryItem
from models.encoder import MoonEncoder
from models.inside import Part, by_kind, contributions, show_product, show_query, unit_vector
from models.inside.contributions import FUSED
from models.inside.shown import Shown
from models.tokens import TokenType
from tests.models import shop
from tests.models.inside_models import item, lively

CONFIGS: list[dict[str, object]] = [
    {},
    {"pooling": "mean"},
    {"pooling": "last"},
    {"head": "heads", "residual_start": "open"},
    {"head": "parts", "colour_residual": True},
    {"head": "parts", "code_residual": True, "residual_start": "open", "vision_residual": False},
    {"word_weights": "rare"},
    {"colour_residual": True},
    {"code_residual": True, "residual_start": "open"},
    {"fusion": "late", "code_residual": True, "residual_start": "open", "head": "heads"},
    {"vision_residual": False, "word_residual": False},
    {"slots": False, "crops": "none"},
    {"fusion": "late"},
    {"fusion": "late", "code_residual": True, "vision_residual": False, "head": "heads"},
    {"fusion": "late", "colour_residual": True, "word_residual": False},
    {"moe": {"layers": ()}},
]


def _sides(encoder: MoonEncoder) -> list[Shown]:
    return [
        show_product(encoder, item(shop.noise(1), shop.noise(2))),
        show_product(encoder, item(shop.noise(1)), frozenset({"title", "attributes.colour"})),
        show_product(encoder, item()),
        show_query(encoder, QueryItem("both", "red mug", shop.photo_of(shop.noise(4)))),
        show_query(encoder, QueryItem("photo", None, shop.photo_of(shop.noise(5)))),
        show_query(encoder, QueryItem("text", "blue")),
        show_query(encoder, "Home > Mug"),
        show_query(encoder, QueryItem("nothing")),
    ]


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_the_parts_sum_to_the_cosine(changes: dict[str, object]) -> None:
    encoder = lively(**changes)
    if "word_weights" in changes:
        encoder.model.token_weights.uniform_(0.2, 1.0, generator=torch.Generator().manual_seed(0))
    target = unit_vector(encoder, show_query(encoder, "red mug for the kitchen"))
    for shown in _sides(encoder):
        parts = contributions(encoder, shown, target)
        whole = float(unit_vector(encoder, shown).double() @ target.double())
        assert sum(part.cosine for part in parts) == pytest.approx(whole, abs=2e-6), shown.name
        assert sum(by_kind(parts).values()) == pytest.approx(whole, abs=2e-6)


@contextmanager
def _watched(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    found: list[torch.Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: found.append(output.detach()))
    yield found
    hook.remove()


def _of_path(parts: tuple[Part, ...], path: str) -> float:
    return sum(part.cosine for part in parts if part.path == path)


def test_a_path_brings_what_its_module_adds() -> None:
    encoder = lively(colour_residual=True)
    shown = show_product(encoder, item(shop.noise(1), shop.noise(2)))
    target = unit_vector(encoder, show_query(encoder, "red mug"))
    parts = contributions(encoder, shown, target)
    head = encoder.model.head
    added = {}
    for path, module in {FUSED: head.project, **dict(head.residuals.items())}.items():
        with _watched(module) as outputs:
            unit_vector(encoder, shown)
        added[path] = outputs[-1][0].double()
    length = torch.stack(list(added.values())).sum(dim=0).norm()
    assert set(added) == {FUSED, "vision", "colours", "words"}
    for path, vector in added.items():
        assert _of_path(parts, path) == pytest.approx(float(vector @ target.double() / length), abs=1e-6)


def test_the_share_of_a_kind_under_the_mean_is_that_of_its_tokens() -> None:
    """With no layer norm weights and plain means, a naive loop over the positions gives the same parts."""
    encoder = lively(pooling="mean", vision_residual=False, word_residual=False)
    shown = show_product(encoder, item(shop.noise(1)))
    target = unit_vector(encoder, show_query(encoder, "red mug"))
    found = {part.kind: part.cosine for part in contributions(encoder, shown, target) if part.num_tokens}
    model, head = encoder.model, encoder.model.head
    with torch.no_grad():
        batch = shown.batch(encoder.processor, encoder.processor.pixels(shown.encoded.squares))
        hidden = model.hidden_states(batch, model.encode_pictures(batch.pixels_NCHW))[0]
        pooled = hidden.mean(dim=0)
        spread = (pooled.var(correction=0) + head.norm.eps).sqrt()
        length = head.project(head.norm(pooled)).norm()
        naive: dict[TokenType, float] = {}
        for position, kind in zip(hidden, shown.encoded.sequence.types, strict=True):
            share = (position - position.mean()) / len(hidden) / spread * head.norm.weight
            naive[TokenType(kind)] = naive.get(TokenType(kind), 0.0) + float(head.project(share) @ target / length)
    assert found.keys() == naive.keys()
    for kind, value in naive.items():
        assert found[kind] == pytest.approx(value, abs=1e-6)


def test_parts_name_their_tokens_and_pictures() -> None:
    encoder = lively()
    shown = show_product(encoder, item(shop.noise(1), shop.noise(2)))
    parts = contributions(encoder, shown, unit_vector(encoder, shown))
    found = {part.label: part.num_tokens for part in parts}
    per_picture = encoder.processor.layout.num_tokens
    assert found["states: image"] == found["states: crop"] == 2 * per_picture
    assert found["vision: image"] == found["vision: crop"] == 2
    assert found["states: category slot"] == found["states: attribute slot"] == 1
    assert {"words: title", "words: category", "words: attribute", "states: offset"} <= found.keys()
    assert "states: other" not in found  # the template does not count under balanced pooling


def test_a_text_query_has_no_picture_parts() -> None:
    encoder = lively()
    parts = contributions(encoder, show_query(encoder, "red mug"), unit_vector(encoder, show_query(encoder, "blue")))
    assert {part.path for part in parts} == {FUSED, "words"}
    assert {part.kind for part in parts} == {
        TokenType.TITLE, TokenType.CATEGORY_SLOT, TokenType.ATTRIBUTE_SLOT, None
    }  # fmt: skip
