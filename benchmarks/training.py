"""What the training loop costs and what its savings save: `python -m benchmarks.training`.

Three questions, each answered in one run with the arms taking turns step by step, so that whatever else the machine
does falls on all of them alike. Figures are medians of the ratios of neighbours; wall clock and processor time of this
process, the latter being the nearer to the truth on a machine that others use too.

  lightning   the whole Lightning step (loader, hooks, guards, logging) over a bare loop of the same model and batches
  bucketing   the decoder, forward and backward, on rows of like length together, against chunks of the same sizes in
              the order given and against view by view, each padded to its longest row; at nano's width and at that of
              the laptop recipe, since small products gain less than they save
  features    steps that read what a frozen tower saw from disk, over steps that run the tower

The shop is the demo's, the model is `nano` as the demo recipe has it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.ablation.machine import commit, machine
from catalog import CatalogConfig, DemoConfig, SplitConfig, Splits, split_catalog
from catalog.catalog import Catalog
from catalog.sources import load_catalog
from models.backbones import PictureFeatures
from models.batch import Batch, joined
from models.bucketing import Buckets, unsorted
from models.config import ModelConfig, NanoConfig, TrainConfig
from models.regions import CoreRegions, RegionsConfig, make_chooser, make_detector
from models.training.chunks import plan_at_once, run_step
from models.training.data import TrainSet
from models.training.fit import run_trainer
from models.training.module import MoonModule
from models.training.objective import Objective
from models.training.prepare import Prepared, prepare
from models.training.schedule import lr_factor
from models.training.train_batch import TrainBatch

RESULTS = Path(__file__).resolve().parent / "results" / "training.json"
TOWER = "*.visual.*"
NANO = ModelConfig()
WIDE = ModelConfig(nano=NanoConfig(hidden_size=576, num_heads=8, ffn_size=1536, num_layers=1))
WIDE_ROUNDS = 4
SKIPPED = 2
"""First steps of each comparison, in which memory is fetched and kernels are chosen."""


@dataclass
class Turns:
    """Seconds of the arms, round by round."""

    wall_s: dict[str, list[float]] = field(default_factory=dict)
    cpu_s: dict[str, list[float]] = field(default_factory=dict)

    def add(self, arm: str, started: tuple[float, float]) -> None:
        """An arm's turn that began at `started` ends now."""
        wall, cpu = clock()
        self.wall_s.setdefault(arm, []).append(wall - started[0])
        self.cpu_s.setdefault(arm, []).append(cpu - started[1])

    def ratio(self, arm: str, base: str) -> dict[str, float]:
        """Median over rounds of arm / base, the ratio of the fastest rounds, and the medians themselves."""
        found: dict[str, float] = {}
        for name, seconds in (("wall", self.wall_s), ("cpu", self.cpu_s)):
            one, other = seconds[arm][SKIPPED:], seconds[base][SKIPPED:]
            found[f"{name}_ratio"] = statistics.median(a / b for a, b in zip(one, other, strict=True))
            # The fastest rounds are the nearest to a machine that does nothing else.
            found[f"{name}_fastest_ratio"] = min(one) / min(other)
            found[f"{name}_s"], found[f"{name}_base_s"] = statistics.median(one), statistics.median(other)
        return {name: round(value, 4) for name, value in found.items()} | {"rounds": len(self.wall_s[arm]) - SKIPPED}


def clock() -> tuple[float, float]:
    """Wall clock and processor time of this process, seconds."""
    return time.perf_counter(), time.process_time()


@dataclass(frozen=True)
class Shop:
    """A catalogue and what training needs beside it."""

    catalog: Catalog
    splits: Splits
    regions: CoreRegions
    folder: Path

    def prepared(self, train: TrainConfig, name: str, model: ModelConfig = NANO) -> Prepared:
        """A fresh training on it."""
        return prepare(self.catalog, self.splits, model, train, self.regions, self.folder / name)


