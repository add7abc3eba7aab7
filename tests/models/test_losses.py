"""The contrastive loss against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from models.heads import matryoshka
from models.losses import Temperature, each_info_nce, mean_over_ranks, means_by_view, over_dims, similarities
from tests.models.mean_info_nce import info_nce, symmetric_info_nce


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
    assert float(temperature.scale.detach()) == pytest.approx(20.0, rel=1e-5)
    assert float(temperature.value) == pytest.approx(0.05, rel=1e-5)
    with torch.no_grad():
        temperature.log_scale.fill_(9.0)
    assert float(temperature.scale.detach()) == pytest.approx(100.0, rel=1e-4)
    # What is logged is the temperature in use, not the parameter beyond its bound.
    assert float(temperature.value) == pytest.approx(0.01, rel=1e-4)
    assert not temperature.value.requires_grad
    temperature.clamp_()
    temperature.scale.backward()
    assert temperature.log_scale.grad is not None
    assert float(temperature.log_scale.grad) > 0


def test_a_sharper_temperature_is_learnt_down_to_the_floor_and_not_below() -> None:
    # The positive is ahead, so the loss falls for ever as the temperature does.
    temperature = Temperature(start=0.05, lowest=0.02)
    cosines, eye = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.eye(2, dtype=torch.bool)
    optimizer = torch.optim.Adam(temperature.parameters(), lr=0.2)
    logged = []
    for _ in range(12):
        optimizer.zero_grad()
        info_nce(cosines * temperature.scale, eye, ~eye).backward()
        optimizer.step()
        temperature.clamp_()
        logged.append(float(temperature.value))
    assert logged == sorted(logged, reverse=True)
    assert logged[-1] == pytest.approx(0.02, rel=1e-3)
    assert min(logged) >= 0.02


@pytest.mark.parametrize("start", [1.0, 1e2, 1e6])
def test_a_temperature_needs_no_ceiling(start: float) -> None:
    """Its derivative and the loss in closed form, where the temperature is so high that all logits are near zero."""
    temperature = Temperature(start, lowest=0.01).double()
    cosines, eye = torch.tensor([[0.3, 0.1, -0.2], [0.2, 0.4, 0.3], [0.0, 0.1, 0.2]]).double(), torch.eye(3).bool()
    loss = info_nce(cosines * temperature.scale, eye, ~eye)
    loss.backward()
    assert temperature.log_scale.grad is not None
    # d loss / d log scale = scale (mean cosine under the softmax - cosine of the positive): descent sharpens.
    share = (cosines / start).softmax(dim=1)
    expected = ((share * cosines).sum(dim=1) - cosines.diagonal()).mean() / start
    assert float(temperature.log_scale.grad) == pytest.approx(float(expected), rel=1e-5)
    assert float(expected) < 0.0
    # Positives behind all others would have it rise for ever, towards a loss that is bounded.
    behind = info_nce(-cosines * temperature.scale.detach(), eye, ~eye)
    assert math.log(3) < float(behind) < math.log(3) + 1.0 / start


def _naive(logits: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, beta: torch.Tensor) -> list[float]:
    losses = []
    for i in range(len(logits)):
        rest = sum(
            float(beta[i, n]) * math.exp(float(logits[i, n])) for n in range(logits.shape[1]) if bool(negative[i, n])
        )
        each = [
            -math.log(math.exp(float(logits[i, p])) / (math.exp(float(logits[i, p])) + rest))
            for p in range(logits.shape[1])
            if bool(positive[i, p])
        ]
        losses.append(sum(each) / len(each) if each else 0.0)
    return losses


@pytest.mark.parametrize("seed", range(5))
def test_a_pool_larger_than_the_batch_by_a_naive_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = _logits(seed, 4, 11)
    kind = torch.randint(0, 3, (4, 11), generator=generator)
    positive, negative = kind == 0, kind == 1
    beta = torch.where(torch.rand(4, 11, generator=generator) < 0.5, 3.0, 1.0).double()
    expected = torch.tensor(_naive(logits, positive, negative, beta), dtype=torch.float64)
    assert torch.allclose(each_info_nce(logits, positive, negative, beta.log()), expected)
    weight = torch.tensor([1.0, 0.5, 0.2, 0.0], dtype=torch.float64) * positive.any(dim=1)
    mean = (weight * expected).sum() / weight.sum()
    assert torch.allclose(info_nce(logits, positive, negative, weight, beta.log()), mean)
    assert torch.allclose(mean_over_ranks(expected, weight), mean)


def test_more_candidates_only_ever_raise_the_loss() -> None:
    logits = _logits(7, 3, 9)
    positive = torch.eye(3, 9, dtype=torch.bool)
    losses = [each_info_nce(logits[:, :size], positive[:, :size], ~positive[:, :size]) for size in (3, 5, 9)]
    assert bool((losses[0] < losses[1]).all() and (losses[1] < losses[2]).all())


def test_a_negative_of_weight_two_is_that_negative_twice() -> None:
    logits = _logits(8, 2, 4)
    positive = torch.eye(2, 4, dtype=torch.bool)
    log_weight = torch.zeros(2, 4, dtype=torch.float64)
    log_weight[:, 3] = math.log(2.0)
    twice = torch.cat((logits, logits[:, 3:]), dim=1)
    positive_twice = torch.eye(2, 5, dtype=torch.bool)
    assert torch.allclose(
        each_info_nce(logits, positive, ~positive, log_weight), each_info_nce(twice, positive_twice, ~positive_twice)
    )


def test_a_weighted_query_counts_like_so_many_and_its_weight_has_no_gradient() -> None:
    logits = _logits(9, 2, 5)
    positive = torch.eye(2, 5, dtype=torch.bool)
    weight = torch.tensor([3.0, 1.0], requires_grad=True)
    repeated = torch.tensor([0, 0, 0, 1])
    expected = info_nce(logits[repeated], positive[repeated], ~positive[repeated])
    logits.requires_grad_()
    loss = info_nce(logits, positive, ~positive, weight)
    assert torch.allclose(loss, expected)
    loss.backward()
    assert weight.grad is None
    # Only ratios count.
    assert torch.allclose(info_nce(logits, positive, ~positive, weight * 0.01), expected)


def test_no_weight_at_all_is_a_loss_of_zero_with_a_gradient_of_zero() -> None:
    logits = _logits(10, 2, 3).float().requires_grad_()
    positive = torch.eye(2, 3, dtype=torch.bool)
    none = torch.zeros(2)
    (info_nce(logits, positive, ~positive, none) + mean_over_ranks(logits.sum(dim=1), none)).backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == 0.0


def test_the_symmetric_loss_weighs_each_side_on_its_own() -> None:
    logits, eye = _logits(11, 3, 3), torch.eye(3, dtype=torch.bool)
    ours = symmetric_info_nce(logits, eye, ~eye, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    row = F.cross_entropy(logits[:1], torch.tensor([0]))
    column = F.cross_entropy(logits.T[2:], torch.tensor([2]))
    assert torch.allclose(ours, (row + column) / 2)


def test_means_by_view_are_the_means_of_the_parts() -> None:
    loss, weight = torch.tensor([1.0, 2.0, 4.0, 9.0]), torch.tensor([1.0, 1.0, 3.0, 0.0])
    mean, share = means_by_view(loss, weight, torch.tensor([0, 2, 2, 1]), 4)
    assert torch.allclose(mean, torch.tensor([1.0, 0.0, 3.5, 0.0]))
    assert torch.allclose(share, torch.tensor([0.2, 0.0, 0.8, 0.0]))
    assert torch.allclose((mean * share).sum(), mean_over_ranks(loss, weight))


def test_matryoshka_is_the_mean_over_normalised_prefixes() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (F.normalize(torch.randn(4, 8, generator=generator), dim=1) for _ in range(2))
    eye = torch.eye(4, dtype=torch.bool)

    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return each_info_nce(similarities(a, b) * 10, eye, ~eye)

    expected = torch.zeros(4)
    for dims in (2, 8):
        a, b = left[:, :dims], right[:, :dims]
        cosine = (a @ b.T) / (a.norm(dim=1, keepdim=True) * b.norm(dim=1))
        expected += F.cross_entropy(cosine * 10, torch.arange(4), reduction="none") / 2
    assert torch.allclose(over_dims(loss, (2, 8), left, right), expected, atol=1e-5)
    assert torch.allclose(over_dims(loss, (8,), left, right), loss(matryoshka(left, 8), right), atol=1e-5)


def test_similarities_stay_exact_under_autocast() -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = (F.normalize(torch.randn(6, 32, generator=generator), dim=1) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        assert (left @ right.T).dtype is torch.bfloat16
        inside = similarities(left, right)
    assert inside.dtype is torch.float32
    assert torch.equal(inside, left @ right.T)
    assert similarities(left.double(), right).dtype is torch.float64
