"""Pooling and head against sums done by hand."""

from __future__ import annotations

import torch

from models.pooling import Head, balanced_pool, matryoshka, mean_by_row, mean_pool, word_pool
from models.tokens import WORD_TYPES, TokenType

TYPES = torch.tensor(
    [
        [TokenType.IMAGE, TokenType.IMAGE, TokenType.IMAGE, TokenType.OTHER, TokenType.TITLE],
        [TokenType.OTHER, TokenType.OTHER, TokenType.PAD, TokenType.PAD, TokenType.PAD],
    ]
)
HIDDEN = torch.arange(20, dtype=torch.float32).view(2, 5, 2)


def test_mean_leaves_padding_out() -> None:
    pooled = mean_pool(HIDDEN, TYPES)
    assert torch.allclose(pooled[0], HIDDEN[0].mean(dim=0))
    assert torch.allclose(pooled[1], HIDDEN[1, :2].mean(dim=0))


def test_balanced_gives_each_type_one_voice_and_the_template_none() -> None:
    pooled = balanced_pool(HIDDEN, TYPES)
    assert torch.allclose(pooled[0], (HIDDEN[0, :3].mean(dim=0) + HIDDEN[0, 4]) / 2)
    assert torch.allclose(pooled[1], HIDDEN[1, :2].mean(dim=0))


def test_mean_by_row() -> None:
    values = torch.tensor([[1.0], [3.0], [5.0]])
    assert mean_by_row(values, torch.tensor([0, 0, 2]), 3).flatten().tolist() == [2.0, 0.0, 5.0]


def test_the_gate_decides_about_the_residual() -> None:
    torch.manual_seed(0)
    head = Head(6, 4, 8, vision_residual=True, word_residual=False)
    hidden, vision = torch.randn(3, 6), torch.randn(3, 4)
    assert head.gate is not None
    assert float(head.gate) == 1.0
    here, nowhere = torch.tensor([True] * 3), torch.tensor([False] * 3)
    words = (torch.randn(3, 6), here)
    plain = torch.nn.functional.normalize(head.project(head.norm(hidden)), dim=-1)
    assert not torch.allclose(head(hidden, vision, here, *words), plain, atol=1e-3)
    assert torch.allclose(head(hidden, vision, nowhere, *words), plain, atol=1e-6)
    with torch.no_grad():
        head.gate.zero_()
    assert torch.allclose(head(hidden, vision, here, *words), plain, atol=1e-6)
    without = Head(6, 4, 8, vision_residual=False, word_residual=False)
    assert torch.equal(without(hidden, vision, here, *words), without(hidden, -vision, here, *words))


def test_the_word_residual_starts_silent_and_is_heard_where_words_are() -> None:
    torch.manual_seed(0)
    head = Head(6, 4, 8, vision_residual=False, word_residual=True)
    hidden, words = torch.randn(3, 6), torch.randn(3, 6)
    pictures = (torch.zeros(3, 4), torch.tensor([False] * 3))
    some = torch.tensor([True, False, True])
    plain = torch.nn.functional.normalize(head.project(head.norm(hidden)), dim=-1)
    assert torch.allclose(head(hidden, *pictures, words, some), plain, atol=1e-6)
    assert head.word_project is not None
    torch.nn.init.normal_(head.word_project.weight)
    heard = (head(hidden, *pictures, words, some) - plain).abs().amax(dim=-1) > 1e-3
    assert heard.tolist() == some.tolist()


def test_word_pool_is_the_mean_of_the_means_of_the_word_types() -> None:
    pooled = word_pool(HIDDEN, TYPES)
    for row, (hidden, types) in enumerate(zip(HIDDEN, TYPES, strict=True)):
        means = [hidden[types == kind].mean(dim=0) for kind in WORD_TYPES if (types == kind).any()]
        expected = torch.stack(means).mean(dim=0) if means else torch.zeros(HIDDEN.shape[-1])
        assert torch.allclose(pooled[row], expected)


def test_matryoshka_prefixes_are_unit_vectors() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(5, 16), dim=-1)
    short = matryoshka(vectors, 4)
    assert short.shape == (5, 4)
    assert torch.allclose(short.norm(dim=-1), torch.ones(5))
    assert torch.allclose(torch.nn.functional.cosine_similarity(short, vectors[:, :4]), torch.ones(5))
