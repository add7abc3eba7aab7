"""GradCache against plain backpropagation of the whole batch."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.grad_cache import peak_allocated
from models.training.grad_cache import Tensors, cached_backward, hold

VIEWS = {"queries": 12, "products": 12, "texts": 7}
EXPERTS = 3


class Toy(nn.Module):
    """An encoder with a router whose statistics the loss takes over the whole batch, and a temperature of the loss."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 5)
        self.router = nn.Linear(16, EXPERTS)
        self.dropout = nn.Dropout(dropout)
        self.log_scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, rows_BX: torch.Tensor) -> tuple[torch.Tensor, Tensors]:
        hidden = self.dropout(torch.tanh(self.first(rows_BX)))
        probs = self.router(hidden).float().softmax(dim=-1)
        count = F.one_hot(probs.argmax(dim=-1), EXPERTS).sum(dim=0)
        mixed = hidden * probs.max(dim=-1, keepdim=True).values.to(hidden.dtype)
        vectors = F.normalize(self.second(mixed).float(), dim=-1)
        return vectors, (probs.sum(dim=0), count, torch.tensor(len(rows_BX)))

    def loss(self, vectors: dict[str, torch.Tensor], sums: Tensors) -> torch.Tensor:
        prob_sum, count, rows = sums
        queries, products = vectors["queries"], vectors["products"]
        right = torch.arange(len(queries))
        nce = F.cross_entropy(queries @ products.T * self.log_scale.exp(), right)
        align = F.cross_entropy(vectors["texts"] @ products.T * self.log_scale.exp(), right[: len(vectors["texts"])])
        balance = EXPERTS * (count / count.sum() * prob_sum / rows).sum()
        return nce + 0.5 * align + 0.3 * balance


def _inputs(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(num, 6, generator=generator) for name, num in VIEWS.items()}


def _toy(dropout: float = 0.0) -> Toy:
    torch.manual_seed(7)
    return Toy(dropout)


def _plain(toy: Toy, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    made = {name: toy(rows) for name, rows in inputs.items()}
    sums = tuple(sum(column) for column in zip(*(sums for _, sums in made.values()), strict=True))
    return toy.loss({name: vectors for name, (vectors, _) in made.items()}, sums)


def _gradients(toy: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in toy.named_parameters() if parameter.grad is not None}


def _assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], within: float) -> None:
    assert one.keys() == two.keys()
    for name in one:
        assert (one[name] - two[name]).abs().max() <= within, name


@pytest.mark.parametrize("size", [1, 3, 5, 100])
def test_gradients_equal_the_whole_batch(size: int) -> None:
    inputs = _inputs()
    whole, cached = _toy(), _toy()
    expected = _plain(whole, inputs)
    expected.backward()
    value = cached_backward({name: rows.split(size) for name, rows in inputs.items()}, cached, cached.loss)
    assert abs(float(value - expected.detach())) <= 1e-6
    assert len(_gradients(whole)) == 7
    _assert_same(_gradients(whole), _gradients(cached), 1e-6)


def test_chunks_may_be_of_any_kind() -> None:
    inputs = _inputs()
    whole, cached = _toy(), _toy()
    _plain(whole, inputs).backward()
    chunks = {name: list(range(0, len(rows), 4)) for name, rows in inputs.items()}
    labelled = {name: [(name, start) for start in starts] for name, starts in chunks.items()}
    cached_backward(labelled, lambda chunk: cached(inputs[chunk[0]][chunk[1] : chunk[1] + 4]), cached.loss)
    _assert_same(_gradients(whole), _gradients(cached), 1e-6)


def test_the_second_pass_draws_the_same_dropout() -> None:
    inputs = _inputs()
    cached, control = _toy(dropout=0.5), _toy(dropout=0.5)
    torch.manual_seed(3)
    held = hold({name: rows.split(4) for name, rows in inputs.items()}, cached)
    state = torch.get_rng_state()
    cached.loss(held.vectors, held.sums).backward()
    held.backward()
    assert torch.equal(torch.get_rng_state(), state)
    assert float(held.drift) == 0.0
    # One graph over the same chunks in the same order draws the same masks.
    torch.manual_seed(3)
    made = {name: [control(chunk) for chunk in rows.split(4)] for name, rows in inputs.items()}
    columns = zip(*(sums for chunks in made.values() for _, sums in chunks), strict=True)
    sums = tuple(sum(column) for column in columns)
    vectors = {name: torch.cat([vectors for vectors, _ in chunks]) for name, chunks in made.items()}
    control.loss(vectors, sums).backward()
    _assert_same(_gradients(control), _gradients(cached), 1e-6)


