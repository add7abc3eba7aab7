"""What the processes of one training tell each other besides vectors and gradients; alone, each is the identity.

Every function but `Ranks` and `mean_by_name` must be called by all processes in the same order.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from models.negatives import num_ranks, rank_of

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1

    @classmethod
    def of_environment(cls) -> Ranks:
        """As a launcher set RANK and WORLD_SIZE; alone where it did not."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    @property
    def entropy(self) -> tuple[int, ...]:
        """What a random draw's seed is extended with; nothing where there is one process."""
        return (self.rank,) if self.world > 1 else ()


@contextmanager
def in_turn(path: Path, ranks: Ranks) -> Iterator[None]:
    """Let one process in after the other, the first one first, so that the others find done what it did.

    They wait for a file and not for a message: those are given up after a while, and this may take days.

    Args:
        path: A file on a disk that all see.
        ranks: This process among those that train together.
    """
    if num_ranks() == 1:
        yield
        return
    with path.open("a") as stream:
        if not ranks.is_first:
            from_first(None)
        fcntl.flock(stream, fcntl.LOCK_EX)
        if ranks.is_first:
            from_first(None)
        yield


def anywhere(flag: bool, device: torch.device) -> bool:
    """True where it is true in any process."""
    if num_ranks() == 1:
        return flag
    told = torch.tensor(int(flag), device=device)
    distributed.all_reduce(told, op=distributed.ReduceOp.MAX)
    return bool(told)


def from_first(value: Value) -> Value:
    """The first process's value."""
    if num_ranks() == 1:
        return value
    told = [value]
    distributed.broadcast_object_list(told, src=0)
    return told[0]


def of_all(value: Value) -> list[Value]:
    """Every process's value, in the order of ranks."""
    if num_ranks() == 1:
        return [value]
    told: list[Any] = [None] * num_ranks()
    distributed.all_gather_object(told, value)
    return told


def mean_of_all(figures: Mapping[str, float]) -> dict[str, float]:
    """Each figure's mean over the processes that have it."""
    return mean_by_name(of_all(dict(figures)))


def mean_by_name(told: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each figure's mean over those that have it; talks to nobody."""
    names = dict.fromkeys(name for one in told for name in one)
    return {name: _mean([one[name] for one in told if name in one]) for name in names}


@torch.no_grad()
def same_everywhere(module: nn.Module) -> None:
    """Give every process the first one's parameters and buffers; they should be equal, and now they are."""
    if num_ranks() > 1:
        for one in [*module.parameters(), *module.buffers()]:
            distributed.broadcast(one.data, src=0)


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return rank_of() == 0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
