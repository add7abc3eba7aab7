"""A loss that breaks on one process stops all of them, in whole steps and in chunks, and names that one's products."""

from __future__ import annotations

import json
import math
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from catalog import ModelError
from models.moon import MoonModel
from models.training.module import MoonModule
from models.training.objective import Objective
from models.training.ranks import Ranks, anywhere, from_first, mean_of_all, of_all
from tests.models import shop
from tests.models.test_pairs import _dataset

WORLD, LIMIT_S = 2, 200


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
        model, config = shop.tiny_model(), shop.tiny_train(batch_size=3, chunk_tokens=chunk_tokens)
        moon = MoonModel.seeded(model, dataset.processor.tokenizer.get_vocab_size(), seed=1)
        module = MoonModule(Objective(moon, model, config, 3).train(), config, folder, "", ranks=ranks)
        try:
            module.training_step(batch, 0)
        except ModelError as error:
            told[name] = [error.problem, error.where, error.got]
    told["ranks"] = [
        of_all(rank),
        from_first(f"from {rank}"),
        anywhere(rank == 1, torch.device("cpu")),
        anywhere(False, torch.device("cpu")),
        mean_of_all({"both": float(rank), f"of {rank}": 5.0}),
    ]
    (folder / f"{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


def test_a_loss_broken_on_one_process_stops_all_and_names_its_products(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    processes = [context.Process(target=_work, args=(rank, str(tmp_path)), daemon=True) for rank in range(WORLD)]
    for process in processes:
        process.start()
    end = time.monotonic() + LIMIT_S
    for process in processes:
        process.join(max(end - time.monotonic(), 0.0))
    late = [process for process in processes if process.is_alive()]
    for process in late:
        process.kill()
    assert not late
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(WORLD)]
    broken = set(told[1]["products"])
    assert not broken & set(told[0]["products"])
    for one in told:
        for name in ("whole", "chunks"):
            problem, where, got = one[name]
            assert problem.startswith("loss is not finite at step 0; the last good checkpoint was kept")
            assert set(where.removeprefix("products ").split(", ")) == broken
            assert got == "loss/retrieval, loss"
        assert one["ranks"] == [[0, 1], "from 0", True, False, {"both": 0.5, "of 0": 5.0, "of 1": 5.0}]