def test_an_encoder_with_a_memory_shows_as_drift() -> None:
    toy = _toy()
    calls = []

    def encode(rows: torch.Tensor) -> tuple[torch.Tensor, Tensors]:
        calls.append(rows)
        vectors, sums = toy(rows)
        return vectors + 0.01 * len(calls), sums

    held = hold({name: rows.split(4) for name, rows in _inputs().items()}, encode)
    toy.loss(held.vectors, held.sums).backward()
    held.backward()
    assert float(held.drift) == pytest.approx(0.01 * len(calls) / 2, abs=1e-5)


def test_gradients_add_up_over_steps_and_keep_the_scale_of_the_loss() -> None:
    whole, cached = _toy(), _toy()
    for seed in (1, 2):
        inputs = _inputs(seed)
        (_plain(whole, inputs) / 2).backward()
        held = hold({name: rows.split(4) for name, rows in inputs.items()}, cached)
        (cached.loss(held.vectors, held.sums) / 2).backward()
        held.backward()
    _assert_same(_gradients(whole), _gradients(cached), 1e-6)


def test_bf16_autocast_also_when_the_scope_is_left_before_the_second_pass() -> None:
    inputs = _inputs()
    whole, cached, precise = _toy(), _toy(), _toy()
    with torch.autocast("cpu", torch.bfloat16):
        expected = _plain(whole, inputs)
        held = hold({name: rows.split(4) for name, rows in inputs.items()}, cached)
        loss = cached.loss(held.vectors, held.sums)
    expected.backward()
    loss.backward()
    held.backward()
    _plain(precise, inputs).backward()
    assert float(held.drift) == 0.0
    assert len(_gradients(cached)) == 7
    largest = max(float(gradient.abs().max()) for gradient in _gradients(precise).values())
    _assert_same(_gradients(whole), _gradients(cached), 0.02 * largest)
    assert not torch.equal(_gradients(precise)["first.weight"], _gradients(cached)["first.weight"])


def test_no_autocast_in_the_first_pass_means_none_in_the_second() -> None:
    inputs = _inputs()
    whole, cached = _toy(), _toy()
    _plain(whole, inputs).backward()
    held = hold({name: rows.split(4) for name, rows in inputs.items()}, cached)
    cached.loss(held.vectors, held.sums).backward()
    with torch.autocast("cpu", torch.bfloat16):
        held.backward()
    _assert_same(_gradients(whole), _gradients(cached), 1e-6)


def test_views_that_the_loss_leaves_out_are_not_encoded_again() -> None:
    toy, calls = _toy(), []

    def encode(rows: torch.Tensor) -> tuple[torch.Tensor, Tensors]:
        calls.append(torch.is_grad_enabled())
        return toy(rows)[0], ()

    inputs = _inputs()
    held = hold({"queries": inputs["queries"].split(4), "texts": inputs["texts"].split(4), "none": []}, encode)
    assert held.vectors.keys() == {"queries", "texts"}
    assert held.sums == ()
    held.vectors["queries"].sum().backward()
    held.backward()
    assert calls == [False] * 5 + [True] * 3


def test_stages_chain() -> None:
    """A tower's pictures are shared by two views and encoded once a pass, several tensors each."""
    torch.manual_seed(0)
    tower, decoder = nn.Linear(4, 6), nn.Linear(6, 3)
    pictures = torch.randn(10, 4)
    rows = {"queries": torch.arange(5), "products": torch.arange(10).flip(0)}

    def see(chunk: torch.Tensor) -> tuple[Tensors, Tensors]:
        seen = torch.tanh(tower(chunk))
        return (seen, seen.square()), ()

    def loss(vectors: dict[str, torch.Tensor], sums: Tensors) -> torch.Tensor:
        return F.cross_entropy(vectors["queries"] @ vectors["products"].T, torch.arange(5))

    def read(seen: Tensors, index: torch.Tensor) -> torch.Tensor:
        return decoder(seen[0][index] + seen[1][index])

    seen, _ = see(pictures)
    loss({name: read(seen, index) for name, index in rows.items()}, ()).backward()
    modules = nn.ModuleList([tower, decoder])
    expected = {name: gradient.clone() for name, gradient in _gradients(modules).items()}
    modules.zero_grad()
    tower_held = hold({"pictures": pictures.split(3)}, see)
    leaves = tower_held.tensors["pictures"]
    held = hold({name: index.split(2) for name, index in rows.items()}, lambda index: (read(leaves, index), ()))
    loss(held.vectors, held.sums).backward()
    held.backward()
    tower_held.backward()
    _assert_same(expected, _gradients(modules), 1e-6)


