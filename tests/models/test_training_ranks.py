"""Two processes: a loss that breaks on one stops both and names its products; shards have the gradients of wholes."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from catalog import ModelError
from models.config import ModelConfig
from models.moe import load_table, plain_load
from models.moon import MoonModel
from models.tokens import TokenType
from models.training.chunks import run_step
from models.training.data import TrainSet
from models.training.grad_cache import average_gradients
from models.training.module import MoonModule
from models.training.objective import Objective
from models.training.ranks import Ranks, anywhere, from_first, mean_of_all, of_all
from models.training.sharding import clip_gradients, shard, twin_of, unsharded, whole_model
from models.training.train_batch import TrainBatch, View
from tests.models import shop
from tests.models.joined_steps import of_both
from tests.models.test_pairs import _dataset

WORLD, LIMIT_S = 2, 200


STEP: dict[str, Any] = {"batch_size": 3, "label_weight": 1.0, "distill_crops": 1.0}

MODELS = {"tests' own": shop.tiny_model(), "default head and order": shop.default_model()}


def _gradients(dataset: TrainSet, model: ModelConfig, batch: TrainBatch, ranks: Ranks) -> dict[str, torch.Tensor]:
    """Loss and gradients of a step, the mean over processes."""
    objective = _objective(dataset, model, **STEP)
    step = run_step(objective, batch, None)
    step.backward(step.loss)
    loss = step.loss.detach().clone().reshape(1)
    found = {name: one.grad for name, one in objective.named_parameters() if one.grad is not None}
    if ranks.world > 1:
        average_gradients(objective.parameters())
        dist.all_reduce(loss)
    return found | {"loss": loss / ranks.world}


def _objective(dataset: TrainSet, model: ModelConfig | None = None, **changes: Any) -> Objective:
    model = model or shop.tiny_model()
    moon = MoonModel.seeded(model, dataset.processor.tokenizer.get_vocab_size(), seed=1)
    return Objective(moon, model, shop.tiny_train(**{"batch_size": 3} | changes), max_photos=3).train()


def _shards(dataset: TrainSet, batch: TrainBatch, rank: int) -> dict[str, Any]:
    """Gradients, their norm and clipped lengths of sharded layers and of whole ones; rank 1 has no image view."""
    if rank == 1:
        views = {name: view for name, view in batch.views.items() if name != View.IMAGES}
        batch = replace(batch, views=views, image_view_rows=batch.image_view_rows[:0])
    plain, sharded = _objective(dataset), _objective(dataset)
    twin = twin_of(sharded.model)
    shard(sharded.model, init_device_mesh("cpu", (WORLD,)))
    found: dict[str, Any] = {"sharded": sum(isinstance(one, DTensor) for one in sharded.parameters())}
    for objective, is_sharded in ((plain, False), (sharded, True)):
        step = run_step(objective, batch, None, is_sharded)
        step.backward(step.loss)
        average_gradients(unsharded(objective.parameters()))
    gradients = [
        {name: _full(one.grad) for name, one in objective.named_parameters() if one.grad is not None}
        for objective in (plain, sharded)
    ]
    assert gradients[0].keys() == gradients[1].keys()
    found["difference"] = max(float((one - gradients[1][name]).abs().max()) for name, one in gradients[0].items())
    found["largest"] = max(float(one.abs().max()) for one in gradients[0].values())
    found["norms"] = [float(clip_gradients(list(one.parameters()), 0.01)) for one in (plain, sharded)]
    clipped = [_full(one.grad) for one in sharded.parameters() if one.grad is not None]
    found["clipped"] = float(torch.cat([one.flatten() for one in clipped]).norm())
    filled = whole_model(sharded.model, twin)
    if filled is not None:
        weights = filled.state_dict()
        found["same weights"] = all(torch.equal(weights[name], one) for name, one in plain.model.state_dict().items())
    return found


def _accumulated(dataset: TrainSet, folder: Path, ranks: Ranks) -> dict[str, float]:
    """How far two accumulated batches are from the mean of both, each averaged over the processes."""
    config = shop.tiny_train(batch_size=3, accumulate_batches=2)
    module = MoonModule(_objective(dataset), config, folder, "", ranks=ranks)
    for number in range(2):
        module.backward(module.training_step(dataset[number], number) / 2)
    apart, largest = 0.0, 0.0
    parts = [_gradients(dataset, shop.tiny_model(), dataset[number], ranks) for number in range(2)]
    for name, one in module.objective.named_parameters():
        if one.grad is not None:
            expected = sum(part[name] for part in parts if name in part) / 2
            apart = max(apart, float((one.grad - expected).abs().max()))
            largest = max(largest, float(expected.abs().max()))
    loss = mean_of_all(module.last_report)["loss"]
    return {"apart": apart, "largest": largest, "loss": loss - sum(float(part["loss"]) for part in parts) / 2}


def _full(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _work(rank: int, root: str) -> None:
    torch.set_num_threads(1)
    folder = Path(root)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=WORLD,
        timeout=timedelta(seconds=LIMIT_S),
    )
    ranks = Ranks(rank, WORLD)
    dataset = _dataset(shop.make_shop(folder / f"data-{rank}"), folder / f"work-{rank}", batch_size=3)
    dataset.ranks = ranks
    batch = dataset[0]
    told: dict[str, object] = {"products": batch.product_ids}
    whole = Objective.loss

    def poisoned(self: Objective, batch, encoded):  # type: ignore[no-untyped-def]
        loss, report = whole(self, batch, encoded)
        factor = math.nan if rank == 1 else 1.0
        return loss * factor, report | {"loss/retrieval": loss.detach() * factor}

    Objective.loss = poisoned  # type: ignore[method-assign]
    for name, chunk_tokens in (("whole", None), ("chunks", 200)):
        config = shop.tiny_train(batch_size=3, chunk_tokens=chunk_tokens)
        module = MoonModule(_objective(dataset), config, folder, "", ranks=ranks)
        try:
            module.training_step(batch, 0)
        except ModelError as error:
            told[name] = [error.problem, error.where, error.got]
    Objective.loss = whole  # type: ignore[method-assign]

    def finite(self: Objective, batch, encoded):  # type: ignore[no-untyped-def]
        loss, report = whole(self, batch, encoded)
        # sqrt(0 w) is 0, and its gradient 0 / 0.
        return loss + (0.0 * self.model.head.project.weight.sum()).sqrt(), report

    Objective.loss = finite if rank == 1 else whole  # type: ignore[method-assign]
    module = MoonModule(_objective(dataset), shop.tiny_train(batch_size=3), folder, "", ranks=ranks)
    module.backward(module.training_step(batch, 0))
    try:
        module.configure_gradient_clipping(torch.optim.SGD(module.parameters()))
    except ModelError as error:
        told["gradients"] = [error.problem, error.where, error.got]
    Objective.loss = whole  # type: ignore[method-assign]
    told["shards"] = _shards(dataset, batch, rank)
    for number, model in enumerate(MODELS.values()):
        mine = _dataset(shop.make_shop(folder / f"data-{rank}"), folder / f"work-{rank}-{number}", model, **STEP)
        mine.ranks = ranks
        save_file(_gradients(mine, model, mine[0], ranks), folder / f"gradients-{number}-{rank}.safetensors")
    told["accumulated"] = _accumulated(dataset, folder, ranks)
    told["ranks"] = [
        of_all(rank),
        from_first(f"from {rank}"),
        anywhere(rank == 1, torch.device("cpu")),
        anywhere(False, torch.device("cpu")),
        mean_of_all({"both": float(rank), f"of {rank}": 5.0}),
    ]
    # What one process alone goes on from must not be counted once more by the others.
    resume = {"step": 1, "seconds": 0.0, "history": []}
    objective = _objective(dataset)
    table = torch.zeros_like(load_table(objective.model.moes))
    table[0, TokenType.TITLE, 0] = 100
    module = MoonModule(objective, config, folder, "", {**resume, "expert_choices": table}, ranks=ranks)
    objective.model.moes[0].load[TokenType.TITLE, 0] += 10 + rank
    told["choices"] = plain_load(module.expert_choices())
    (folder / f"{rank}.json").write_text(json.dumps(told))
    dist.barrier()
    # As the processes of a training end: without the interpreter's own end.
    os._exit(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes leave what they found."""
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def told(folder: Path) -> list[dict[str, Any]]:
    """What both processes found."""
    context = mp.get_context("spawn")
    processes = [context.Process(target=_work, args=(rank, str(folder)), daemon=True) for rank in range(WORLD)]
    for process in processes:
        process.start()
    end = time.monotonic() + LIMIT_S
    for process in processes:
        process.join(max(end - time.monotonic(), 0.0))
    late = [process for process in processes if process.is_alive()]
    for process in late:
        process.kill()
    assert not late
    assert [process.exitcode for process in processes] == [0] * WORLD
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]


