"""Two gloo processes with negatives of both = one process with the whole batch, in loss and gradient."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from models.losses import (
    RetrievalOptions,
    Temperature,
    Views,
    alignment,
    mean_over_ranks,
    means_by_view,
    retrieval,
)
from models.negatives import (
    EMPTY,
    CandidateCodes,
    NegativeQueue,
    QueryCodes,
    candidate_codes,
    codes_of,
    gather_codes,
    gather_with_grad,
    padded_codes,
    query_codes,
    rows_by_rank,
)

WORLD = 2
LIMIT_S = 60
NUM, WIDTH, DIMS = 8, 6, 5


@dataclass(frozen=True)
class Case:
    """One comparison; `rows` is how the batch of 8 lies on the two ranks."""

    rows: tuple[int, int] = (4, 4)
    options: dict[str, Any] = field(default_factory=dict)
    weighted: bool = False
    by_view: bool = False
    aligned: bool = False
    queue_size: int = 0
    steps: int = 1


CASES = {
    "plain": Case(options={"symmetric": False}),
    "symmetric": Case(),
    "uneven": Case(rows=(5, 3)),
    "one rank empty": Case(rows=(8, 0)),
    "groups may be negatives": Case(options={"mask_same_group": False}),
    "guard": Case(options={"similarity_guard": 0.1}, rows=(3, 5)),
    "weights, hard negatives, matryoshka": Case(
        options={"hard_negative_weight": 3.0, "dims": (2, DIMS)}, weighted=True, rows=(6, 2)
    ),
    "weights by view": Case(weighted=True, by_view=True, rows=(5, 3)),
    "alignment": Case(aligned=True, rows=(5, 3)),
    "queue over steps": Case(queue_size=12, steps=4, options={"similarity_guard": 0.5}),
    "queue over uneven steps": Case(queue_size=12, steps=3, rows=(7, 1), weighted=True),
}


@dataclass(frozen=True)
class Rows:
    """A batch, or one rank's part of it."""

    queries: torch.Tensor
    products: torch.Tensor
    query_codes: QueryCodes
    product_codes: CandidateCodes
    weights: torch.Tensor
    views: torch.Tensor
    words: torch.Tensor
    texts: torch.Tensor
    says: torch.Tensor
    facts: torch.Tensor
    has_image: torch.Tensor

    def part(self, rows: slice) -> Rows:
        def cut(value: Any) -> Any:
            return value[rows] if isinstance(value, torch.Tensor) else value.rows(rows)

        part = Rows(**{name: cut(value) for name, value in vars(self).items()})
        # As wide as this rank's own longest list: the ranks differ.
        return replace(part, says=_as_wide_as_needed(part.says), facts=_as_wide_as_needed(part.facts))


def _as_wide_as_needed(codes: torch.Tensor) -> torch.Tensor:
    return codes[:, : int((codes != EMPTY).sum(dim=1).amax()) if len(codes) else 0]


def _batch(step: int) -> Rows:
    """Eight pairs whose false negatives lie across the ranks: groups, co-purchases, photographs, equal titles."""
    generator = torch.Generator().manual_seed(step)
    keys = [f"p{(step * 5 + n) % 11}" for n in range(NUM)]
    groups = [f"g{int(key[1:]) % 6}" for key in keys]
    categories = [f"c{n % 3}" for n in range(NUM)]
    # A query of the first rank bought a product of the second and the other way round.
    accepted = [frozenset((key, keys[-1 - n])) if n in (1, 6) else frozenset((key,)) for n, key in enumerate(keys)]
    photos = [frozenset((f"photo {key}",)) if n % 2 else frozenset() for n, key in enumerate(keys)]
    asked = [f"photo {keys[7]}" if n == 0 else "" for n in range(NUM)]

    def drawn() -> torch.Tensor:
        return torch.randn(NUM, WIDTH, generator=generator)

    return Rows(
        drawn(),
        drawn(),
        query_codes(keys, groups, categories, asked, accepted),
        candidate_codes(keys, groups, categories, photos),
        torch.tensor([1.0, 0.5, 0.2, 1.0, 0.0, 1.0, 0.5, 0.2]),
        torch.tensor([0, 0, 1, 0, 0, 1, 2, 1]),
        drawn(),
        codes_of(["same words" if n in (2, 7) else f"words {n}" for n in range(NUM)]),
        # Facts are shared across the ranks, and the second rank's lists are longer than the first's.
        padded_codes([{f"fact {fact}" for fact in range(n % 4)} if n > 3 else {f"fact {n}"} for n in range(NUM)]),
        padded_codes([{f"fact {fact}" for fact in range(n)} for n in range(NUM)]),
        torch.tensor([True, True, True, True, True, True, False, False]),
    )