def test_checkpointed_layers_and_a_transformer() -> None:
    from torch.utils.checkpoint import checkpoint

    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    rows = torch.randn(8, 5, 16)

    def encode(chunk: torch.Tensor) -> tuple[torch.Tensor, Tensors]:
        made = checkpoint(layer, chunk, use_reentrant=False)
        assert isinstance(made, torch.Tensor)
        return F.normalize(made.mean(dim=1), dim=-1), ()

    def loss(vectors: dict[str, torch.Tensor], sums: Tensors) -> torch.Tensor:
        return F.cross_entropy(vectors["a"] @ vectors["b"].T / 0.05, torch.arange(len(vectors["a"])))

    views = {"a": rows, "b": rows.roll(1, dims=1)}
    loss({name: encode(chunk)[0] for name, chunk in views.items()}, ()).backward()
    expected = {name: gradient.clone() for name, gradient in _gradients(layer).items()}
    layer.zero_grad()
    cached_backward({name: chunk.split(3) for name, chunk in views.items()}, encode, loss)
    _assert_same(expected, _gradients(layer), 1e-5)


PROGRAM = """
import sys
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from benchmarks.grad_cache import peak_allocated
from models.training.grad_cache import average_gradients, cached_backward, hold
from tests.models.test_grad_cache import _inputs, _toy

rank, how, place = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=f"file://{place}/meeting", rank=rank, world_size=2)
toy, inputs = _toy(), _inputs(rank)
chunks = {name: rows.split(4) for name, rows in inputs.items()}
for _ in range(2):
    toy.zero_grad()
    if how == "ddp":
        wrapped = DistributedDataParallel(toy, find_unused_parameters=True) if _ == 0 else wrapped
        cached_backward(chunks, wrapped, toy.loss, wrapped.no_sync)
    else:
        cached_backward(chunks, toy, toy.loss)
        average_gradients(list(toy.parameters()))
torch.save({name: one.grad for name, one in toy.named_parameters()}, f"{place}/{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.mark.parametrize("how", ["ddp", "average"])
def test_two_processes_agree_on_the_mean_gradient(how: str, tmp_path: Path) -> None:
    places = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(places)}
    processes: Sequence[subprocess.Popen[bytes]] = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rank), how, str(tmp_path)], env=environment, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=250)
            assert process.returncode == 0, errors.decode()[-2000:]
    finally:
        for process in processes:
            process.kill()
    expected = copy.deepcopy(_toy())
    for seed in range(2):
        (_plain(expected, _inputs(seed)) / 2).backward()
    for rank in range(2):
        _assert_same(_gradients(expected), torch.load(tmp_path / f"{rank}.pt"), 1e-6)


def test_the_tracker_counts_what_is_held_at_once() -> None:
    def step() -> torch.Tensor:
        first, second = torch.empty(1 << 18), torch.empty(2 << 18)
        del first
        third = torch.empty(3 << 18)
        return second[:1] + third[:1]

    assert peak_allocated(step) == pytest.approx(5 << 20, abs=1 << 12)


def test_sixteen_times_the_batch_in_the_memory_of_one_chunk() -> None:
    """A contrastive batch 16 times larger within 1.3 times the peak above the parameters."""
    torch.manual_seed(0)
    layers = nn.Sequential(*(nn.TransformerEncoderLayer(64, 2, 128, dropout=0.0, batch_first=True) for _ in range(3)))

    def encode(rows: torch.Tensor) -> tuple[torch.Tensor, Tensors]:
        return F.normalize(layers(rows).mean(dim=1), dim=-1), ()

    def loss(vectors: dict[str, torch.Tensor], sums: Tensors) -> torch.Tensor:
        logits = vectors["queries"] @ vectors["products"].T / 0.05
        return F.cross_entropy(logits, torch.arange(len(logits)))

    def views(rows: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        return {name: torch.randn(rows, 12, 64, generator=generator) for name in ("queries", "products")}

    def plain(batch: dict[str, torch.Tensor]) -> None:
        loss({name: encode(rows)[0] for name, rows in batch.items()}, ()).backward()

    def cached(batch: dict[str, torch.Tensor]) -> None:
        cached_backward({name: rows.split(4) for name, rows in batch.items()}, encode, loss)

    peaks = {}
    for name, step, rows in (("small", plain, 4), ("large", cached, 64), ("large plain", plain, 64)):
        peaks[name] = peak_allocated(partial(step, views(rows)))
        layers.zero_grad(set_to_none=True)
    assert peaks["large"] <= 1.3 * peaks["small"]
    assert peaks["large plain"] > 8 * peaks["small"]
