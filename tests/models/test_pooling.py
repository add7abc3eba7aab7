"""Pooling and head against sums done by hand."""

from __future__ import annotations

import pytest
import torch

from models.pooling import balanced_pool, last_pool, mean_by_row, mean_pool, pool, pool_kinds, rarity, word_pool
from models.tokens import PICTURE_TYPES, SLOT_TYPES, WORD_TYPES, TokenType

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


@pytest.mark.parametrize("how", ["mean", "balanced", "last"])
def test_some_kinds_are_pooled_as_if_they_stood_alone(how: str) -> None:
    for kinds in (WORD_TYPES, PICTURE_TYPES, SLOT_TYPES):
        pooled, there = pool_kinds(HIDDEN, TYPES, kinds, how)
        for row, (hidden, types) in enumerate(zip(HIDDEN, TYPES, strict=True)):
            chosen = torch.tensor([int(kind) in kinds for kind in types])
            assert bool(there[row]) == bool(chosen.any())
            alone = pool(hidden[chosen][None], types[chosen][None], how)[0] if chosen.any() else torch.zeros(2)
            assert torch.allclose(pooled[row], alone)


def test_mean_by_row() -> None:
    values = torch.tensor([[1.0], [3.0], [5.0]])
    assert mean_by_row(values, torch.tensor([0, 0, 2]), 3).flatten().tolist() == [2.0, 0.0, 5.0]


def test_word_pool_is_the_mean_of_the_means_of_the_word_types() -> None:
    pooled = word_pool(HIDDEN, TYPES)
    for row, (hidden, types) in enumerate(zip(HIDDEN, TYPES, strict=True)):
        means = [hidden[types == kind].mean(dim=0) for kind in WORD_TYPES if (types == kind).any()]
        expected = torch.stack(means).mean(dim=0) if means else torch.zeros(HIDDEN.shape[-1])
        assert torch.allclose(pooled[row], expected)


def test_rare_words_count_more() -> None:
    weights = torch.rand(TYPES.shape) + 0.1
    pooled = word_pool(HIDDEN, TYPES, weights)
    for row, (hidden, types, own) in enumerate(zip(HIDDEN, TYPES, weights, strict=True)):
        means = [
            (hidden * own.unsqueeze(-1))[types == kind].sum(dim=0) / own[types == kind].sum()
            for kind in WORD_TYPES
            if (types == kind).any()
        ]
        expected = torch.stack(means).mean(dim=0) if means else torch.zeros(HIDDEN.shape[-1])
        assert torch.allclose(pooled[row], expected, atol=1e-6)


def test_a_token_at_the_given_share_counts_half() -> None:
    weights = rarity(torch.tensor([0, 1, 999_999]), 1000, smooth=1e-3)
    assert weights.tolist() == pytest.approx([1.0, 0.5, 0.0], abs=1e-4)


def test_the_last_token_is_found_on_either_side_of_the_padding() -> None:
    types = torch.tensor([[3, 3, 0], [0, 3, 3]])
    hidden = torch.arange(6.0).view(2, 3, 1)
    assert last_pool(hidden, types).flatten().tolist() == [1.0, 5.0]
