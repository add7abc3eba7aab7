"""FSDP2: the decoder's layers lie in shards on all processes and are gathered layer by layer as they run.

What is not sharded (vision tower, embeddings, head, losses) is the same on every process, and its gradients are
averaged as in DDP. A tower is left whole because a process without a picture in its batch does not run it, and the
others would wait for it.

Whole tensors go into checkpoints, optimiser state and model folders, so that those do not depend on the number of
processes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from models.moon import MoonModel
from models.training.ranks import is_first


def shard(model: MoonModel, mesh: DeviceMesh) -> None:
    """Shard the decoder layers over the processes of `mesh`, in place."""
    layers = model.backbone.decoder_layers()
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    decoder = _parent(model, layers)
    inside = {id(one) for one in layers.parameters()}
    # The decoder as the root lets a layer be fetched while the one before it runs; it has no parameters of its own.
    fully_shard(decoder, mesh=mesh, ignored_params={one for one in decoder.parameters() if id(one) not in inside})


def twin_of(model: MoonModel) -> MoonModel:
    """The same modules without weights, to be filled with whole ones later; to be made before sharding."""
    # Parameters alone: buffers that no state holds, such as rotary frequencies, must be there.
    empty = {id(one): nn.Parameter(one.to("meta"), one.requires_grad) for one in model.parameters()}
    return copy.deepcopy(model, dict(empty))


def whole_model(model: MoonModel, twin: MoonModel | None) -> MoonModel | None:
    """The model with whole weights on the CPU, for whoever writes it; called by all processes.

    Args:
        model: In training.
        twin: Of `twin_of`; None where nothing is sharded.

    Returns:
        `model` itself where nothing is sharded. Else, on the first process, `twin` filled; None on the others.
    """
    if twin is None:
        return model
    state = whole(model.state_dict())
    if not state:
        return None
    twin.load_state_dict(state, assign=True)
    return twin


def whole(tree: Any) -> Any:
    """Dictionaries and lists with every tensor whole and on the CPU.

    Returns:
        The same tree on the first process; on the others an empty one, so that only one pays for the memory.
    """
    gathered = _map(tree, _whole_tensor)
    return gathered if is_first() else type(tree)()


def dealt(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """This process's part of a whole tensor, sharded as `like` is; `value` itself where `like` is whole."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def dealt_by_name(values: dict[str, torch.Tensor], root: nn.Module) -> dict[str, torch.Tensor]:
    """Whole tensors, sharded as the parameters of the same names are."""
    like = dict(root.named_parameters())
    return {name: dealt(value, like[name]) if name in like else value for name, value in values.items()}


def dealt_optimizer_state(state: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Whole optimiser state, sharded as the optimiser's parameters are."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    by_number = {
        number: {
            name: dealt(value, parameters[number])
            if isinstance(value, torch.Tensor) and value.shape == parameters[number].shape
            else value
            for name, value in kept.items()
        }
        for number, kept in state["state"].items()
    }
    return {**state, "state": by_number}


def unsharded(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Those that every process holds whole: whoever trains must average their gradients."""
    return [one for one in parameters if not isinstance(one, DTensor)]


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], max_norm: float) -> torch.Tensor:
    """Scale all gradients so that their common norm is at most `max_norm`, shards of other processes counted in.

    Returns:
        The norm before.
    """
    with_gradient = [one for one in parameters if one.grad is not None]
    if not any(isinstance(one, DTensor) for one in with_gradient):
        return torch.nn.utils.clip_grad_norm_(with_gradient, max_norm)
    squares = {True: torch.zeros(()), False: torch.zeros(())}
    for one in with_gradient:
        is_shard = isinstance(one.grad, DTensor)
        local = one.grad.to_local() if isinstance(one.grad, DTensor) else one.grad
        assert local is not None
        squares[is_shard] = squares[is_shard].to(local.device) + local.float().square().sum()
    torch.distributed.all_reduce(squares[True])
    norm = (squares[True] + squares[False].to(squares[True].device)).sqrt()
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for one in with_gradient:
        assert one.grad is not None
        local = one.grad.to_local() if isinstance(one.grad, DTensor) else one.grad
        local.mul_(factor.to(local.device))
    return norm


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What of it lies on this process."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _whole_tensor(value: torch.Tensor) -> torch.Tensor:
    full = value.full_tensor() if isinstance(value, DTensor) else value
    return full.detach().cpu() if is_first() else value.new_empty(0)


def _map(tree: Any, change: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {name: _map(value, change) for name, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_map(value, change) for value in tree)
    return tree


def _parent(model: MoonModel, layers: nn.ModuleList) -> nn.Module:
    return next(one for one in model.modules() if any(child is layers for child in one.children()))