def test_a_loss_broken_on_one_process_stops_all_and_names_its_products(told: list[dict[str, Any]]) -> None:
    broken = set(told[1]["products"])
    assert not broken & set(told[0]["products"])
    for one in told:
        for name in ("whole", "chunks"):
            problem, where, got = one[name]
            assert problem.startswith("loss is not finite at step 0; no checkpoint was written yet")
            assert set(where.removeprefix("products ").split(", ")) == broken
            assert got == "loss/retrieval, loss"


def test_gradients_broken_on_one_process_stop_all_and_name_its_products(told: list[dict[str, Any]]) -> None:
    for one in told:
        problem, where, got = one["gradients"]
        assert problem.startswith("gradients of a finite loss are not finite at step 0; no checkpoint was")
        assert set(where.removeprefix("products ").split(", ")) == set(told[1]["products"])
        assert got == "gradient norm nan"


def test_shards_have_the_gradients_of_wholes(told: list[dict[str, Any]]) -> None:
    for one in told:
        found = one["shards"]
        assert found["sharded"] > 10
        assert found["largest"] > 1e-2
        assert found["difference"] <= 1e-5
        assert found["norms"][1] == pytest.approx(found["norms"][0], rel=1e-5)
        assert found["clipped"] == pytest.approx(0.01, rel=1e-3)
    assert told[0]["shards"]["same weights"]
    assert "same weights" not in told[1]["shards"]


