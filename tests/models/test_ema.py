"""The moving average against its closed form and torch's own."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.training.ema import Ema


def _steps(num: int) -> list[torch.Tensor]:
    return list(torch.randn(num, 3, generator=torch.Generator().manual_seed(0)))


class Weights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.learns, self.stays = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("count", torch.zeros(()))


def _set(module: Weights, value: torch.Tensor) -> None:
    with torch.no_grad():
        module.learns.copy_(value)


def test_the_average_is_the_recursion_written_out() -> None:
    module, steps = Weights(), _steps(200)
    ema = Ema(module, decay=0.9)
    expected = torch.zeros(3, dtype=torch.float64)
    for number, value in enumerate(steps, start=1):
        _set(module, value)
        ema.update()
        kept = min(0.9, number / (number + 9))
        assert ema.current_decay == pytest.approx(kept)
        expected = kept * expected + (1 - kept) * value.double()
    with ema.swapped_in():
        assert torch.allclose(module.learns.double(), expected, atol=1e-6)


def test_past_the_warm_up_it_is_torchs_average() -> None:
    module = Weights()
    ema, theirs = Ema(module, decay=0.5), AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    ema.num_updates = 1000
    theirs.n_averaged += 1
    for value in _steps(20):
        _set(module, value)
        ema.update()
        theirs.update_parameters(module)
    ema.copy_to()
    assert torch.allclose(module.learns, theirs.module.learns, atol=1e-6)


def test_the_first_update_forgets_most_of_the_start() -> None:
    module = Weights()
    ema = Ema(module, decay=0.999)
    _set(module, torch.ones(3))
    ema.update()
    ema.copy_to()
    assert torch.allclose(module.learns, torch.full((3,), 0.9))


def test_decay_zero_is_the_weights_themselves() -> None:
    module = Weights()
    ema = Ema(module, decay=0.0)
    for value in _steps(3):
        _set(module, value)
        ema.update()
    ema.copy_to()
    assert torch.equal(module.learns, value)


def test_swapping_brings_the_weights_back_also_after_an_error() -> None:
    module = Weights()
    ema = Ema(module, decay=0.9)
    _set(module, torch.ones(3))
    ema.update()
    with ema.swapped_in():
        assert torch.allclose(module.learns, torch.full((3,), 0.9))
    assert torch.equal(module.learns, torch.ones(3))
    with pytest.raises(RuntimeError), ema.swapped_in():
        torch.zeros(2) + torch.zeros(3)
    assert torch.equal(module.learns, torch.ones(3))
    with ema.swapped_in(), pytest.raises(AssertionError):
        ema.update()


def test_frozen_parameters_and_buffers_are_left_alone() -> None:
    module = Weights()
    ema = Ema(module, decay=0.9)
    with torch.no_grad():
        module.stays.fill_(5.0)
        module.count.fill_(7.0)
    ema.update()
    ema.copy_to()
    assert module.stays.tolist() == [5.0, 5.0]
    assert float(module.count) == 7.0


def test_a_resumed_average_goes_on_exactly() -> None:
    whole, first, second = Weights(), Weights(), Weights()
    one, two = Ema(whole, decay=0.8), Ema(first, decay=0.8)
    steps = _steps(12)
    for value in steps:
        _set(whole, value)
        one.update()
    for value in steps[:5]:
        _set(first, value)
        two.update()
    stream = io.BytesIO()
    torch.save(two.state_dict(), stream)
    stream.seek(0)
    resumed = Ema(second, decay=0.8)
    resumed.load_state_dict(torch.load(stream, weights_only=True))
    for value in steps[5:]:
        _set(second, value)
        resumed.update()
    one.copy_to()
    resumed.copy_to()
    assert torch.equal(whole.learns, second.learns)


def test_bf16_weights_are_averaged_in_float32() -> None:
    module = Weights().to(torch.bfloat16)
    ema = Ema(module, decay=0.999)
    ema.num_updates = 100_000
    _set(module, torch.ones(3))
    for _ in range(1000):
        ema.update()
    ema.copy_to()
    # 1 - 0.999 ** 1000; in bf16 the average would have stopped at 0.25, where a step is below half a unit.
    assert module.learns.float().tolist() == pytest.approx([0.6323] * 3, abs=0.003)
