"""A training that cannot fit ends before it begins: through `train`, as a user meets it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from catalog import ModelError
from models.config import ModelConfig, MoeConfig
from models.moe import moe_parameters
from models.moon import MoonModel
from models.training import costs, train
from models.training.costs import available_bytes, check_experts_fit, check_memory
from models.training.estimate import Estimate
from models.training.workload import estimate_training
from tests.models import shop
from tests.models.estimate_step import make_model, make_views, make_work

CPU, GPU = torch.device("cpu"), torch.device("cuda")
BYTES_A_PARAMETER = 16


def _with_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(costs, "free_bytes", lambda device: free)


def _train(root: Path, model: ModelConfig) -> None:
    catalog = shop.make_shop(root / "data")
    train(
        catalog,
        shop.all_train(catalog),
        model=model,
        train=shop.tiny_train(steps=1, device="cpu"),
        regions=shop.regions(),
        regions_config=shop.REGIONS,
        work_dir=root / "work",
        out_dir=root / "model",
    )


def _wanted(model: ModelConfig, num_layers: int = 1) -> int:
    """Bytes of the experts that learn."""
    counted = moe_parameters(model.moe, model.nano.hidden_size, model.nano.ffn_size)
    return num_layers * counted["trainable"] * BYTES_A_PARAMETER


def test_training_refuses_experts_that_do_not_fit_before_any_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(MoonModel, "seeded", lambda *args: made.append(args))
    model = shop.tiny_model(moe={"num_experts": 4096, "expert": "full"})
    _with_free(monkeypatch, _wanted(model) - 1)
    with pytest.raises(ModelError, match="more experts than fit into memory") as caught:
        _train(tmp_path, model)
    assert caught.value.where == "model.moe.num_experts"
    assert "enough for 4095" in caught.value.allowed
    assert made == []


def test_training_refuses_what_cannot_stand_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_free(monkeypatch, 10)
    with pytest.raises(ModelError, match="the training does not fit into memory") as caught:
        _train(tmp_path, shop.tiny_model(moe={"layers": []}))
    assert caught.value.where == "train.parameters"
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("layers", "num"), [((-1, 1), 1), ((0, -2), 1), ((0, 1, -1), 2)])
def test_a_layer_named_twice_is_counted_once(
    monkeypatch: pytest.MonkeyPatch, layers: tuple[int, ...], num: int
) -> None:
    model = shop.tiny_model(moe={"layers": layers})
    _with_free(monkeypatch, _wanted(model, num))
    check_experts_fit(model, None, CPU)
    _with_free(monkeypatch, _wanted(model, num) - 1)
    with pytest.raises(ModelError, match=f"in each of {num} layers"):
        check_experts_fit(model, None, CPU)


class _Layered:
    """A backbone as far as the check looks: two layers, of which the first has the narrower FFN."""

    hidden_size, ffn_name = 8, "mlp"

    def __init__(self, *ffns: nn.Module) -> None:
        self._layers = nn.ModuleList(nn.ModuleDict({"mlp": one}) for one in ffns)
        for layer, ffn in zip(self._layers, ffns, strict=True):
            layer.mlp = ffn

    def decoder_layers(self) -> nn.ModuleList:
        return self._layers


def test_the_width_is_that_of_the_layers_that_get_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = _Layered(nn.Linear(8, 16), nn.Linear(8, 64))
    model = shop.tiny_model(moe={"layers": (-1,), "expert": "full"})
    wanted = moe_parameters(model.moe, 8, 64)["trainable"] * BYTES_A_PARAMETER
    _with_free(monkeypatch, wanted)
    check_experts_fit(model, backbone, CPU)
    _with_free(monkeypatch, wanted - 1)
    with pytest.raises(ModelError, match="more experts"):
        check_experts_fit(model, backbone, CPU)


def test_an_ffn_without_linear_maps_has_a_width_of_none_that_low_rank_experts_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mixtures of transformers keep their experts' matrices stacked."""
    model = shop.tiny_model(moe={"layers": (-1,), "rank": 4})
    backbone = _Layered(nn.LayerNorm(8), nn.LayerNorm(8))
    wanted = moe_parameters(model.moe, 8, 0)["trainable"] * BYTES_A_PARAMETER
    _with_free(monkeypatch, wanted)
    check_experts_fit(model, backbone, CPU)
    _with_free(monkeypatch, wanted - 1)
    with pytest.raises(ModelError, match="more experts"):
        check_experts_fit(model, backbone, CPU)
    with pytest.raises(ModelError, match="in a layer that the decoder has not"):
        check_experts_fit(model.model_copy(update={"moe": MoeConfig(layers=(2,))}), backbone, CPU)


@pytest.fixture
def estimate() -> Estimate:
    return estimate_training(make_model(MoeConfig(layers=())), (), make_work(make_views()))


def test_both_checks_give_a_process_the_same_share(monkeypatch: pytest.MonkeyPatch, estimate: Estimate) -> None:
    model, free = shop.tiny_model(), 3 * _wanted(shop.tiny_model())
    _with_free(monkeypatch, free)
    together = shop.tiny_train(num_processes=3)
    assert available_bytes(estimate, together, CPU) == free // 3 + estimate.memory.parameters
    check_experts_fit(model, None, CPU, 3)
    _with_free(monkeypatch, free - 1)
    with pytest.raises(ModelError, match="more experts"):
        check_experts_fit(model, None, CPU, 3)
    # Each has a GPU of its own.
    assert available_bytes(estimate, together, GPU) == free - 1
    check_experts_fit(model, None, GPU, 3)
    _with_free(monkeypatch, _wanted(model) - 1)
    with pytest.raises(ModelError, match="fit into the GPU"):
        check_experts_fit(model, None, GPU, 3)


@pytest.mark.parametrize(("short", "told"), [(0, False), (1, True)])
def test_activations_that_may_not_fit_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, estimate: Estimate, short: int, told: bool
) -> None:
    memory = estimate.memory
    assert memory.total > memory.standing
    alone: Any = shop.tiny_train()
    _with_free(monkeypatch, memory.total - memory.parameters - short)
    with caplog.at_level(logging.WARNING):
        check_memory(estimate, alone, CPU)
    assert ("the training may not fit" in caplog.text) == told
    _with_free(monkeypatch, memory.standing - memory.parameters - 1)
    with pytest.raises(ModelError, match="does not fit"):
        check_memory(estimate, alone, CPU)
