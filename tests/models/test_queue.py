"""The queue of past batches: a ring, its warm-up, its masks, how stale it is, and that a checkpoint holds it."""

from __future__ import annotations

import math
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from catalog import ModelError
from models.negatives import EMPTY, CandidateCodes, NegativeQueue, candidate_codes, code_of, not_negative, query_codes


def _codes(keys: list[str], photos: int = 1) -> CandidateCodes:
    return candidate_codes(
        keys,
        [f"group {key}" for key in keys],
        ["leaf"] * len(keys),
        [frozenset(f"{key}{n}" for n in range(photos)) for key in keys],
    )


def _vectors(num: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(num, 4, generator=torch.Generator().manual_seed(seed)), dim=1)


def _held(queue: NegativeQueue) -> dict[int, torch.Tensor]:
    vectors, codes = queue.view(10**6)
    return {int(code): vectors[row] for row, code in enumerate(codes.product_N) if int(code) != EMPTY}


def test_the_oldest_leave_first() -> None:
    queue = NegativeQueue(4, 4, max_photos=2)
    vectors = _vectors(6)
    queue.push(vectors[:3], _codes(["a", "b", "c"]), step=0)
    assert _held(queue).keys() == {code_of(key) for key in "abc"}
    queue.push(vectors[3:], _codes(["d", "e", "f"]), step=1)
    held = _held(queue)
    assert held.keys() == {code_of(key) for key in "cdef"}
    assert torch.equal(held[code_of("c")], vectors[2])
    assert torch.equal(held[code_of("f")], vectors[5])


def test_of_a_batch_larger_than_the_queue_the_last_stay() -> None:
    queue = NegativeQueue(3, 4, max_photos=1)
    queue.push(_vectors(5), _codes(list("abcde")), step=0)
    assert _held(queue).keys() == {code_of(key) for key in "cde"}


@given(st.integers(1, 7), st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=5), max_size=8))
@settings(deadline=None)
def test_the_ring_by_a_naive_list(size: int, batches: list[list[str]]) -> None:
    queue = NegativeQueue(size, 4, max_photos=1)
    places: OrderedDict[int, tuple[str, torch.Tensor, int] | None] = OrderedDict((n, None) for n in range(size))
    cursor = 0
    for step, keys in enumerate(batches):
        vectors = _vectors(len(keys), seed=step)
        queue.push(vectors, _codes(keys), step)
        stored = list(zip(keys, vectors, strict=True))[-size:]
        for place, entry in places.items():
            if entry is not None and entry[0] in {key for key, _ in stored}:
                places[place] = None
        for key, vector in stored:
            places[cursor] = (key, vector, step)
            cursor = (cursor + 1) % size
    present = [entry for entry in places.values() if entry is not None]
    held = _held(queue)
    assert held.keys() == {code_of(key) for key, _, _ in present}
    for key, vector, _ in present:
        assert torch.equal(held[code_of(key)], vector)
    report = queue.staleness(_vectors(0), _codes([]), step=20)
    assert int(report["queue/filled"]) == len(present)
    if present:
        ages = [20 - step for _, _, step in present]
        assert float(report["queue/age_mean"]) == pytest.approx(sum(ages) / len(ages))
        assert int(report["queue/age_max"]) == max(ages)
    assert "queue/drift" not in report


def test_it_is_filled_in_the_warm_up_and_used_after_it() -> None:
    queue = NegativeQueue(4, 4, max_photos=1, warmup_steps=2)
    for step, key in enumerate("abc"):
        vectors, codes = queue.view(step)
        assert len(vectors) == len(codes) == (0 if step < 2 else 4)
        assert not_negative(query_codes(["x"], [""], [""], [""], [frozenset()]), codes).shape == (1, len(codes))
        queue.push(_vectors(1), _codes([key]), step)
    assert len(_held(queue)) == 3


