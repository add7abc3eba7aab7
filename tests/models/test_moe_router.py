"""The router: guidance, noise, and the two losses over parts of a step and over the whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.config import MoeConfig
from models.moe import RouterStats, aux_loss, load_balance_loss, recording, router_z_loss
from models.tokens import TokenType
from tests.models.moe_layers import FORMS, WIDTH, make, name_of, shake, some_types

ADDITIVE = {"combination": "additive", "expert": "full"}


def _stats(prob_TE: torch.Tensor, chosen_T: list[int]) -> RouterStats:
    num = prob_TE.shape[1]
    counts = torch.bincount(torch.tensor(chosen_T), minlength=num)
    return RouterStats(prob_TE.sum(dim=0), counts, torch.tensor(0.0), torch.tensor(len(prob_TE)))


def test_balance_loss_is_one_when_balanced_and_the_number_of_experts_when_collapsed() -> None:
    even = torch.full((8, 4), 0.25)
    assert float(load_balance_loss(_stats(even, [0, 1, 2, 3] * 2))) == pytest.approx(1.0)
    assert float(load_balance_loss(_stats(even, [0] * 8))) == pytest.approx(1.0)
    alone = torch.zeros(8, 4).index_fill_(1, torch.tensor([2]), 1.0)
    assert float(load_balance_loss(_stats(alone, [2] * 8))) == pytest.approx(4.0)
    skewed = torch.tensor([[0.97, 0.01, 0.01, 0.01]]).repeat(8, 1)
    assert float(load_balance_loss(_stats(skewed, [0] * 8))) == pytest.approx(4 * 0.97)


def test_losses_of_a_router_without_opinion_have_closed_forms() -> None:
    """Logits of zero: log-sum-exp is ln E; probabilities even, so balance is 1 whoever is chosen."""
    _, moe, in_view = make(ADDITIVE, num_experts=6, load_balance_weight=0.5, router_z_weight=0.25)
    with torch.no_grad():
        moe.router.weight.zero_()
    with in_view.showing(some_types()):
        moe(torch.randn(2, 8, WIDTH))
    stats = moe.take_stats()
    z = torch.log(torch.tensor(6.0)).square()
    assert stats.num_tokens == 14
    assert int(stats.count_E.sum()) == 28
    assert float(router_z_loss(stats).detach()) == pytest.approx(float(z))
    assert float(aux_loss([stats, stats], moe.config).detach()) == pytest.approx(2 * (0.5 + 0.25 * float(z)), rel=1e-5)
    assert float(aux_loss([], moe.config)) == 0.0


def test_a_step_without_tokens_has_no_loss() -> None:
    nothing = RouterStats.none(4, torch.device("cpu"))
    assert float(aux_loss([nothing], MoeConfig())) == 0.0


@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_chunks_add_up_to_the_whole_step_in_value_and_gradient(form: dict[str, Any]) -> None:
    _, moe, in_view = make(form, load_balance_weight=1.0, router_z_weight=0.1)
    shake(moe)
    h, types = torch.randn(6, 8, WIDTH, requires_grad=True), some_types().repeat(3, 1)
    wanted = [h, *moe.router.parameters()]

    def run(rows: slice) -> RouterStats:
        with in_view.showing(types[rows]):
            moe(h[rows])
        return moe.take_stats()

    step = run(slice(0, 6))
    loss = aux_loss([step], moe.config)
    exact = torch.autograd.grad(loss, wanted)

    parts = [slice(0, 1), slice(1, 4), slice(4, 6)]
    added = run(parts[0]) + run(parts[1]) + run(parts[2])
    assert torch.equal(added.count_E, step.count_E)
    assert added.num_tokens == step.num_tokens
    assert torch.allclose(added.prob_sum_E, step.prob_sum_E, atol=1e-5)
    assert float(added.z_sum.detach()) == pytest.approx(float(step.z_sum.detach()), rel=1e-5)
    together = aux_loss([added], moe.config)
    for one, other in zip(torch.autograd.grad(together, wanted), exact, strict=True):
        assert torch.allclose(one, other, atol=1e-5)

    # Gradient cache: the counts of a first pass without gradient, then backward through one chunk at a time.
    with torch.no_grad():
        first = [(run(rows)).detached() for rows in parts]
    whole = [first[0] + first[1] + first[2]]
    value, sums = 0.0, [torch.zeros_like(one) for one in wanted]
    for rows in parts:
        of_chunk = aux_loss([run(rows)], moe.config, whole)
        value += float(of_chunk.detach())
        for one, found in zip(sums, torch.autograd.grad(of_chunk, wanted), strict=True):
            one += found
    assert value == pytest.approx(float(loss.detach()), rel=1e-5)
    for one, other in zip(sums, exact, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_passes_pile_up_until_they_are_taken() -> None:
    _, moe, in_view = make(ADDITIVE)
    with in_view.showing(some_types()):
        moe(torch.randn(2, 8, WIDTH))
        moe(torch.randn(2, 8, WIDTH))
    assert moe.take_stats().num_tokens == 28
    assert moe.take_stats().num_tokens == 0


def test_stats_of_several_layers_pass_through_their_tensors() -> None:
    _, moe, in_view = make(ADDITIVE)
    with in_view.showing(some_types()):
        moe(torch.randn(2, 8, WIDTH))
    one, two = moe.take_stats(), RouterStats.none(4, torch.device("cpu"))
    again = RouterStats.of_tensors([*one.tensors(), *two.tensors()])
    assert again == [one, two]
    assert again[0].prob_sum_E.requires_grad


@pytest.mark.parametrize("guidance", ["type", "category", "both"])
@pytest.mark.parametrize("combination", ["switch", "additive"])
def test_guidance_starts_without_effect_and_learns_at_once(guidance: str, combination: str) -> None:
    form = {"combination": combination, "expert": "full"}
    _, guided, in_view = make({**form, "router_guidance": guidance})
    _, plain, plain_view = make({**form, "router_guidance": "none"})
    with torch.no_grad():
        guided.experts.w_out.add_(torch.randn_like(guided.experts.w_out))
    plain.load_state_dict(guided.state_dict(), strict=False)
    h, types = torch.randn(2, 8, WIDTH), some_types()
    with in_view.showing(types), plain_view.showing(types):
        y = guided(h)
        assert torch.equal(y, plain(h))
    y.square().sum().backward()
    learnt = [guided.router.type_bias, guided.router.category_weight]
    present = [parameter for parameter in learnt if parameter is not None]
    assert len(present) == (2 if guidance == "both" else 1)
    for parameter in present:
        assert float(parameter.abs().max()) == 0.0
        assert float(parameter.grad.abs().max()) > 0.0


def test_the_type_decides_where_its_bias_says_so() -> None:
    _, moe, in_view = make({**ADDITIVE, "router_guidance": "type"}, top_k=1)
    with torch.no_grad():
        moe.router.type_bias[TokenType.TITLE, 3] = 100.0
        moe.router.type_bias[TokenType.IMAGE, 1] = 100.0
    types = some_types()
    with recording([moe]) as layers, in_view.showing(types):
        moe(torch.randn(2, 8, WIDTH))
    expert_BL = layers[0][0].expert_BLK.squeeze(-1)
    assert expert_BL[types == TokenType.TITLE].tolist() == [3, 3]
    assert expert_BL[types == TokenType.IMAGE].tolist() == [1, 1]


def test_the_category_of_a_sequence_decides_for_all_of_its_tokens() -> None:
    _, moe, in_view = make({**ADDITIVE, "router_guidance": "category"}, top_k=1)
    with torch.no_grad():
        moe.router.category_weight[0, 0], moe.router.category_weight[2, 0] = 100.0, -100.0
    title, slot = int(TokenType.TITLE), int(TokenType.CATEGORY_SLOT)
    types = torch.tensor([[title, title, slot], [title, title, slot], [title, title, title]])
    h = 0.01 * torch.randn(3, 3, WIDTH)
    h[0, 2, 0], h[1, 2, 0] = 1.0, -1.0
    with recording([moe]) as layers, in_view.showing(types):
        moe(h)
    expert_BL = layers[0][0].expert_BLK.squeeze(-1)
    assert expert_BL[0].tolist() == [0, 0, 0]
    assert expert_BL[1].tolist() == [2, 2, 2]
    unguided = (h[2] @ moe.router.weight.T).argmax(dim=-1)
    assert torch.equal(expert_BL[2], unguided)


def test_noise_is_for_training_and_comes_from_the_seed() -> None:
    _, moe, in_view = make(ADDITIVE, num_experts=8, router_noise_std=5.0)
    _, calm, calm_view = make(ADDITIVE, num_experts=8)
    calm.load_state_dict(moe.state_dict())
    h, types = torch.randn(2, 8, WIDTH), some_types()

    def choices(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with recording([moe]) as layers, in_view.showing(types):
            moe(h)
        return layers[0][0].expert_BLK

    assert torch.equal(choices(1), choices(1))
    assert not torch.equal(choices(1), choices(2))
    moe.eval()
    assert torch.equal(choices(1), choices(2))
    with recording([calm]) as layers, calm_view.showing(types):
        calm(h)
    assert torch.equal(choices(3), layers[0][0].expert_BLK)


def test_noise_moves_the_choice_and_neither_gates_nor_losses() -> None:
    _, moe, in_view = make(ADDITIVE, num_experts=8, router_noise_std=5.0)
    shake(moe)
    h, types = torch.randn(2, 8, WIDTH), some_types()
    with recording([moe]) as layers, in_view.showing(types):
        moe(h)
    noisy = moe.take_stats()
    moe.router.noise_std = 0.0
    with in_view.showing(types):
        moe(h)
    assert torch.equal(noisy.prob_sum_E, moe.take_stats().prob_sum_E)
    fired = layers[0][0]
    present = types != TokenType.PAD
    of_row = torch.stack([h[b][(types[b] == 4) | (types[b] == 7)].mean(0) for b in range(2)])
    logits = h @ moe.router.weight.T + moe.router.type_bias[types]
    logits = logits + (of_row @ moe.router.category_weight.T).unsqueeze(1)
    chosen = logits[present].gather(1, fired.expert_BLK[present])
    assert torch.allclose(fired.gate_BLK[present], chosen.softmax(dim=-1), atol=1e-5)
