"""The contrastive loss against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from models.losses import Temperature, info_nce, symmetric_info_nce


def _logits(seed: int, rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def test_in_batch_info_nce_is_cross_entropy() -> None:
    logits = _logits(0, 5, 5)
    eye = torch.eye(5, dtype=torch.bool)
    expected = F.cross_entropy(logits, torch.arange(5))
    assert torch.allclose(info_nce(logits, eye, ~eye), expected)
    both = (expected + F.cross_entropy(logits.T, torch.arange(5))) / 2
    assert torch.allclose(symmetric_info_nce(logits, eye, ~eye), both)


@pytest.mark.parametrize("removed", [1, 3, 6])
def test_removing_a_hard_negative_lowers_the_loss_by_its_share(removed: int) -> None:
    logits = _logits(1, 1, 7)
    positive = torch.zeros(1, 7, dtype=torch.bool)
    positive[0, 0] = True
    negative = ~positive
    before = info_nce(logits, positive, negative)
    share = logits[0].softmax(dim=0)[removed]
    negative = negative.clone()
    negative[0, removed] = False
    assert torch.allclose(before - info_nce(logits, positive, negative), -torch.log1p(-share))


def test_several_positives_do_not_push_each_other_away() -> None:
    logits = _logits(2, 1, 4).requires_grad_()
    positive = torch.tensor([[True, True, False, False]])
    info_nce(logits, positive, ~positive).backward()
    assert logits.grad is not None
    assert bool((logits.grad[0, :2] < 0).all())
    fixed = logits.detach()
    rest = float(torch.logsumexp(fixed[0, 2:], dim=0))
    expected = sum(math.log1p(math.exp(rest - float(fixed[0, p]))) for p in range(2)) / 2
    assert float(info_nce(fixed, positive, ~positive)) == pytest.approx(expected)


def test_queries_without_positive_or_negative_are_harmless() -> None:
    logits = _logits(3, 3, 3).requires_grad_()
    positive = torch.tensor([[True, False, False], [False, False, False], [False, False, True]])
    negative = torch.tensor([[False, True, True], [True, True, True], [False, False, False]])
    loss = info_nce(logits, positive, negative)
    loss.backward()
    only_first = F.cross_entropy(logits.detach()[:1], torch.tensor([0]))
    # The third query has a positive and no negative: loss zero, but it counts in the mean.
    assert torch.allclose(loss.detach(), only_first / 2)
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
    assert float(logits.grad[1:].abs().max()) == 0.0


def test_a_candidate_cannot_be_both() -> None:
    with pytest.raises(AssertionError):
        info_nce(torch.zeros(1, 1), torch.tensor([[True]]), torch.tensor([[True]]))


def test_temperature_is_clamped_and_can_come_back() -> None:
    temperature = Temperature(start=0.05, lowest=0.01)
    assert float(temperature.scale) == pytest.approx(20.0, rel=1e-5)
    with torch.no_grad():
        temperature.log_scale.fill_(9.0)
    assert float(temperature.scale) == pytest.approx(100.0, rel=1e-4)
    temperature.clamp_()
    temperature.scale.backward()
    assert temperature.log_scale.grad is not None
    assert float(temperature.log_scale.grad) > 0
