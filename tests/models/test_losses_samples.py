"""How much a query counts: signals, and the trust in a pair, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from models.losses import filter_weights, margin_at, query_weight, trust


def test_a_signals_weight_takes_the_rows_place() -> None:
    weights = {"purchase": 1.0, "cart": 0.5, "click": 0.2, "none": 0.7}
    assert query_weight("click", 3.0, weights) == 0.2
    assert query_weight("click", 3.0, None) == 3.0
    with pytest.raises(KeyError):
        query_weight("like", 1.0, weights)


def test_the_margin_falls_on_a_straight_line_and_stays_in_bounds() -> None:
    assert [margin_at(done, 0.2, 0.0) for done in (-1.0, 0.0, 0.25, 1.0, 7.0)] == pytest.approx([0.2, 0.2, 0.15, 0, 0])
    assert margin_at(0.5, 0.3, 0.1) == pytest.approx(0.2)


def test_trust_is_a_sigmoid_around_the_margin() -> None:
    positive, negative = torch.tensor([0.5, 0.9, 0.1]), torch.tensor([0.3, 0.1, 0.6])
    phi = trust(positive, negative, kappa=10.0, margin=0.2)
    assert phi.tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-6)), 1 / (1 + math.exp(7))], rel=1e-4)


def test_pairs_below_the_threshold_count_less_in_proportion() -> None:
    # phi is 0.6 exactly where s_qp - s_qn - m = logit(0.6) / kappa.
    kappa, margin = 10.0, 0.1
    edge = math.log(0.6 / 0.4) / kappa + margin
    positive = torch.tensor([edge + 1e-4, edge - 0.05, margin, -0.5], requires_grad=True)
    weight = filter_weights(positive, torch.zeros(4), kappa=kappa, margin=margin)
    below = 1 / (1 + math.exp(-kappa * (edge - 0.05 - margin)))
    assert weight.tolist() == pytest.approx([1.0, below / 0.6, 0.5 / 0.6, 0.1], rel=1e-4)
    assert not weight.requires_grad
    # No jump at the threshold.
    assert float(filter_weights(torch.tensor([edge - 1e-5]), torch.zeros(1), kappa=kappa, margin=margin)) > 0.999


def test_a_falling_margin_lets_pairs_back_in() -> None:
    positive, negative = torch.tensor([0.35]), torch.tensor([0.2])
    weights = [
        float(filter_weights(positive, negative, kappa=10.0, margin=margin_at(done, 0.3, 0.0))) for done in (0, 0.5, 1)
    ]
    assert weights == sorted(weights)
    assert weights[0] < 0.5
    assert weights[-1] == 1.0


def test_nothing_is_filtered_while_all_vectors_are_alike() -> None:
    weight = filter_weights(torch.full((5,), 0.99), torch.full((5,), 0.99), kappa=10.0, margin=0.2)
    assert len(set(weight.tolist())) == 1
    assert float(weight[0]) > 0.1