def test_what_the_batch_encodes_anew_is_out() -> None:
    queue = NegativeQueue(4, 4, max_photos=1)
    queue.push(_vectors(3), _codes(["a", "b", "c"]), step=0)
    _, codes = queue.view(1, fresh=_codes(["b", "z"]))
    assert codes.product_N.tolist() == [code_of("a"), EMPTY, code_of("c"), EMPTY]
    query = query_codes(["z"], ["group z"], ["leaf"], [""], [frozenset(("c",))])
    # b is out, c was bought for the same query, the last place is unused: only a is a negative.
    assert not_negative(query, codes).tolist() == [[False, True, True, True]]


def test_masks_hold_in_the_queue() -> None:
    queue = NegativeQueue(4, 4, max_photos=3)
    queue.push(_vectors(4), _codes(["a", "b", "c", "d"], photos=2), step=0)
    _, codes = queue.view(1)
    query = query_codes(["a", "x", "x"], ["", "group b", ""], [""] * 3, ["", "", "d1"], [frozenset()] * 3)
    assert not_negative(query, codes).tolist() == [
        [True, False, False, False],
        [False, True, False, False],
        [False, False, False, True],
    ]


def test_drift_is_the_angle_to_todays_vector() -> None:
    queue = NegativeQueue(4, 4, max_photos=1)
    stored = torch.eye(4)[:2]
    queue.push(stored, _codes(["a", "b"]), step=3)
    angle = 0.4
    today = torch.tensor([[math.cos(angle), 0.0, math.sin(angle), 0.0], [0.0, 0.0, 0.0, 1.0]])
    report = queue.staleness(today, _codes(["a", "new"]), step=8)
    assert float(report["queue/drift"]) == pytest.approx(1 - math.cos(angle), abs=1e-6)
    assert int(report["queue/drift_products"]) == 1
    assert float(report["queue/age_mean"]) == 5.0


def test_a_push_before_the_backward_pass_changes_no_gradient() -> None:
    queue = NegativeQueue(4, 4, max_photos=1)
    queue.push(_vectors(4), _codes(list("abcd")), step=0)
    queries = _vectors(2, seed=5).requires_grad_()
    vectors, _ = queue.view(1)
    loss = (queries @ vectors.T).square().sum()
    expected = 2 * (queries.detach() @ vectors.T) @ vectors
    queue.push(_vectors(4, seed=9), _codes(list("efgh")), step=1)
    loss.backward()
    assert torch.allclose(queries.grad, expected)  # type: ignore[arg-type]


def test_nothing_stored_keeps_a_graph_or_a_narrow_type() -> None:
    queue = NegativeQueue(2, 4, max_photos=1)
    queue.push(_vectors(2).to(torch.bfloat16).requires_grad_(), _codes(["a", "b"]), step=0)
    vectors, _ = queue.view(1)
    assert vectors.dtype is torch.float32
    assert not vectors.requires_grad
    assert not list(queue.parameters())


def test_a_checkpoint_holds_it_whole() -> None:
    one, two = (NegativeQueue(5, 4, max_photos=2) for _ in range(2))
    one.push(_vectors(3), _codes(["a", "b", "c"]), step=7)
    two.load_state_dict(one.state_dict())
    for queue in (one, two):
        queue.push(_vectors(4, seed=1), _codes(["d", "e", "a", "f"], photos=2), step=8)
    assert {name: value.tolist() for name, value in one.state_dict().items()} == {
        name: value.tolist() for name, value in two.state_dict().items()
    }
    assert one.state_dict().keys() == dict(one.named_buffers()).keys()


def test_more_photographs_than_it_keeps_are_refused() -> None:
    queue = NegativeQueue(4, 4, max_photos=1)
    with pytest.raises(ModelError, match="more photographs"):
        queue.push(_vectors(1), _codes(["a"], photos=2), step=0)
    # Padding is no photograph.
    wide = candidate_codes(["b"], [""], [""], [frozenset()])
    padded = CandidateCodes(wide.product_N, wide.group_N, wide.category_N, torch.zeros(1, 3, dtype=torch.int64))
    queue.push(_vectors(1), padded, step=0)
    assert len(_held(queue)) == 1
