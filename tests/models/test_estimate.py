"""The estimate against torch's operation counter, its saved-tensor hooks, and what an optimiser really holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from catalog import ModelError
from models import devices
from models.config import MoeConfig
from models.config.parameters import ParametersConfig
from models.moon import MoonModel
from models.training.estimate import GIB, Estimate, check_experts, check_fits, duration, in_words
from models.training.parameters import add_lora, choose_trainable
from models.training.workload import Workload, estimate_training
from tests.models.estimate_step import make_model, make_views, make_work, run_step

CASES = {
    "dense": (MoeConfig(layers=()), {}),
    "low rank": (MoeConfig(layers=(-1, 1), num_experts=4, top_k=2, rank=8), {}),
    "full": (MoeConfig(layers=(-1,), num_experts=3, top_k=2, expert="full"), {}),
    "switch": (MoeConfig(layers=(0, -1), num_experts=3, top_k=1, expert="full", combination="switch"), {}),
    "twin": (MoeConfig(kind="dense", layers=(-1,), num_experts=8, rank=16), {}),
    "experts only": (MoeConfig(layers=(-1,), num_experts=4, rank=8), {"train": "experts"}),
    "tower frozen": (MoeConfig(layers=()), {"freeze": ["backbone.qwen.visual.*"]}),
    "lora": (
        MoeConfig(layers=(-1,), num_experts=4, rank=8),
        {"train": "lora", "lora": {"rank": 4, "targets": ["*.q_proj", "*.v_proj"]}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_operations_are_those_that_torch_counts(case: str) -> None:
    moe, parameters = CASES[case]
    model, config = make_model(moe), ParametersConfig.model_validate(parameters)
    if config.lora.rank:
        add_lora(model.backbone, config.lora)  # type: ignore[arg-type]
    choose_trainable(model, config, backbone=model.backbone, experts=model.expert_parameters())  # type: ignore[arg-type]
    work = make_work(make_views())
    estimate = estimate_training(model, (), work)
    # The plain attention, because the counter does not know the fused one of a CPU.
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        run_step(model, work).backward()
    assert estimate.flops == pytest.approx(counted.get_total_flops(), rel=0.1)


def test_a_model_without_data_is_counted_the_same() -> None:
    model, work = make_model(MoeConfig(layers=(-1,))), make_work(make_views(), num_pictures=0)
    estimate = estimate_training(model, (), work)
    bare = estimate_training(model.to("meta"), (), work)
    assert (bare.flops, bare.memory.standing) == (estimate.flops, estimate.memory.standing)


def test_training_mode_comes_back() -> None:
    model = make_model(MoeConfig(layers=()))
    model.backbone.qwen.visual.eval()  # type: ignore[attr-defined]
    estimate_training(model, (), make_work(make_views()))
    modes = {module.training for module in model.backbone.qwen.visual.modules()}  # type: ignore[attr-defined]
    assert modes == {False}
    assert model.training


def test_kept_features_cost_no_tower() -> None:
    model, views = make_model(MoeConfig(layers=())), make_views()
    with_tower, without = (estimate_training(model, (), make_work(views, num_pictures=num)) for num in (4, 0))
    assert {part.name for part in with_tower.parts} - {part.name for part in without.parts} == {"vision tower"}


def test_forward_passes_done_again_are_counted() -> None:
    model, views = make_model(MoeConfig(layers=())), make_views()
    once = estimate_training(model, (), make_work(views))
    chunked = estimate_training(model, (), make_work(views, chunked=True))
    both = estimate_training(model, (), make_work(views, chunked=True, checkpointing=True))
    again = sum(part.forward for part in once.parts if part.name in ("decoder", "vision tower"))
    assert chunked.flops == once.flops + once.forward
    assert both.flops == chunked.flops + again


def test_standing_memory_is_what_adamw_holds() -> None:
    model = make_model(MoeConfig(layers=(-1,)))
    choose_trainable(
        model,
        ParametersConfig(train="experts"),
        backbone=model.backbone,  # type: ignore[arg-type]
        experts=model.expert_parameters(),
    )
    temperature = torch.nn.Parameter(torch.zeros(()))
    work = make_work(make_views())
    memory = estimate_training(model, [temperature], work).memory
    (run_step(model, work) + temperature).backward()
    learning = [one for one in model.parameters() if one.requires_grad] + [temperature]
    optimizer = torch.optim.AdamW(learning)
    optimizer.step()
    state = [one for values in optimizer.state.values() for one in values.values() if one.numel() > 1]
    assert memory.parameters == sum(one.nbytes for one in [*model.parameters(), temperature])
    assert memory.gradients == sum(one.grad.nbytes for one in learning if one.grad is not None)
    assert memory.optimizer == pytest.approx(sum(one.nbytes for one in state), rel=0.001)
    assert memory.copies == 0
    averaged = estimate_training(model, [temperature], make_work(make_views(), ema=True)).memory
    assert averaged.copies == memory.gradients


def _kept(model: MoonModel, work: Workload, precision: str) -> int:
    own = {one.untyped_storage()._cdata for one in model.parameters()}
    kept: dict[int, int] = {}

    def keep(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return saved

    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with bf16, saved_tensors_hooks(keep, lambda one: one):
        loss = run_step(model, work)
        total = sum(kept.values())
    assert loss.requires_grad
    return total


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("moe", [MoeConfig(layers=()), MoeConfig(layers=(-1,), expert="full", num_experts=3)])
def test_activations_are_near_those_that_autograd_keeps(precision: str, moe: MoeConfig) -> None:
    model = make_model(moe)
    work = make_work(make_views(), precision=precision)
    memory = estimate_training(model, (), work).memory
    estimated = memory.activations + (memory.copies if precision == "bf16" else 0)
    assert estimated == pytest.approx(_kept(model, work, precision), rel=0.25)


def test_checkpointing_and_chunks_save_activations() -> None:
    model, views = make_model(MoeConfig(layers=()), num_layers=8), make_views()
    plain, chunked, checkpointed = (
        estimate_training(model, (), make_work(views, **changes)).memory.activations
        for changes in ({}, {"chunked": True}, {"checkpointing": True})
    )
    assert chunked < 0.5 * plain
    assert checkpointed < 0.5 * plain


def test_nothing_is_kept_where_nothing_learns_below() -> None:
    model = make_model(MoeConfig(layers=()))
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    estimate = estimate_training(model, (), make_work(make_views()))
    assert estimate.memory.activations == 0
    assert {part.name: part.backward for part in estimate.parts}["decoder"] == 0


def test_more_experts_than_memory_are_refused_with_the_number_that_fits() -> None:
    config = MoeConfig(layers=(-1, -2), num_experts=64, top_k=2, expert="full", router_guidance="none")
    # Of a layer: (64 routed + 2 guided) experts of 3 x 128 x 384 entries and a router row each, 16 bytes a parameter.
    each = 3 * 128 * 384
    wanted = 2 * ((64 + 2) * each + 64 * 128) * 16
    check_experts(config, 128, 384, 2, wanted)
    with pytest.raises(ModelError, match="more experts than fit") as caught:
        check_experts(config, 128, 384, 2, wanted - 1, "the GPU")
    assert caught.value.where == "model.moe.num_experts"
    assert f"64 experts in each of 2 layers want {wanted / GIB:.2f} GiB ({wanted:,} bytes)" in caught.value.got
    assert f"({wanted - 1:,} bytes) free, enough for 63" in caught.value.allowed
    assert "low_rank" in caught.value.fix
    fitting = MoeConfig.model_validate(config.model_dump() | {"num_experts": 63})
    check_experts(fitting, 128, 384, 2, wanted - 1)
    low_rank = MoeConfig(layers=(-1,), num_experts=4, rank=8)
    with pytest.raises(ModelError, match="more experts") as caught:
        check_experts(low_rank, 128, 384, 1, 10)
    assert "enough for 0" in caught.value.allowed
    assert "lower model.moe.rank" in caught.value.fix


def test_a_training_that_cannot_stand_is_refused() -> None:
    estimate = estimate_training(make_model(MoeConfig(layers=())), (), make_work(make_views()))
    check_fits(estimate, estimate.memory.standing)
    with pytest.raises(ModelError, match="does not fit into the GPU") as caught:
        check_fits(estimate, estimate.memory.standing - 1, "the GPU")
    assert "optimizer 0.00" in caught.value.got


@pytest.fixture
def estimate() -> Estimate:
    return estimate_training(make_model(MoeConfig(layers=())), (), make_work(make_views()), flops_per_s=1e9)


def test_the_lines_say_what_it_costs(estimate: Estimate) -> None:
    lines = "\n".join(estimate.lines(available=8 * GIB))
    assert f"4 pairs, {estimate.tokens} tokens and" in lines
    assert "4 pictures" in lines
    assert f"computes {in_words(estimate.flops)}FLOP" in lines
    assert "of 8.0 GiB free" in lines
    seconds = estimate.flops / 1e9
    assert f"a step takes at least {seconds:.2f} s and 100 steps {duration(100 * seconds)}" in lines
    assert "bare matrix" not in "\n".join(replace(estimate, flops_per_s=None).lines())


def test_the_achieved_is_told_against_the_bare_products(estimate: Estimate) -> None:
    seconds = 2 * estimate.flops * 10 / 1e9
    (line,) = estimate.achieved(seconds, 10, peak_bytes=3 * GIB)
    assert f"{seconds / 10:.2f} s a step" in line
    assert "500 MFLOP/s, 50 % of bare matrix products" in line
    assert "memory 3.00 GiB at most" in line
    assert estimate.achieved(0.0, 0) == []


@pytest.mark.parametrize(
    ("number", "words"), [(999.0, "0.999 k"), (1.234e6, "1.23 M"), (5e9, "5 G"), (2e12, "2 T"), (3e15, "3 P")]
)
def test_large_numbers_have_prefixes(number: float, words: str) -> None:
    assert in_words(number) == words


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_rate_of_products_is_a_rate(precision: str) -> None:
    rate = devices.product_rate(torch.device("cpu"), precision, rows=64, width=32, inner=64, seconds=0.01)
    assert 1e3 < rate < 1e18
    assert devices.peak_bytes(torch.device("cpu")) > 2**20
