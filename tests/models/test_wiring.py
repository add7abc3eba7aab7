"""What the configuration says reaches the step that it steers: flip a key, and a number computed by hand follows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from catalog import Catalog
from catalog.rows import Signal
from models.config import TrainConfig
from models.negatives import candidate_codes, not_negative
from models.pairs import KINDS, build_pairs
from models.training.data import TrainSet
from models.training.module import MoonModule
from models.training.objective import Encoded, Objective
from models.training.prepare import Prepared, prepare
from models.training.sampler import BatchSampler
from models.training.train_batch import TrainBatch, View
from tests.models import shop

PLAIN: dict[str, Any] = {
    "batch_size": 8,
    "pair_sources": ["purchases"],
    "temperature": 0.5,
    "symmetric": False,
    "mask_same_group": False,
    "similarity_guard": None,
    "alignment_weight": 0.0,
    "label_weight": 0.0,
    "signals": None,
}
"""The retrieval loss alone, in one direction, every other product a negative."""
SIGNALS = {"red": Signal.PURCHASE, "green": Signal.CART, "blue": Signal.CLICK, "black": Signal.NONE}


@dataclass
class Wired:
    """A shop, and what `prepare` made of it."""

    catalog: Catalog
    prepared: Prepared

    def dataset(self, **changes: Any) -> TrainSet:
        """Batches of all eight products."""
        config = _config(**changes)
        table = build_pairs(self.catalog, shop.all_train(self.catalog), config)
        leaf = {key: key.split("-")[0] for key in table.by_product}
        sampler = BatchSampler(list(table.by_product), leaf, config.batch_size, 0, config.seed)
        whole = self.prepared.dataset
        return TrainSet(self.catalog, table, whole.fields, sampler, whole.processor, whole.store, config)

    def objective(self, **changes: Any) -> Objective:
        return Objective(self.prepared.model, self.prepared.model.config, _config(**changes))

    def module(self, folder: Path, **changes: Any) -> MoonModule:
        return MoonModule(self.objective(**changes), _config(**changes), folder, "fingerprint")


def _config(**changes: Any) -> TrainConfig:
    return shop.tiny_train(**(PLAIN | changes))


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Wired:
    folder = tmp_path_factory.mktemp("wired")
    catalog = shop.make_shop(folder / "shop")
    queries = []
    for query in catalog.queries:
        shape, colour = query.product_ids[0].split("-")
        changes = {"signal": SIGNALS[colour], "weight": 3.0 if shape == "mug" else 1.0}
        queries.append(query.model_copy(update=changes))
    catalog = replace(catalog, queries=tuple(queries))
    train = _config(hard_negative_level=0, hard_negatives_per_query=2)
    (folder / "work").mkdir()
    splits = shop.all_train(catalog)
    return Wired(catalog, prepare(catalog, splits, shop.tiny_model(), train, shop.regions(), folder / "work"))


@pytest.fixture(scope="module")
def batch(wired: Wired) -> TrainBatch:
    """One batch for all losses: half way through six steps, every pair of the same weight."""
    made = wired.dataset()[3]
    assert set(made.kinds) == set(KINDS)
    return replace(made, weight_B=torch.ones(8))


def _vectors(seed: int, num: int = 8) -> torch.Tensor:
    return F.normalize(torch.randn(num, 24, generator=torch.Generator().manual_seed(seed)), dim=1)


QUERIES, PRODUCTS = _vectors(1), _vectors(2)
# Half of the queries know their products, the others are as far from them as from any.
PRODUCTS[:4] = F.normalize(PRODUCTS[:4] + QUERIES[:4], dim=1)


def _loss(objective: Objective, batch: TrainBatch, gates_BZ: torch.Tensor | None = None) -> float:
    with torch.no_grad():
        _, report = objective.loss(batch, Encoded({View.QUERIES: QUERIES, View.PRODUCTS: PRODUCTS}, [], gates_BZ))
    return float(report["loss/retrieval"])


def _cosines(past: torch.Tensor | None = None) -> list[list[float]]:
    pool = PRODUCTS if past is None else torch.cat((PRODUCTS, past))
    return [[float(one) for one in row] for row in QUERIES @ pool.T]


def _each(cosines: list[list[float]], counts: Callable[[int, int], float] = lambda i, j: 1.0) -> list[float]:
    """Loss of each query; `counts` says what candidate j is to query i as a negative."""
    losses = []
    for i, row in enumerate(cosines):
        others = sum(counts(i, j) * math.exp(one / 0.5) for j, one in enumerate(row) if j != i)
        losses.append(math.log(1.0 + others / math.exp(row[i] / 0.5)))
    return losses


def _mean(losses: Sequence[float], weights: Sequence[float] | None = None) -> float:
    weights = weights or [1.0] * len(losses)
    return sum(w * one for w, one in zip(weights, losses, strict=True)) / sum(weights)


def test_plainly_every_other_product_is_a_negative(wired: Wired, batch: TrainBatch) -> None:
    assert _loss(wired.objective(), batch) == pytest.approx(_mean(_each(_cosines())), abs=1e-5)


def test_negatives_of_the_querys_category_count_as_configured(wired: Wired, batch: TrainBatch) -> None:
    leaf = [key.split("-")[0] for key in batch.product_ids]
    by_hand = _mean(_each(_cosines(), lambda i, j: 5.0 if leaf[i] == leaf[j] else 1.0))
    assert _loss(wired.objective(negatives={"hard_weight": 5.0}), batch) == pytest.approx(by_hand, abs=1e-5)


def test_the_guard_leaves_out_what_is_much_nearer_than_the_answer(wired: Wired, batch: TrainBatch) -> None:
    cosines = _cosines()
    near = [[one > row[i] + 0.1 for one in row] for i, row in enumerate(cosines)]
    assert 0 < sum(map(sum, near)) < 28
    by_hand = _mean(_each(cosines, lambda i, j: float(not near[i][j])))
    assert _loss(wired.objective(similarity_guard=0.1), batch) == pytest.approx(by_hand, abs=1e-5)


def test_products_of_past_batches_are_negatives_after_the_warm_up(wired: Wired, batch: TrainBatch) -> None:
    objective = wired.objective(negatives={"queue_size": 6, "queue_warmup_steps": 3})
    past, keys = _vectors(3, 4), [f"past-{number}" for number in range(4)]
    codes = candidate_codes(keys, keys, keys, [frozenset[str]()] * 4)
    objective.remember(replace(batch, step=0, product_codes=codes), past)
    assert _loss(objective, replace(batch, step=2)) == pytest.approx(_mean(_each(_cosines())), abs=1e-5)
    assert _loss(objective, replace(batch, step=3)) == pytest.approx(_mean(_each(_cosines(past))), abs=1e-5)


def test_pairs_that_look_wrong_count_less(wired: Wired, batch: TrainBatch) -> None:
    settings = {"enabled": True, "kappa": 4.0, "margin_start": 1.2, "margin_end": 0.6, "threshold": 0.6, "lowest": 0.2}
    weights = []
    for i, row in enumerate(_cosines()):
        far = sum(one for j, one in enumerate(row) if j != i) / 7
        # Half way through the schedule the margin is half way too.
        trust = 1.0 / (1.0 + math.exp(-4.0 * (row[i] - far - 0.9)))
        weights.append(min(1.0, max(0.2, trust / 0.6)))
    assert max(weights) > 1.2 * min(weights)
    by_hand = _mean(_each(_cosines()), weights)
    assert abs(by_hand - _mean(_each(_cosines()))) > 1e-3
    assert _loss(wired.objective(filter=settings), batch) == pytest.approx(by_hand, abs=1e-5)


def test_kinds_of_query_count_by_the_experts_they_use(wired: Wired, batch: TrainBatch) -> None:
    objective = wired.objective(modality={"enabled": True, "floor": 0.25})
    assert objective.modality is not None
    aligned = torch.randn(3, 3, generator=torch.Generator().manual_seed(4)) * 2
    with torch.no_grad():
        objective.modality.alignment_ZM.copy_(aligned)
    gates_BZ = torch.randn(8, 3, generator=torch.Generator().manual_seed(5)).softmax(dim=1)
    own = (gates_BZ @ aligned.softmax(dim=1)).tolist()
    omega = {}
    for kind in KINDS:
        rows = [row for row, one in enumerate(batch.kinds) if one == kind]
        omega[kind] = sum(own[row][KINDS.index(kind)] for row in rows) / len(rows)
    weight = {kind: 3 * 0.75 * one / sum(omega.values()) + 0.25 for kind, one in omega.items()}
    by_hand = sum(weight[kind] * one for kind, one in zip(batch.kinds, _each(_cosines()), strict=True)) / 8
    assert abs(by_hand - _mean(_each(_cosines()))) > 1e-3
    assert _loss(objective, batch, gates_BZ) == pytest.approx(by_hand, abs=1e-5)


def test_a_pair_counts_by_its_shoppers_signal_or_by_its_row(wired: Wired) -> None:
    signals = {"purchase": 1.0, "cart": 0.5, "click": 0.25, "none": 2.0}
    batch = wired.dataset(signals=signals)[0]
    by_colour = {"red": 1.0, "green": 0.5, "blue": 0.25, "black": 2.0}
    weights = [by_colour[key.split("-")[1]] for key in batch.product_ids]
    assert batch.weight_B.tolist() == weights
    by_hand = _mean(_each(_cosines()), weights)
    assert _loss(wired.objective(), batch) == pytest.approx(by_hand, abs=1e-5)
    rows = wired.dataset(signals=None)[0]
    assert rows.weight_B.tolist() == [3.0 if "mug" in key else 1.0 for key in rows.product_ids]


def test_queries_are_drawn_in_the_configured_mix(wired: Wired) -> None:
    dataset = wired.dataset(query_mix={"image": 8.0, "text": 0.0, "both": 2.0})
    rng = np.random.default_rng(0)
    drawn = Counter(pair.kind for _ in range(1000) for pair in dataset._draw_pairs("mug-red", rng))
    assert drawn.total() == 1000
    assert drawn["text"] == 0
    assert drawn["image"] == pytest.approx(800, abs=50)
    only = wired.dataset(query_mix={"image": 0.0, "text": 1.0, "both": 0.0})
    assert set(only[0].kinds) == {"text"}


def test_every_kind_of_query_asks_where_configured(wired: Wired) -> None:
    dataset = wired.dataset(query_views="all")
    batch = dataset[2]
    asked = [(key, kind) for key in dict.fromkeys(batch.product_ids) for kind in dataset.table.by_product[key]]
    assert sorted(zip(batch.product_ids, batch.kinds, strict=True)) == sorted(asked)
    assert len(asked) == 8 * len(KINDS)
    # A product asked for by one kind is no negative of its own other queries; all the others are.
    queries, products = _vectors(3, len(asked)), _vectors(4, len(asked))
    with torch.no_grad():
        vectors = Encoded({View.QUERIES: queries, View.PRODUCTS: products}, [])
        _, report = wired.objective(query_views="all").loss(batch, vectors)
    losses = []
    for i, own in enumerate(batch.product_ids):
        cosines = [float(queries[i] @ other) for other in products]
        others = sum(math.exp(one / 0.5) for one, key in zip(cosines, batch.product_ids, strict=True) if key != own)
        losses.append(math.log(1.0 + others / math.exp(cosines[i] / 0.5)))
    weights = batch.weight_B.tolist()
    assert float(report["loss/retrieval"]) == pytest.approx(_mean(losses, weights), abs=1e-5)
    photos = wired.dataset(query_views="all", query_mix={"image": 1.0, "text": 0.0, "both": 3.0})[0]
    assert Counter(photos.kinds) == {"image": 8, "both": 8}


@pytest.mark.parametrize("mask_accepted", [True, False])
def test_what_else_the_query_bought_is_masked_where_configured(wired: Wired, mask_accepted: bool) -> None:
    catalog = wired.catalog
    twice = [query.model_copy(update={"product_ids": ("mug-red", "box-black")}) for query in catalog.queries[:1]]
    wired = replace(wired, catalog=replace(catalog, queries=(*twice, *catalog.queries[3:])))
    batch = wired.dataset(mask_accepted=mask_accepted)[0]
    mask = not_negative(batch.query_codes, batch.product_codes, mask_same_group=False)
    bought, also = (batch.product_ids.index(key) for key in ("mug-red", "box-black"))
    assert bool(mask[bought, also]) is mask_accepted
    assert bool(mask[bought, bought])


def test_hard_negatives_share_the_configured_level(wired: Wired) -> None:
    sampler = wired.prepared.dataset.sampler
    assert set(sampler.category_of.values()) == {"Home"}
    assert sampler.chunk_size == 3


def _at(module: MoonModule, batch: TrainBatch, step: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Learning rates by group when the batch of `step` begins."""
    optimizer = module.configure_optimizers()
    monkeypatch.setattr(module, "optimizers", lambda: optimizer)
    module.step = step
    module.on_train_batch_start(replace(batch, step=step), 0)
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