def make_shop(num_products: int, folder: Path) -> Shop:
    """Render the demo shop, or find it rendered."""
    config = CatalogConfig(source="demo", demo=DemoConfig(num_products=num_products))
    catalog = load_catalog(config, work_dir=str(folder / "shop"))
    regions = RegionsConfig()
    found = CoreRegions(make_detector(regions), make_chooser(regions))
    for name in ("work", "features"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Shop(catalog, split_catalog(catalog, SplitConfig()), found, folder)


class BareLoop:
    """The same step without Lightning: loss, gradients, clipping, AdamW, learning rate, queue, temperatures."""

    def __init__(self, objective: Objective, dataset: TrainSet, optimizer: torch.optim.Optimizer) -> None:
        self.objective, self.dataset, self.optimizer = objective, dataset, optimizer
        self.config = dataset.config

    def step(self, number: int) -> float:
        batch = self.dataset[number]
        factor = lr_factor(number / self.config.steps, self.config.warmup_frac)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        self.optimizer.zero_grad()
        step = run_step(self.objective, batch, self.config.chunk_tokens)
        step.backward(step.loss)
        torch.nn.utils.clip_grad_norm_(self.objective.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.objective.remember(batch, step.products)
        self.objective.temperature.clamp_()
        self.objective.label_temperature.clamp_()
        return float(step.loss.detach())


class InTurns(MoonModule):
    """Takes turns with a bare loop: after each Lightning step the same step there."""

    bare: BareLoop
    turns: Turns
    started: tuple[float, float]

    def on_train_start(self) -> None:
        super().on_train_start()
        self.started = clock()

    def on_train_batch_end(self, outputs: Any, batch: TrainBatch, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx)
        # What Lightning does after this hook, and before the next, is in its next turn.
        self.turns.add("lightning", self.started)
        started = clock()
        loss = self.bare.step(batch_idx)
        self.turns.add("bare", started)
        assert abs(loss - self.last_report["loss"]) < 1e-3 * max(1.0, abs(loss)), "the two loops train differently"
        self.started = clock()


def lightning(shop: Shop, train: TrainConfig, model: ModelConfig = NANO) -> dict[str, float]:
    """The Lightning step over the bare one."""
    ours, theirs = shop.prepared(train, "work", model), shop.prepared(train, "work", model)
    module = InTurns(ours.objective, train, shop.folder / "work", "")
    bare = MoonModule(theirs.objective, train, shop.folder / "work", "")
    module.bare = BareLoop(theirs.objective.train(), theirs.dataset, bare.configure_optimizers())
    module.turns = Turns()
    run_trainer(module, ours.dataset, torch.device("cpu"), "fp32")
    return module.turns.ratio("lightning", "bare")


def bucketing(shop: Shop, train: TrainConfig, rounds: int, model: ModelConfig) -> dict[str, Any]:
    """All rows of a step sorted by length, in the order given, and each view by itself."""
    prepared = shop.prepared(train, "work", model)
    objective, turns = prepared.objective.train(), Turns()
    padding: dict[str, list[float]] = {}
    for number in range(rounds + SKIPPED):
        batch = prepared.dataset[number]
        plan, rows = plan_at_once(batch), joined(list(batch.views.values()))
        starts = [0, *itertools.accumulate(len(view) for view in batch.views.values())]
        views = tuple(tuple(range(start, end)) for start, end in itertools.pairwise(starts))
        arms = {
            "sorted": plan,
            "as they come": unsorted(plan.lengths, max(len(chunk) for chunk in plan.chunks)),
            "view by view": Buckets(views, plan.lengths),
        }
        with torch.no_grad():
            pictures = objective.pictures(batch)
        for arm, chosen in arms.items():
            started = clock()
            _encode(objective, rows, pictures, chosen)
            turns.add(arm, started)
            padding.setdefault(arm, []).append(chosen.padding_frac)
    return {
        "as they come / sorted": turns.ratio("as they come", "sorted"),
        "view by view / sorted": turns.ratio("view by view", "sorted"),
        "padding_frac": {arm: round(statistics.mean(shares), 4) for arm, shares in padding.items()},
    }


def _encode(objective: Objective, rows: Batch, pictures: PictureFeatures, plan: Buckets) -> None:
    objective.zero_grad()
    total = torch.zeros(())
    for some in plan.chunks:
        total = total + objective.encode(rows.rows(torch.tensor(some)), pictures)[:, 0].sum()
    objective.model.take_stats()
    total.backward()


def features(shop: Shop, train: TrainConfig, rounds: int, model: ModelConfig = NANO) -> dict[str, float]:
    """Steps that run a frozen tower over steps that read what it saw."""
    frozen = train.parameters.model_copy(update={"freeze": (TOWER,)})
    turns, loops = Turns(), {}
    for arm, variants in (("tower", 0), ("features", train.feature_variants)):
        changed = train.model_copy(update={"parameters": frozen, "feature_variants": variants})
        prepared = shop.prepared(changed, "features", model)
        bare = MoonModule(prepared.objective, changed, shop.folder / "features", "")
        loops[arm] = BareLoop(prepared.objective.train(), prepared.dataset, bare.configure_optimizers())
    for number in range(rounds + SKIPPED):
        for arm, loop in loops.items():
            started_at = clock()
            loop.step(number)
            turns.add(arm, started_at)
    return turns.ratio("tower", "features")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30, help="steps of each comparison")
    parser.add_argument("--products", type=int, default=200, help="of the demo shop")
    parser.add_argument("--batch", type=int, default=64, help="pairs a step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("lightning", "bucketing", "features"), help="one comparison; not kept")
    parser.add_argument("--work", type=Path, help="folder for the shop and its pictures; default: a temporary one")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON; default: benchmarks/results/training.json")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    train = TrainConfig(steps=asked.steps + SKIPPED, batch_size=asked.batch, checkpoint_every_steps=10**6)
    with tempfile.TemporaryDirectory() as temporary:
        shop = make_shop(asked.products, asked.work or Path(temporary))
        comparisons: dict[str, Callable[[], dict[str, Any]]] = {
            "lightning": lambda: lightning(shop, train),
            "bucketing": lambda: {
                f"width {model.nano.hidden_size}": bucketing(shop, train, rounds, model)
                for model, rounds in ((NANO, asked.steps), (WIDE, min(WIDE_ROUNDS, asked.steps)))
            },
            "features": lambda: features(shop, train, asked.steps),
        }
        found: dict[str, Any] = {}
        for name, compare in comparisons.items():
            if asked.only in (None, name):
                load = os.getloadavg()[0]
                found[name] = compare() | {"load": round(load, 2)}
                print(f"{name}: {json.dumps(found[name])}", flush=True)
    if asked.only is None:
        told = {
            **machine(),
            "threads": asked.threads,
            "batch": asked.batch,
            "steps": asked.steps,
            "products": asked.products,
            "commit": commit(),
            **found,
        }
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        print(f"written to {asked.out}")


if __name__ == "__main__":
    main()