def test_processes_tell_each_other(told: list[dict[str, Any]]) -> None:
    for one in told:
        assert one["ranks"] == [[0, 1], "from 0", True, False, {"both": 0.5, "of 0": 5.0, "of 1": 5.0}]


def test_accumulated_gradients_are_the_mean_over_batches_and_processes(told: list[dict[str, Any]]) -> None:
    for one in told:
        assert one["accumulated"]["largest"] > 1e-2
        assert one["accumulated"]["apart"] <= 1e-5
        assert abs(one["accumulated"]["loss"]) <= 1e-5


def test_choices_are_those_of_all_processes_and_of_earlier_runs_once(told: list[dict[str, Any]]) -> None:
    for one in told:
        assert one["choices"] == [{"title": [100 + 10 + 11, 0, 0]}]


@pytest.mark.parametrize("number", range(len(MODELS)), ids=list(MODELS))
def test_two_processes_have_the_gradients_of_one(told: list[dict[str, Any]], folder: Path, number: int) -> None:
    model = list(MODELS.values())[number]
    dataset = _dataset(shop.make_shop(folder / "data"), folder / f"work-{number}", model, **STEP)
    expected = _gradients(dataset, model, of_both(dataset, 0), Ranks())
    largest = max(float(one.abs().max()) for name, one in expected.items() if name != "loss")
    assert largest > 1e-2
    for rank in range(WORLD):
        found = load_file(folder / f"gradients-{number}-{rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, one in expected.items():
            assert float((found[name] - one).abs().max()) <= 1e-5, name
