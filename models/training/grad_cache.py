"""GradCache: a contrastive batch of any size in the memory of one chunk, with the gradients of the whole batch.

A contrastive loss needs every vector at once, and backpropagation then keeps every activation at once. But the loss
reaches the encoder through the vectors alone:

    dL/dw = sum_c (df(x_c)/dw)^T dL/df(x_c)        c: chunks of the batch

so one pass without gradients makes the vectors, the loss is differentiated down to them, and a second pass encodes
chunk after chunk again, each with its share of dL/df. Sums over the whole batch, such as a router's probabilities per
expert, pass the same way: S = sum_c s(x_c) has dL/ds(x_c) = dL/dS for every chunk.

    held = hold({"queries": chunks, "products": chunks}, encode)
    loss = objective(held.vectors, held.sums)
    loss.backward()                  # down to the vectors; parameters of the loss alone have their gradient now
    held.backward()                  # the encoder's parameters

Stages chain: what a vision tower made of the pictures may itself be held, its `vectors` be read by the `encode` of a
later stage, and its `backward` be called last.

Source: Gao et al., arXiv 2101.06983. The sums are our addition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Generic, TypeVar

import torch
from torch import distributed

Chunk = TypeVar("Chunk")
Tensors = tuple[torch.Tensor, ...]
Encode = Callable[[Chunk], tuple["torch.Tensor | Tensors", Tensors]]
"""A chunk to its vectors, (rows, ...) each, and to its sums, whose shapes no chunk changes."""
Scope = Callable[[], AbstractContextManager[object]]


class Held(Generic[Chunk]):
    """A batch after the first pass: leaves for the loss, and what the second pass needs.

    Attributes:
        tensors: Every tensor of each view over all its chunks, leaves that gather gradients. Views without a chunk are
            left out.
        sums: The encoders' sums over all chunks of all views; leaves too where they are of floating point.
        drift: Largest absolute difference between the vectors of the two passes, a scalar; zero before the second.
            Far from zero, `encode` depends on something besides its chunk and the random state, and the gradients are
            wrong.
    """

    def __init__(self, views: Mapping[str, Sequence[Chunk]], encode: Encode[Chunk]) -> None:
        self._encode = encode
        self._chunks: list[_HeldChunk[Chunk]] = []
        self._precision = _Precision()
        self.tensors: dict[str, Tensors] = {}
        totals: list[torch.Tensor] | None = None
        with torch.no_grad():
            for name, chunks in views.items():
                parts: list[Tensors] = []
                start = 0
                for chunk in chunks:
                    random = _RandomState()
                    made, sums = encode(chunk)
                    parts.append(_as_tuple(made))
                    stop = start + len(parts[-1][0])
                    self._chunks.append(_HeldChunk(name, chunk, slice(start, stop), random))
                    start = stop
                    if totals is None:
                        totals = [one.detach().clone() for one in sums]
                    else:
                        assert len(sums) == len(totals), "every chunk must give the same sums"
                        totals = [total + one.detach() for total, one in zip(totals, sums, strict=True)]
                if parts:
                    self.tensors[name] = tuple(_leaf(torch.cat(column)) for column in zip(*parts, strict=True))
        # Autocast keeps the low-precision copies of weights it made; those made here know of no gradient.
        torch.clear_autocast_cache()
        self.sums: Tensors = tuple(_leaf(total) for total in totals or ())
        self.drift = torch.zeros(())

    @property
    def vectors(self) -> dict[str, torch.Tensor]:
        """The first tensor of each view."""
        return {name: tensors[0] for name, tensors in self.tensors.items()}

    def backward(self, no_sync: Scope | None = None) -> None:
        """Second pass: every chunk again, with gradient, and backpropagation of its share.

        To be called after the loss has been differentiated; whatever scale that one had, these gradients have too.

        Args:
            no_sync: Scope in which gradients are not reduced between processes, as `DistributedDataParallel.no_sync`;
                entered around all chunks but the last.

        Pitfalls:
            A parameter that the last chunk does not use is reduced by DDP only with `find_unused_parameters=True`.
            Where the reduction cannot be left to the last chunk, keep it off and call `average_gradients` afterwards.
            What an encoder counts in training mode is counted twice: count where `torch.is_grad_enabled()`.
        """
        needed = [one for one in self._chunks if self._has_gradient(one.view)]
        for number, held in enumerate(needed, start=1):
            last = number == len(needed)
            with nullcontext() if last or no_sync is None else no_sync():
                self._backward_chunk(held)

    def _has_gradient(self, view: str) -> bool:
        return any(leaf.grad is not None for leaf in (*self.tensors[view], *self.sums))

    def _backward_chunk(self, held: _HeldChunk[Chunk]) -> None:
        with torch.enable_grad(), held.random.restored(), self._precision.restored():
            made, sums = self._encode(held.chunk)
        roots, gradients = [], []
        for fresh, leaf in zip(_as_tuple(made), self.tensors[held.view], strict=True):
            with torch.no_grad():
                difference = (fresh - leaf[held.rows]).abs()
                if difference.numel():
                    self.drift = torch.maximum(self.drift.to(difference), difference.max())
            if leaf.grad is not None and fresh.requires_grad:
                roots.append(fresh)
                gradients.append(leaf.grad[held.rows])
        for fresh, leaf in zip(sums, self.sums, strict=True):
            if leaf.grad is not None and fresh.requires_grad:
                roots.append(fresh)
                gradients.append(leaf.grad)
        if roots:
            # Autocast is for forward passes: a caller that is inside it would have it round these products too.
            with self._precision.off():
                torch.autograd.backward(roots, gradients)


def hold(views: Mapping[str, Sequence[Chunk]], encode: Encode[Chunk]) -> Held[Chunk]:
    """First pass of a batch.

    Args:
        views: Chunks of each view, in the order in which their vectors are wanted.
        encode: Called once a chunk here and once in `Held.backward`, under the same random state and autocast, and not
            inside `inference_mode`.
    """
    return Held(views, encode)


def cached_backward(
    views: Mapping[str, Sequence[Chunk]],
    encode: Encode[Chunk],
    loss: Callable[[dict[str, torch.Tensor], Tensors], torch.Tensor],
    no_sync: Scope | None = None,
) -> torch.Tensor:
    """Both passes in one call.

    Args:
        views: Chunks of each view.
        encode: A chunk to its vectors and sums.
        loss: All vectors by view, and the sums, to a scalar.
        no_sync: As in `Held.backward`.

    Returns:
        The loss, detached; gradients were added to the parameters of encoder and loss.
    """
    held = hold(views, encode)
    value = loss(held.vectors, held.sums)
    with nullcontext() if no_sync is None else no_sync():
        value.backward()
    held.backward(no_sync)
    return value.detach()


def average_gradients(parameters: Sequence[torch.nn.Parameter], group: distributed.ProcessGroup | None = None) -> None:
    """Mean of every gradient over the processes, one message a device and format.

    A parameter that this process did not use counts as zero, and one that no process used keeps no gradient.

    Args:
        parameters: The same on every process, in the same order.
        group: Process group; None: all.
    """
    trained = [one for one in parameters if one.requires_grad]
    if not trained:
        return
    # A few numbers tell which parameters have a gradient anywhere: the optimiser skips a parameter without one.
    used = torch.tensor([one.grad is not None for one in trained], dtype=torch.int32, device=trained[0].device)
    distributed.all_reduce(used, op=distributed.ReduceOp.MAX, group=group)
    buckets: dict[tuple[torch.device, torch.dtype], list[torch.nn.Parameter]] = {}
    for one, anywhere in zip(trained, used.tolist(), strict=True):
        if anywhere:
            if one.grad is None:
                one.grad = torch.zeros_like(one)
            buckets.setdefault((one.device, one.dtype), []).append(one)
    num = distributed.get_world_size(group)
    for members in buckets.values():
        gradients = [one.grad for one in members if one.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat, group=group)
        flat /= num
        for gradient, mean in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


class _HeldChunk(Generic[Chunk]):
    """A chunk, which rows of its view it fills, and the random state it was encoded under."""

    def __init__(self, view: str, chunk: Chunk, rows: slice, random: _RandomState) -> None:
        self.view, self.chunk, self.rows, self.random = view, chunk, rows, random


class _RandomState:
    """State of torch's generators on the CPU and on every GPU in use."""

    def __init__(self) -> None:
        self.cpu = torch.get_rng_state()
        in_use = torch.cuda.is_available() and torch.cuda.is_initialized()
        self.gpus = {torch.cuda.current_device(): torch.cuda.get_rng_state()} if in_use else {}

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Be in that state again; afterwards the present one goes on."""
        with torch.random.fork_rng(devices=list(self.gpus)):
            torch.set_rng_state(self.cpu)
            for device, state in self.gpus.items():
                torch.cuda.set_rng_state(state, device)
            yield


class _Precision:
    """Autocast as it was: the second pass may run after the scope of the first was left."""

    def __init__(self) -> None:
        kinds = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
        self.casts = {kind: (torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)) for kind in kinds}

    @contextmanager
    def restored(self) -> Iterator[None]:
        with ExitStack() as stack:
            for kind, (dtype, enabled) in self.casts.items():
                stack.enter_context(torch.autocast(kind, dtype, enabled=enabled))
            yield

    @contextmanager
    def off(self) -> Iterator[None]:
        with ExitStack() as stack:
            for kind in self.casts:
                stack.enter_context(torch.autocast(kind, enabled=False))
            yield


def _as_tuple(made: torch.Tensor | Tensors) -> Tensors:
    return (made,) if isinstance(made, torch.Tensor) else tuple(made)


def _leaf(value: torch.Tensor) -> torch.Tensor:
    return value.requires_grad_() if value.is_floating_point() else value