class Net(nn.Module):
    """A linear encoder, a temperature and a queue: all that a step of training has."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.case = case
        self.encoder = nn.Linear(WIDTH, DIMS)
        self.temperature = Temperature(0.2, 0.01)
        self.queue = NegativeQueue(case.queue_size, DIMS, 1, warmup_steps=1) if case.queue_size else None
        self.view_weights = nn.Parameter(torch.tensor([0.5, 1.0, 2.0]))

    def embed(self, rows: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.encoder(rows), dim=-1)

    def forward(self, rows: Rows, step: int, spatial: bool) -> torch.Tensor:
        case = self.case
        options = RetrievalOptions(**({"dims": (DIMS,), "spatial": spatial} | case.options))
        products, scale = self.embed(rows.products), self.temperature.scale
        found = retrieval(
            self.embed(rows.queries), rows.query_codes, products, rows.product_codes, scale, options, self.queue, step
        )
        weights = rows.weights if case.weighted else torch.ones(len(products))
        loss = mean_over_ranks(found.loss_Q, weights)
        if case.by_view:
            means, share = means_by_view(found.loss_Q, weights, rows.views, 3)
            loss = loss + (means * share * self.view_weights).sum()
        if case.aligned:
            words, with_image = self.embed(rows.words), rows.has_image
            loss = loss + alignment(
                Views(words, rows.product_codes, rows.texts, rows.says, rows.facts),
                Views(products, rows.product_codes, rows.texts, rows.says[:, :0], rows.facts),
                Views(
                    products[with_image].flip(-1),
                    rows.product_codes.rows(with_image),
                    rows.texts[with_image],
                    rows.says[with_image, :0],
                    rows.facts[with_image],
                ),
                scale,
                options.dims,
                spatial=spatial,
            )
        if self.queue is not None:
            self.queue.push(products, rows.product_codes, step)
        return loss


def _train(case: Case, rank: int | None) -> dict[str, Any]:
    """Losses, first gradients and last weights; `rank` None is the one process that holds the whole batch."""
    net = Net(case)
    module = net if rank is None else DistributedDataParallel(net, find_unused_parameters=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses, gradients = [], {}
    for step in range(case.steps):
        rows = _batch(step)
        if rank is not None:
            rows = rows.part(slice(0, case.rows[0]) if rank == 0 else slice(case.rows[0], NUM))
        loss = module(rows, step, rank is not None)
        optimizer.zero_grad()
        loss.backward()
        shown = loss.detach().clone()
        if rank is not None:
            dist.all_reduce(shown)
            shown /= WORLD
        losses.append(shown)
        if step == 0:
            gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        optimizer.step()
    state = {name: value.detach().clone() for name, value in net.state_dict().items()}
    return {"losses": torch.stack(losses), "gradients": gradients, "state": state}


def _gathers(rank: int) -> dict[str, Any]:
    """What the gathers themselves give: rows 1 and 2 on rank 0, row 3 on rank 1."""
    x = (torch.tensor([[1.0], [2.0]]) if rank == 0 else torch.tensor([[3.0]])).requires_grad_()
    everything = gather_with_grad(x)
    # Rank r's loss is (r + 1) times the sum of squares of all rows: the gradient of a row is the sum over ranks.
    ((rank + 1) * everything.square().sum()).backward()
    accepted = [frozenset("ab"), frozenset()] if rank == 0 else [frozenset("wxyz")]
    keys = ["a", "b"] if rank == 0 else ["c"]
    codes = gather_codes(query_codes(keys, keys, keys, keys, accepted))
    return {
        "values": everything.detach(),
        "gradient": x.grad,
        "rows": rows_by_rank(len(x), x.device),
        "codes": codes.table(),
    }


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=WORLD,
        timeout=timedelta(seconds=LIMIT_S),
    )
    found = {name: _train(case, rank) for name, case in CASES.items()}
    torch.save({"cases": found, "gathers": _gathers(rank)}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What both ranks found. They meet at a file, so no port can be taken."""
    folder = tmp_path_factory.mktemp("ranks")
    context = mp.get_context("spawn")
    ranks = [context.Process(target=_work, args=(rank, str(folder)), daemon=True) for rank in range(WORLD)]
    for process in ranks:
        process.start()
    end = time.monotonic() + LIMIT_S
    for process in ranks:
        process.join(max(end - time.monotonic(), 0.0))
    late = [process for process in ranks if process.is_alive()]
    for process in late:
        process.kill()
    assert not late, f"ranks wait for each other after {LIMIT_S} s"
    assert [process.exitcode for process in ranks] == [0] * WORLD
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_are_one_process(name: str, two: list[dict[str, Any]]) -> None:
    alone = _train(CASES[name], None)
    for rank in two:
        found = rank["cases"][name]
        assert _distance(found["losses"], alone["losses"]) <= 1e-6
        assert found["gradients"].keys() >= alone["gradients"].keys()
        for key, gradient in alone["gradients"].items():
            assert _distance(found["gradients"][key], gradient) <= 1e-6, key
        for key, value in alone["state"].items():
            assert _distance(found["state"][key], value) <= 1e-6, key


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference; where the numbers are above 1, in units of the largest."""
    assert one.shape == other.shape
    if not one.is_floating_point():
        return 0.0 if torch.equal(one, other) else float("inf")
    return float((one - other).abs().max() / max(1.0, float(other.abs().max())))


def test_the_cases_are_not_alike() -> None:
    # A mask, weight or queue that did nothing would pass the comparison above.
    first = {name: float(_train(case, None)["losses"][-1]) for name, case in CASES.items()}
    alike = {"symmetric", "uneven", "one rank empty"}
    for one, other in itertools.combinations(set(first) - (alike - {"symmetric"}), 2):
        assert abs(first[one] - first[other]) > 1e-4, (one, other)
    assert first["uneven"] == first["one rank empty"] == first["symmetric"]


def test_the_loss_without_the_other_rank_is_another(two: list[dict[str, Any]]) -> None:
    half = Net(CASES["symmetric"])(_batch(0).part(slice(0, 4)), 0, False)
    assert abs(float(half.detach()) - float(two[0]["cases"]["symmetric"]["losses"][0])) > 1e-2


def test_gathered_rows_stand_in_the_order_of_ranks_and_gradients_add_up(two: list[dict[str, Any]]) -> None:
    for rank, rows in enumerate(([[1.0], [2.0]], [[3.0]])):
        found = two[rank]["gathers"]
        assert found["values"].tolist() == [[1.0], [2.0], [3.0]]
        assert found["rows"] == [2, 1]
        assert found["gradient"].tolist() == [[2 * x * (1 + 2)] for (x,) in rows]


def test_gathered_codes_are_those_of_one_process(two: list[dict[str, Any]]) -> None:
    keys = ["a", "b", "c"]
    whole = query_codes(keys, keys, keys, keys, [frozenset("ab"), frozenset(), frozenset("wxyz")])
    for rank in two:
        assert torch.equal(rank["gathers"]["codes"], whole.table())


def test_without_other_processes_nothing_is_gathered() -> None:
    x = torch.ones(3, 2, requires_grad=True)
    codes = query_codes(["a"], ["b"], ["c"], [""], [frozenset()])
    assert gather_with_grad(x) is x
    assert gather_codes(codes) is codes
    assert rows_by_rank(3, x.device) == [3]
