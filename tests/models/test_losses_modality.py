"""Weights between objectives: the formula by hand, the constant sum, the floor, the sparsity."""

from __future__ import annotations

import math

import pytest
import torch

from models.losses import ModalityWeights

NAMES = ("image", "text", "both")


def _gates(seed: int, num: int, experts: int = 4) -> torch.Tensor:
    return torch.randn(num, experts, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)


def _learnt(floor: float, seed: int = 0) -> ModalityWeights:
    weights = ModalityWeights(4, NAMES, floor)
    with torch.no_grad():
        weights.alignment_ZM.copy_(torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)))
    return weights


@pytest.mark.parametrize("floor", [0.0, 0.25, 1.0])
def test_the_formula_by_a_naive_loop(floor: float) -> None:
    module = _learnt(floor)
    gates = {"image": _gates(1, 5), "text": _gates(2, 2), "both": _gates(3, 1)}
    matrix = module.alignment_ZM.detach()
    omega = {}
    for m, name in enumerate(NAMES):
        total = 0.0
        for row in gates[name].tolist():
            for z, mass in enumerate(row):
                p = [math.exp(float(value)) for value in matrix[z]]
                total += p[m] / sum(p) * mass
        omega[name] = total / len(gates[name])
    found = {name: float(value.detach()) for name, value in module(gates).items()}
    assert sum(found.values()) == pytest.approx(3.0)
    for name in NAMES:
        assert found[name] == pytest.approx(3 * (1 - floor) * omega[name] / sum(omega.values()) + floor, rel=1e-5)


def test_of_one_batch_the_papers_weights_sum_to_one_already() -> None:
    # The same items for all objectives: only the scale M is ours then, not the proportions.
    module, gates = _learnt(0.0), _gates(4, 6)
    p = module.alignment_ZM.detach().softmax(dim=1)
    omega = (gates @ p).mean(dim=0)
    assert float(omega.sum()) == pytest.approx(1.0)
    found = torch.stack(list(module(dict.fromkeys(NAMES, gates)).values()))
    assert torch.allclose(found, 3 * omega)


def test_training_starts_from_equal_weights() -> None:
    module = ModalityWeights(4, NAMES)
    gates = {name: _gates(number, 3) for number, name in enumerate(NAMES)}
    assert torch.allclose(torch.stack(list(module(gates).values())), torch.ones(3))
    assert float(module.sparsity().detach()) == pytest.approx(math.log(3))
    assert {name: float(value) for name, value in module.report().items()} == pytest.approx(
        {f"modality/{name}": 1 / 3 for name in NAMES}
    )


def test_objectives_without_items_leave_the_sum() -> None:
    found = _learnt(0.25)({"image": _gates(0, 3), "text": _gates(1, 0)})
    assert found.keys() == {"image"}
    assert float(found["image"].detach()) == pytest.approx(1.0)
    assert _learnt(0.25)({}) == {}
    with pytest.raises(AssertionError, match="no such objective"):
        _learnt(0.25)({"video": _gates(0, 1)})


def _weights_after_training(floor: float) -> dict[str, float]:
    """Losses that nothing can lower: all that can be learnt is to look away."""
    module = ModalityWeights(4, NAMES, floor)
    gates = {name: _gates(number, 8) for number, name in enumerate(NAMES)}
    losses = {"image": 0.5, "text": 2.0, "both": 1.0}
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        torch.stack([weight * losses[name] for name, weight in module(gates).items()]).sum().backward()
        optimizer.step()
    return {name: float(value.detach()) for name, value in module(gates).items()}


def test_learnt_weights_drift_to_the_easy_objective_down_to_the_floor() -> None:
    free, held = _weights_after_training(0.0), _weights_after_training(0.25)
    assert free["text"] < 0.01
    assert held["text"] == pytest.approx(0.25, abs=0.02)
    assert held["image"] == max(held.values())
    for found in (free, held):
        assert sum(found.values()) == pytest.approx(3.0)


def test_sparsity_is_the_mean_entropy_and_gives_each_expert_one_objective() -> None:
    module = _learnt(0.25)
    p = module.alignment_ZM.detach().softmax(dim=1)
    expected = torch.distributions.Categorical(probs=p).entropy().mean()
    assert float(module.sparsity().detach()) == pytest.approx(float(expected), rel=1e-5)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.2)
    before = module.alignment_ZM.detach().argmax(dim=1)
    for _ in range(200):
        optimizer.zero_grad()
        module.sparsity().backward()
        optimizer.step()
    assert float(module.sparsity().detach()) < 0.01
    assert torch.equal(module.alignment_ZM.detach().argmax(dim=1), before)


def test_gradient_reaches_the_matrix_and_the_gates() -> None:
    module, gates = _learnt(0.25), _gates(0, 3).requires_grad_()
    found = module({"image": gates, "text": _gates(1, 2)})
    (found["image"] - found["text"]).backward()
    assert module.alignment_ZM.grad is not None
    assert float(module.alignment_ZM.grad.abs().max()) > 0
    assert gates.grad is not None
    assert float(gates.grad.abs().max()) > 0
