"""Memory of a sharded process and of a checkpointed tower, against bytes and operations that torch really has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import distributed
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.checkpoint import set_checkpoint_early_stop
from torch.utils.flop_counter import FlopCounterMode

from models.config import MoeConfig
from models.config.parameters import ParametersConfig
from models.training.ema import Ema
from models.training.parameters import choose_trainable
from models.training.recompute import recompute_activations, vision_blocks
from models.training.sharding import local, shard
from models.training.workload import estimate_training
from tests.models.estimate_step import SIDE, make_model, make_views, make_work, run_step


@pytest.fixture
def two_pretended() -> Iterator[DeviceMesh]:
    """A mesh of two processes of which one is there; what is sent comes back as rubbish, but in the right shapes."""
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    try:
        yield init_device_mesh("cpu", (2,))
    finally:
        distributed.destroy_process_group()


def test_sharded_memory_is_what_one_process_holds(two_pretended: DeviceMesh) -> None:
    # Widths that two do not divide: the first process gets the odd rows.
    model = make_model(MoeConfig(layers=(-1,), num_experts=3, rank=5), ffn_size=161)
    work = make_work(make_views(), shards=2, ema=True)
    estimated, alone = (estimate_training(model, (), one).memory for one in (work, replace(work, shards=1)))
    shard(model, two_pretended)
    parameters = list(model.parameters())
    average = Ema(model, 0.5).state_dict()["mean"]
    optimizer = torch.optim.AdamW(parameters, foreach=False)
    run_step(model, work).backward()
    optimizer.step()
    state = [local(one) for values in optimizer.state.values() for one in values.values() if one.numel() > 1]
    assert estimated.parameters == sum(local(one).nbytes for one in parameters)
    assert estimated.gradients == sum(local(one.grad).nbytes for one in parameters if one.grad is not None)
    assert estimated.optimizer == pytest.approx(sum(one.nbytes for one in state), rel=0.001)
    assert estimated.copies == sum(local(one).nbytes for one in average.values())
    # The tower and the embeddings are no smaller for being trained by two.
    whole = [one for one in parameters if not isinstance(one, DTensor)]
    assert sum(one.nbytes for one in whole) > 0.1 * alone.parameters
    assert estimated.parameters > 0.5 * alone.parameters


def test_a_tower_that_learns_keeps_its_blocks_inputs_and_the_largest_block() -> None:
    model, views = make_model(MoeConfig(layers=()), vision_depth=6), make_views()
    own = {one.untyped_storage()._cdata for one in model.parameters()}

    def kept(run: Callable[[], object]) -> tuple[int, object]:
        sizes: dict[int, int] = {}

        def keep(saved: torch.Tensor) -> torch.Tensor:
            if saved.untyped_storage()._cdata not in own:
                sizes[saved.untyped_storage()._cdata] = saved.untyped_storage().nbytes()
            return saved

        with saved_tensors_hooks(keep, lambda one: one):
            made = run()
            return sum(sizes.values()), made

    inputs: list[torch.Tensor] = []
    blocks = vision_blocks(model)
    for block in blocks:
        block.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    pixels = torch.zeros(1, 3, SIDE, SIDE)
    whole, _ = kept(lambda: model.see(pixels))
    width = inputs[0].nbytes
    # One block alone, from its input; the rotary angles are the same for all and stay.
    around: dict[str, object] = {}
    blocks[0].register_forward_pre_hook(lambda module, args, kwargs: around.update(kwargs), with_kwargs=True)
    model.see(pixels)
    block, _ = kept(lambda: blocks[0](inputs[0].detach().requires_grad_(), **around))
    recompute_activations(model)
    outside, _ = kept(lambda: model.see(pixels))
    estimates = {
        checkpointing: estimate_training(model, (), make_work(views, checkpointing=checkpointing))
        for checkpointing in (False, True)
    }
    assert len(blocks) == 6
    towers = {key: next(one for one in value.parts if one.name == "vision tower") for key, value in estimates.items()}
    assert 4 * towers[False].kept == pytest.approx(whole, rel=0.02)
    assert 4 * towers[True].kept == pytest.approx(outside + block - width, rel=0.05)
    assert towers[True].kept < 0.4 * towers[False].kept


@pytest.mark.parametrize(("freeze", "passes"), [((), 2), (("backbone.qwen.visual.*",), 1)])
def test_a_tower_with_checkpointing_runs_once_more_where_it_learns(freeze: tuple[str, ...], passes: int) -> None:
    model = make_model(MoeConfig(layers=()), vision_depth=6)
    choose_trainable(model, ParametersConfig(freeze=freeze), backbone=model.backbone)  # type: ignore[arg-type]
    plain, again = (make_work(make_views(), checkpointing=checkpointing) for checkpointing in (False, True))
    estimates = [estimate_training(model, (), work) for work in (plain, again)]
    assert {part.name: part.repeated for part in estimates[1].parts}["vision tower"] == passes - 1

    def counted() -> int:
        # Whole blocks again: torch may stop at the last tensor that it wants.
        with FlopCounterMode(display=False) as flops, sdpa_kernel(SDPBackend.MATH), set_checkpoint_early_stop(False):
            run_step(model, plain).backward()
        return flops.get_total_flops()

    before = counted()
    recompute_activations(model)
    assert estimates[1].flops - estimates[0].flops == pytest.approx(counted() - before, rel=0.05)
