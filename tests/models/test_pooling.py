"""Pooling and head against sums done by hand."""

from __future__ import annotations

import torch

from models.pooling import Head, balanced_pool, matryoshka, mean_by_row, mean_pool
from models.tokens import TokenType

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
    head = Head(6, 4, 8, vision_residual=True)
    hidden, vision = torch.randn(3, 6), torch.randn(3, 4)
    assert head.gate is not None
    assert float(head.gate) == 1.0
    here, nowhere = torch.tensor([True] * 3), torch.tensor([False] * 3)
    plain = torch.nn.functional.normalize(head.project(head.norm(hidden)), dim=-1)
    assert not torch.allclose(head(hidden, vision, here), plain, atol=1e-3)
    assert torch.allclose(head(hidden, vision, nowhere), plain, atol=1e-6)
    with torch.no_grad():
        head.gate.zero_()
    assert torch.allclose(head(hidden, vision, here), plain, atol=1e-6)
    without = Head(6, 4, 8, vision_residual=False)
    assert torch.equal(without(hidden, vision, here), without(hidden, -vision, here))


def test_matryoshka_prefixes_are_unit_vectors() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(5, 16), dim=-1)
    short = matryoshka(vectors, 4)
    assert short.shape == (5, 4)
    assert torch.allclose(short.norm(dim=-1), torch.ones(5))
    assert torch.allclose(torch.nn.functional.cosine_similarity(short, vectors[:, :4]), torch.ones(5))
