"""The retrieval loss over batch and queue by a naive loop over pairs, and what it reports."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from models.losses import RetrievalOptions, filter_weights, mean_over_ranks, retrieval
from models.negatives import (
    CandidateCodes,
    NegativeQueue,
    QueryCodes,
    candidate_codes,
    not_negative,
    query_codes,
)
from tests.models.mean_info_nce import symmetric_info_nce
from tests.models.naive_masks import guarded

NUM, DIMS = 6, 8
SCALE = torch.tensor(7.0)


def _vectors(seed: int, num: int = NUM) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num, DIMS, generator=generator, dtype=torch.float64), dim=1)


def _codes(first: int = 0, num: int = NUM) -> tuple[QueryCodes, CandidateCodes]:
    """Products first, first + 1, ...; neighbours of two share a group, of three a category."""
    numbers = range(first, first + num)
    keys, groups = [f"p{n}" for n in numbers], [f"g{n // 2}" for n in numbers]
    categories = [f"c{n // 3}" for n in numbers]
    photos = [frozenset((f"photo{n}",)) for n in numbers]
    # The first query also bought the fifth product, and the second shows a photograph of the last.
    accepted = [
        frozenset((key, f"p{first + 4}")) if n == first else frozenset((key,))
        for n, key in zip(numbers, keys, strict=True)
    ]
    asked = [f"photo{first + num - 1}" if n == first + 1 else "" for n in numbers]
    return query_codes(keys, groups, categories, asked, accepted), candidate_codes(keys, groups, categories, photos)


def _queue() -> NegativeQueue:
    """Holds p4 .. p9: two are in the batch again, two share its groups or categories."""
    queue = NegativeQueue(8, DIMS, max_photos=1).double()
    queue.push(_vectors(9), _codes(first=4)[1], step=0)
    return queue


def _naive(
    options: RetrievalOptions, queue: NegativeQueue | None, queries: torch.Tensor, products: torch.Tensor
) -> torch.Tensor:
    asked, held = _codes()
    names = [(f"p{n}", f"g{n // 2}", f"c{n // 3}", f"photo{n}") for n in range(NUM)]
    pool = [(*name, products[n]) for n, name in enumerate(names)]
    if queue is not None:
        pool += [(f"p{n}", f"g{n // 2}", f"c{n // 3}", f"photo{n}", queue.vectors_SE[n - 4]) for n in range(6, 10)]

    def allowed(i: int, other: tuple) -> bool:
        key, group, _, photo, vector = other
        bought = {f"p{i}"} | ({"p4"} if i == 0 else set())
        if key in bought or (options.mask_same_group and group == names[i][1]) or (i == 1 and photo == "photo5"):
            return False
        guard = options.similarity_guard
        return guard is None or float(queries[i] @ vector) <= float(queries[i] @ products[i]) + guard

    losses = []
    for i in range(NUM):
        total = 0.0
        for dims in options.dims:

            def s(a: torch.Tensor, b: torch.Tensor, dims: int = dims) -> float:
                return float(F.cosine_similarity(a[:dims], b[:dims], dim=0)) * float(SCALE)

            own = math.exp(s(queries[i], products[i]))
            rest = sum(
                (options.hard_negative_weight if other[2] == names[i][2] else 1.0) * math.exp(s(queries[i], other[4]))
                for other in pool
                if allowed(i, other)
            )
            loss = -math.log(own / (own + rest))
            if options.symmetric:
                rest = sum(
                    (options.hard_negative_weight if names[j][2] == names[i][2] else 1.0)
                    * math.exp(s(queries[j], products[i]))
                    for j in range(NUM)
                    if j != i and allowed(j, pool[i])
                )
                loss = 0.5 * (loss - math.log(own / (own + rest)))
            total += loss / len(options.dims)
        losses.append(total)
    assert len(asked) == len(held) == NUM
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("with_queue", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mask_same_group": False},
        {"similarity_guard": 0.2},
        {"hard_negative_weight": 4.0},
        {"dims": (3, DIMS), "similarity_guard": 0.0, "hard_negative_weight": 0.5},
    ],
    ids=str,
)
def test_every_pair_by_a_naive_loop(changes: dict, with_queue: bool, symmetric: bool) -> None:
    options = RetrievalOptions(**({"dims": (DIMS,), "symmetric": symmetric} | changes))
    queries, products, queue = _vectors(1), _vectors(2), _queue() if with_queue else None
    asked, held = _codes()
    found = retrieval(queries, asked, products, held, SCALE, options, queue, step=1)
    assert torch.allclose(found.loss_Q, _naive(options, queue, queries, products), atol=1e-6)


def test_without_queue_it_is_the_symmetric_loss_of_the_batch() -> None:
    queries, products = _vectors(1), _vectors(2)
    asked, held = _codes()
    eye, similarity = torch.eye(NUM, dtype=torch.bool), queries @ products.T
    blocked = not_negative(asked, held) | eye | guarded(similarity, eye, 0.3)
    expected = symmetric_info_nce(similarity * SCALE, eye, ~blocked)
    found = retrieval(queries, asked, products, held, SCALE, RetrievalOptions((DIMS,), similarity_guard=0.3))
    assert torch.allclose(mean_over_ranks(found.loss_Q, torch.ones(NUM)), expected)


def test_what_it_reports_is_what_was_allowed() -> None:
    queries, products, queue = _vectors(1), _vectors(2), _queue()
    asked, held = _codes()
    found = retrieval(queries, asked, products, held, SCALE, RetrievalOptions((DIMS,)), queue, step=1)
    report = {name: float(value) for name, value in found.report.items()}
    # Six products, less itself, its variant, one bought besides (p4) and one that owns the photograph (p5).
    in_batch = (6 * 4 - 2) / 6
    # Of p4 .. p9 in the queue, p4 and p5 are in the batch again.
    assert report["negatives/queue"] == 4
    assert report["negatives/spatial"] == 0
    assert report["negatives/per_query"] == pytest.approx(in_batch + 4)
    # In the batch: 2 others of the category less the variant; p0 .. p5 are in two categories, p2 and p3 cross them.
    alike = sum(
        i // 3 == j // 3 and i // 2 != j // 2 and (i, j) not in ((0, 4), (1, 5)) for i in range(6) for j in range(6)
    )
    assert report["negatives/same_category"] == pytest.approx(alike / 6)
    assert report["negatives/masked_frac"] == pytest.approx(1 - (in_batch + 4) / 9)
    assert torch.allclose(found.positive_Q, (queries * products).sum(dim=1))


def test_recall_is_counted_against_what_is_known_to_be_wrong() -> None:
    asked, held = _codes()
    products = torch.eye(NUM, DIMS, dtype=torch.float64)

    def recall(nearer: list[int], **changes: object) -> float:
        """Each query midway between its own product and another, to which it is a little nearer."""
        queries = F.normalize(products + 1.1 * products[nearer], dim=1)
        found = retrieval(queries, asked, products, held, SCALE, RetrievalOptions((DIMS,), **changes))  # type: ignore[arg-type]
        return float(found.report["batch/recall@1"])

    # p4, which the first bought too; the owner of the second's photograph; variants of their own products.
    assert recall([4, 5, 3, 2, 5, 4]) == 1.0
    assert recall([4, 5, 3, 2, 5, 4], mask_same_group=False) == pytest.approx(2 / 6)
    # The guard leaves out what lies too near, and would hide a mistake.
    assert recall([2, 3, 0, 1, 0, 1], similarity_guard=0.0) == 0.0
    assert recall([2, 5, 3, 1, 5, 0]) == pytest.approx(3 / 6)


def test_the_mean_negative_is_that_of_the_allowed_ones() -> None:
    queries, products = _vectors(1), _vectors(2)
    asked, held = _codes()
    found = retrieval(queries, asked, products, held, SCALE, RetrievalOptions((DIMS,)))
    for i in range(NUM):
        row = [float(queries[i] @ products[j]) for j in range(NUM) if not bool(not_negative(asked, held)[i, j])]
        assert float(found.negative_Q[i]) == pytest.approx(sum(row) / len(row))
    alone = retrieval(
        queries[:1], asked.rows(slice(1)), products[:1], held.rows(slice(1)), SCALE, RetrievalOptions((DIMS,))
    )
    assert float(alone.negative_Q) == -1.0
    # A query without any negative is trusted, and its loss is zero.
    assert float(filter_weights(alone.positive_Q, alone.negative_Q, kappa=10.0, margin=0.2)) == 1.0
    assert float(alone.loss_Q) == 0.0


def test_no_queries_are_no_error() -> None:
    asked, held = _codes()
    none = torch.zeros(0, DIMS, requires_grad=True)
    found = retrieval(none, asked.rows(slice(0)), none, held.rows(slice(0)), SCALE, RetrievalOptions((DIMS,)))
    loss = mean_over_ranks(found.loss_Q, torch.ones(0))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(bool(torch.isfinite(value)) for value in found.report.values())


def test_gradient_reaches_queries_products_and_scale_and_not_the_past() -> None:
    queries, products, scale = (x.clone().requires_grad_() for x in (_vectors(1), _vectors(2), SCALE.double()))
    asked, held = _codes()
    queue = _queue()

    def loss(q: torch.Tensor, p: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return retrieval(q, asked, p, held, s, RetrievalOptions((4, DIMS), hard_negative_weight=2.0), queue, 1).loss_Q

    assert torch.autograd.gradcheck(loss, (queries, products, scale), fast_mode=True)
    loss(queries, products, scale).sum().backward()
    assert not queue.vectors_SE.requires_grad


def test_logits_are_exact_in_a_bf16_step() -> None:
    queries, products = _vectors(1).float(), _vectors(2).float()
    asked, held = _codes()
    options = RetrievalOptions((DIMS,), similarity_guard=0.1)
    expected = retrieval(queries, asked, products, held, SCALE, options).loss_Q
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(retrieval(queries, asked, products, held, SCALE, options).loss_Q, expected)
