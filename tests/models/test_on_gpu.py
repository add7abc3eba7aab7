"""What computes otherwise on a GPU: experts, a step in chunks with activations computed again, resume; fp32 and bf16.

Skipped without one. `MOON_TEST_DEVICE=cpu` runs the same bodies on the CPU, which shows that they work, not that a GPU
does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from models.moe.dispatch import has_grouped_product, mix
from models.training import train
from models.training.chunks import run_step
from models.training.module import MoonModule
from models.training.recompute import recompute_activations
from models.training.record import TrainingRecord
from tests.models import shop
from tests.models.moe_layers import WIDTH, make, naive, shake, some_types
from tests.models.naive_step import naive_step
from tests.models.test_chunks import _objective
from tests.models.test_moe_dispatch import D, E, T, _all_and_mask, _problem
from tests.models.test_pairs import _dataset

NAME = os.environ.get("MOON_TEST_DEVICE", "cuda")
pytestmark = pytest.mark.skipif(NAME == "cuda" and not torch.cuda.is_available(), reason="no GPU is here")
PRECISIONS = ("fp32", "bf16")
MOST_OFF = {"fp32": 1e-4, "bf16": 3e-2}
"""Length of the difference over length of what is expected. Roundings are 2^-24 and 2^-9 each; a GPU adds in no fixed
order."""


@pytest.fixture
def device() -> torch.device:
    return torch.device(NAME)


def _computing(device: torch.device, precision: str) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def _off(ours: Iterable[torch.Tensor], expected: Iterable[torch.Tensor]) -> float:
    """Of all tensors laid end to end."""
    pairs = [
        (one.detach().double().cpu(), two.detach().double().cpu()) for one, two in zip(ours, expected, strict=True)
    ]
    apart = sum(float((one - two).square().sum()) for one, two in pairs)
    return (apart / sum(float(two.square().sum()) for _, two in pairs)) ** 0.5


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_grouped_experts_equal_all_experts_masked(
    precision: str, gated: bool, bias: bool, device: torch.device
) -> None:
    h, gate, (expert, *weights) = _problem(gated, bias)
    wanted = [h, gate, *(one for one in weights if one is not None)]
    upstream = torch.randn((T, D), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = _all_and_mask(h, gate, expert, *weights, gated)
    slopes = torch.autograd.grad((expected * upstream).sum(), wanted)

    def moved(one: torch.Tensor | None) -> torch.Tensor | None:
        return None if one is None else one.detach().float().to(device).requires_grad_()

    h_, gate_, *weights_ = (moved(one) for one in (h, gate, *weights))
    assert h_ is not None
    assert gate_ is not None
    with _computing(device, precision):
        ours = mix(h_, expert.to(device), gate_, *weights_, gated=gated)  # type: ignore[arg-type]
    found = torch.autograd.grad(
        (ours.float() * upstream.float().to(device)).sum(), [one for one in (h_, gate_, *weights_) if one is not None]
    )
    assert ours.device.type == device.type
    if device.type == "cuda" and precision == "bf16" and torch.cuda.get_device_capability(device) >= (8, 0):
        assert has_grouped_product(device, torch.bfloat16, *(one for one in weights_[:2] if one is not None))
    assert _off([ours], [expected]) < MOST_OFF[precision]
    for one, other in zip(found, slopes, strict=True):
        assert _off([one], [other]) < MOST_OFF[precision]
    # Nobody chose the last expert.
    assert not bool((expert == E - 1).any())
    assert all(float(one[E - 1].abs().max()) == 0.0 for one in found[2:])


@pytest.mark.parametrize("combination", ["switch", "additive"])
@pytest.mark.parametrize("expert", ["full", "low_rank"])
def test_a_guided_layer_equals_its_formula(expert: str, combination: str, device: torch.device) -> None:
    """In fp32: the router tosses no coins that the CPU's would not."""
    _, moe, in_view = make({"expert": expert, "combination": combination, "router_guidance": "both"})
    shake(moe)
    moe.eval()
    h = torch.randn((2, 8, WIDTH), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = naive(moe, h, some_types())
        moe.to(device)
        with in_view.showing(some_types().to(device)):
            ours = moe(h.to(device))
    assert _off([ours], [expected]) < MOST_OFF["fp32"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_step_in_chunks_computed_again_is_the_step_of_the_whole_batch(
    precision: str, device: torch.device, tmp_path: Path
) -> None:
    dataset = _dataset(shop.make_shop(tmp_path / "data"), tmp_path / "work", batch_size=8)
    batch = dataset[0].to(device)
    whole, ours = _objective(dataset).to(device), _objective(dataset).to(device)
    recompute_activations(ours.model)
    with _computing(device, precision):
        expected, _ = naive_step(whole, batch)
        expected.backward()
        step = run_step(ours, batch, 300)
        step.backward(step.loss)
    assert len(step.held) == 2
    assert float(step.drift) <= step.drift_bound
    assert float(step.loss.detach()) == pytest.approx(float(expected.detach()), rel=MOST_OFF[precision])
    theirs = {name: one.grad for name, one in whole.named_parameters() if one.grad is not None}
    made = {name: one.grad for name, one in ours.named_parameters() if one.grad is not None}
    assert made.keys() == theirs.keys()
    assert {one.device.type for one in made.values()} == {device.type}
    assert _off(made.values(), theirs.values()) < 3 * MOST_OFF[precision]


class _Cut(BaseException):
    """Ends a training between two checkpoints, as a kill does."""


@pytest.mark.parametrize("precision", PRECISIONS)
def test_cut_off_and_resumed_equals_uninterrupted(
    precision: str, device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = shop.make_shop(tmp_path / "data")
    start = MoonModule.on_train_batch_start

    def cut_at_3(self: MoonModule, *args: Any) -> None:
        if self.step == 3:
            raise _Cut
        start(self, *args)

    def run(name: str) -> TrainingRecord:
        return train(
            catalog,
            shop.all_train(catalog),
            model=shop.default_model(),
            train=shop.tiny_train(
                steps=5,
                device=device.type,
                precision=precision,
                chunk_tokens=400,
                gradient_checkpointing=True,
                ema_decay=0.6,
                negatives={"queue_size": 8, "queue_warmup_steps": 1},
            ),
            regions=shop.regions(),
            regions_config=shop.REGIONS,
            work_dir=tmp_path / f"work-{name}",
            out_dir=tmp_path / name,
        )

    whole = run("whole")
    with monkeypatch.context() as patch:
        patch.setattr(MoonModule, "on_train_batch_start", cut_at_3)
        with pytest.raises(_Cut):
            run("cut")
    torch.manual_seed(99)
    resumed = run("cut")
    assert (whole.device.split(":")[0], whole.precision) == (device.type, precision)
    assert (resumed.resumed_from_step, resumed.steps) == (2, whole.steps)
    assert [point["step"] for point in resumed.history] == [point["step"] for point in whole.history]
    for one, other in zip(resumed.history, whole.history, strict=True):
        assert one["train/loss"] == pytest.approx(other["train/loss"], rel=MOST_OFF[precision])
        assert one["train/grad_norm"] == pytest.approx(other["train/grad_norm"], rel=10 * MOST_OFF[precision])
