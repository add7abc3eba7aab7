"""Early stop: when, with which weights, and after a resumption."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import pytest
import torch
from torch import nn

from catalog import ModelError
from models.training.early_stop import EarlyStop


def _module() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    module[0].bias.requires_grad_(False)
    return module


def _stop(scores: Iterable[float], **settings: object) -> EarlyStop:
    found: Iterator[float] = iter(scores)
    return EarlyStop(lambda: next(found), _module(), **({"every_steps": 1} | settings))  # type: ignore[arg-type]


def _run(stop: EarlyStop, steps: Iterable[int]) -> int | None:
    """Step at which it stopped; every step leaves its number in a weight, a buffer and a frozen parameter."""
    for step in steps:
        with torch.no_grad():
            stop.module[0].weight.fill_(step)
            stop.module[0].bias.fill_(step)
            stop.module[1].running_mean.fill_(step)
        if stop.after_step(step):
            return step
    return None


def test_it_stops_after_patience_judgements_without_a_better_one() -> None:
    stop = _stop([0.1, 0.3, 0.2, 0.3, 0.25, 0.9], patience=3)
    assert _run(stop, range(1, 7)) == 5
    assert (stop.best_step, stop.best_score) == (2, 0.3)
    assert [value for _, value in stop.history] == [0.1, 0.3, 0.2, 0.3, 0.25]


def test_a_better_score_starts_the_wait_anew() -> None:
    assert _run(_stop([0.1, 0.0, 0.2, 0.1, 0.3, 0.2, 0.1], patience=2), range(1, 8)) == 7


def test_small_gains_are_not_waited_for_but_kept() -> None:
    stop = _stop([0.50, 0.505, 0.508, 0.9], patience=2, min_delta=0.01)
    assert _run(stop, range(1, 5)) == 3
    assert stop.best_step == 3


def test_small_gains_add_up_against_the_score_last_waited_for() -> None:
    assert _run(_stop([0.50, 0.506, 0.512, 0.518, 0.524], patience=2, min_delta=0.01), range(1, 6)) is None


def test_it_judges_only_when_due_and_at_the_end_once() -> None:
    stop = _stop([0.1, 0.2, 0.3], every_steps=4)
    assert _run(stop, range(1, 11)) is None
    assert [step for step, _ in stop.history] == [4, 8]
    stop.after_step(10, last=True)
    stop.after_step(10, last=True)
    assert [step for step, _ in stop.history] == [4, 8, 10]


def test_the_best_weights_come_back() -> None:
    stop = _stop([0.1, 0.4, 0.2, 0.1], patience=2)
    _run(stop, range(1, 5))
    assert stop.restore_best() == 2
    assert stop.module[0].weight.unique().tolist() == [2.0]
    assert stop.module[1].running_mean.unique().tolist() == [2.0]
    # Frozen: not ours to bring back.
    assert stop.module[0].bias.unique().tolist() == [4.0]


def test_nothing_judged_nothing_restored() -> None:
    stop = _stop([])
    before = stop.module[0].weight.clone()
    assert stop.restore_best() is None
    assert torch.equal(stop.module[0].weight, before)


def test_without_patience_it_never_stops() -> None:
    stop = _stop([0.5, *[0.1] * 20])
    assert _run(stop, range(1, 22)) is None
    assert stop.best_step == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ModelError, match="not finite") as caught:
        _stop([value]).after_step(1)
    assert "train.stop.eval_every_steps" in caught.value.fix


def test_a_resumed_stop_goes_on_as_if_nothing_had_happened() -> None:
    scores = [0.1, 0.4, 0.3, 0.35, 0.2, 0.1]
    whole = _stop(scores, patience=4)
    assert _run(whole, range(1, 7)) == 6
    first, second = _stop(scores, patience=4), _stop(scores[3:], patience=4)
    _run(first, range(1, 4))
    stream = io.BytesIO()
    torch.save(first.state_dict(), stream)
    stream.seek(0)
    second.load_state_dict(torch.load(stream, weights_only=True))
    assert _run(second, range(4, 7)) == 6
    assert second.history == whole.history
    second.restore_best()
    whole.restore_best()
    assert torch.equal(second.module[0].weight, whole.module[0].weight)