@pytest.mark.parametrize(("step", "factor"), [(0, 0.0), (1, 0.5), (2, 1.0), (6, 0.5), (9, 0.0380602)])
def test_the_learning_rate_follows_the_schedule(
    wired: Wired, batch: TrainBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, factor: float
) -> None:
    module = wired.module(tmp_path, steps=10, warmup_frac=0.2, lr_vision=0.01, lr_text=0.02)
    rates = _at(module, batch, step, monkeypatch)
    assert rates["vision"] == pytest.approx(0.01 * factor)
    assert rates["text"] == pytest.approx(0.02 * factor)


def test_the_time_allowed_ends_the_schedule(
    wired: Wired, batch: TrainBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"steps": 10, "warmup_frac": 0.2, "lr_text": 0.02, "log_every_steps": 99, "checkpoint_every_steps": 99}
    module = wired.module(tmp_path, max_seconds=1000.0, **settings)
    clock, kept, trainer = [600.0], list[int](), SimpleNamespace(should_stop=False)
    monkeypatch.setattr(MoonModule, "seconds", property(lambda self: clock[0]))
    monkeypatch.setattr(MoonModule, "trainer", trainer)
    monkeypatch.setattr(module, "checkpoint", lambda: kept.append(module.step))
    # Of ten steps one is made, of the time six tenths are gone: the later of both counts.
    assert _at(module, batch, 1, monkeypatch)["text"] == pytest.approx(0.01)
    module.on_train_batch_end(None, batch, 0)
    assert (trainer.should_stop, module.is_done, kept) == (False, False, [])
    clock[0] = 1000.0
    module.on_train_batch_end(None, batch, 0)
    assert (trainer.should_stop, module.is_done, kept) == (True, True, [3])


def test_frozen_norms_stay_in_evaluation_mode_from_the_start_and_after_a_score(wired: Wired, tmp_path: Path) -> None:
    module = wired.module(tmp_path)
    module.objective.frozen_norm = nn.BatchNorm1d(3).requires_grad_(False)
    module.objective.free_norm = nn.BatchNorm1d(3)
    module._score = lambda model: 0.5
    module.train()
    with torch.random.fork_rng():
        module.on_train_start()
        assert (module.objective.frozen_norm.training, module.objective.free_norm.training) == (False, True)
        assert module._judge() == 0.5
    assert (module.objective.frozen_norm.training, module.objective.free_norm.training) == (False, True)
