"""Losses beside the plainest one reach the step as configured, and the log tells of them: each by a naive loop.

What a row shows is read from its tokens and what answers it from the catalogue, not from the batch's codes and masks.
"""

from __future__ import annotations

import copy
import importlib
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catalog import Product
from models.batch import Batch
from models.moe.router import Choice
from models.negatives import query_codes
from models.pictures import PictureMaker
from models.processor import Processor
from models.tokens import CATEGORY_MARK, DESCRIPTION_MARK, TokenType
from models.training.module import MoonModule
from models.training.objective import Encoded, Objective
from models.training.prepare import prepare
from models.training.train_batch import TrainBatch, View
from tests.models import shop
from tests.models.test_wiring import PLAIN, Wired

Vectors = dict[View, Tensor]
Counts = Counter[tuple[int, int, int]]
"""Choices by layer, token type and expert."""

DIMS, OWN = (4, 12, 24), torch.eye(8, dtype=torch.bool)
ROWS: dict[str, dict[str, Any]] = {
    "mug-red": {"title": "Lovely thing", "attributes": {"colour": "red", "use": "daily"}},
    "mug-green": {"title": "Lovely thing", "images": ()},
    "mug-black": {"title": None, "category": (), "attributes": {}, "description": None},
    "box-red": {"title": "Lovely thing", "attributes": {"colour": "red", "use": "gift"}},
    "box-blue": {"title": "Lovely thing", "attributes": {"colour": "blue"}},
}
"""One product has words alone, one pictures alone, four have one title, one is without a use."""
NO_DROPOUT = dict.fromkeys(("title", "category", "attribute", "all_attributes", "images", "text"), 0.0)


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Wired:
    """A shop of two departments, so that both levels of the category are questions."""
    folder = tmp_path_factory.mktemp("wired")
    catalog, products = shop.make_shop(folder / "shop"), []
    for product in catalog.products:
        department = "Kitchen" if product.category[-1] == "Mug" else "Office"
        changes = {"category": (department, product.category[-1])} | ROWS.get(product.product_id, {})
        products.append(product.model_copy(update=changes))
    catalog = replace(catalog, products=tuple(products))
    (folder / "work").mkdir()
    splits, train = shop.all_train(catalog), shop.tiny_train(**PLAIN)
    model = shop.tiny_model(matryoshka_dims=DIMS[:2], moe={"layers": (0, 1), "num_experts": 3, "top_k": 2, "rank": 4})
    return Wired(catalog, prepare(catalog, splits, model, train, shop.regions(), folder / "work"))


def _vectors(batch: TrainBatch, with_images: bool = True) -> Vectors:
    generator = torch.Generator().manual_seed(7)
    views = {name: one for name, one in batch.views.items() if with_images or name != View.IMAGES}
    return {name: F.normalize(torch.randn(len(one), 24, generator=generator), dim=1) for name, one in views.items()}


def _report(objective: Objective, batch: TrainBatch, vectors: Vectors) -> dict[str, float]:
    """What is reported, and the loss itself as `loss`."""
    with torch.no_grad():
        loss, report = objective.loss(batch, Encoded(vectors, []))
    return {name: float(value) for name, value in report.items()} | {"loss": float(loss)}


def _both(own: Tensor) -> Tensor:
    """Rows of this process and of another one, whose numbers stand one place on."""
    return torch.cat((own, own.roll(1, dims=1)))


def _mean(
    left: Tensor, right: Tensor, answers: Tensor, others: Tensor, wide: bool = False, scale: float = 2.0
) -> float:
    """Mean loss of the rows that have an answer, of each the mean over its answers and all prefixes.

    With `wide` the other process's rows are negatives too.
    """
    if wide:
        right, others = _both(right), F.pad(others, (0, len(right)), value=True)
    losses = []
    for i, one in enumerate(left):
        each = []
        for length in DIMS:
            cosines = [float(F.cosine_similarity(one[:length], other[:length], dim=0)) for other in right]
            near = [math.exp(scale * cosine) for cosine in cosines]
            rest = sum(near[j] for j in range(len(right)) if others[i, j])
            each += [math.log(1.0 + rest / near[j]) for j in answers[i].nonzero()]
        losses += [fmean(each)] if each else []
    return fmean(losses)


def _products(wired: Wired, batch: TrainBatch) -> list[Product]:
    return [wired.catalog.by_id[key] for key in batch.product_ids]


def _same(keys: list[str]) -> Tensor:
    return torch.tensor([[one == other != "" for other in keys] for one in keys])


def _rows_without(batch: TrainBatch, key: str) -> list[int]:
    return [row for row, one in enumerate(batch.product_ids) if one != key]


def _shown(wired: Wired, view: Batch, row: int, kind: TokenType = TokenType.TITLE) -> str:
    """Words of one type that a row shows; the tokenizer knows lower case alone."""
    ids = view.ids_BL[row][view.types_BL[row] == kind].tolist()
    return str(wired.prepared.processor.tokenizer.decode(ids)).strip()


@pytest.mark.parametrize("shorter", [(), (4,), (4, 12)])
def test_every_configured_prefix_counts_the_same_in_the_retrieval_loss(wired: Wired, shorter: tuple[int, ...]) -> None:
    batch, plain = wired.dataset()[0], wired.objective()
    vectors = _vectors(batch)
    config = plain.model_config.model_copy(update={"matryoshka_dims": shorter})
    losses = []
    for length in (*shorter, 24):
        queries, products = (F.normalize(vectors[name][:, :length]) for name in (View.QUERIES, View.PRODUCTS))
        losses.append(float(F.cross_entropy(2.0 * queries @ products.T, torch.arange(8))))
    assert len(losses) == 1 or max(losses) - min(losses) > 1e-2
    found = _report(Objective(plain.model, config, plain.config), batch, vectors)
    assert found["loss/retrieval"] == pytest.approx(fmean(losses), abs=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("mask_same_group", [False, True])
def test_variants_and_directions_count_as_configured(wired: Wired, symmetric: bool, mask_same_group: bool) -> None:
    batch = wired.dataset()[0]
    groups, vectors = [one.group_id for one in _products(wired, batch)], _vectors(batch)
    # One query accepts a second product, so that rows and columns of the mask differ.
    also = next(row for row in range(8) if groups[row] != groups[0])
    accepted = [frozenset((batch.product_ids[also],)), *[frozenset[str]()] * 7]
    batch = replace(batch, query_codes=query_codes(batch.product_ids, groups, [""] * 8, [""] * 8, accepted))
    others = ~(_same(groups) if mask_same_group else OWN)
    others[0, also] = False
    forward = _mean(vectors[View.QUERIES], vectors[View.PRODUCTS], OWN, others)
    turned = _mean(vectors[View.PRODUCTS], vectors[View.QUERIES], OWN, others.T)
    assert abs(forward - turned) > 1e-3
    report = _report(wired.objective(symmetric=symmetric, mask_same_group=mask_same_group), batch, vectors)
    assert report["loss/retrieval"] == pytest.approx((forward + turned) / 2 if symmetric else forward, abs=1e-5)
    # Of eight products seven are others, and one of them is a variant.
    assert report["negatives/per_query"] == pytest.approx((8 * (6 if mask_same_group else 7) - 1) / 8)


def _add_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a second process trained on other products, its codes one higher than the codes here."""

    def rows(own: Tensor, *args: Any) -> Tensor:
        return _both(own) if own.is_floating_point() else torch.cat((own, own + 1))

    for module in map(importlib.import_module, ("models.losses.retrieval", "models.losses.alignment")):
        monkeypatch.setattr(module, "rows_by_rank", lambda num, *args: [num, num])
        monkeypatch.setattr(module, "gather_with_grad", rows)
        monkeypatch.setattr(module, "gather_codes", lambda own, *args: own.of_table(rows(own.table())))
    alignment = importlib.import_module("models.losses.alignment")
    monkeypatch.setattr(alignment, "gather_lists", lambda own, *args: torch.cat((own, own)))
    for name, value in {"is_initialized": True, "get_world_size": 1, "get_rank": 0}.items():
        monkeypatch.setattr(torch.distributed, name, lambda group=None, value=value: value)


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("alone", [False, True])
def test_rows_of_other_processes_are_negatives_where_configured(
    wired: Wired, monkeypatch: pytest.MonkeyPatch, spatial: bool, alone: bool
) -> None:
    changes: dict[str, Any] = {"symmetric": True, "alignment_weight": 1.0}
    batch = wired.dataset(**changes)[0]
    vectors, wide = _vectors(batch), spatial and not alone
    if not alone:
        _add_process(monkeypatch)
    queries, products = vectors[View.QUERIES], vectors[View.PRODUCTS]
    forward, turned = _mean(queries, products, OWN, ~OWN, wide), _mean(products, queries, OWN, ~OWN, wide)
    report = _report(wired.objective(negatives={"spatial": spatial}, **changes), batch, vectors)
    assert report["negatives/spatial"] == (8 if wide else 0)
    assert report["loss/retrieval"] == pytest.approx((forward + turned) / 2, abs=1e-5)
    assert report["loss/alignment"] == pytest.approx(_aligned(wired, batch, vectors, False, wide), abs=1e-5)


def _aligned(
    wired: Wired,
    batch: TrainBatch,
    vectors: Vectors,
    mask_same_group: bool,
    wide: bool = False,
    mask_described: bool = False,
) -> float:
    """Alignment by hand: words find their product, words and pictures each other."""
    words, worded, pictured = [""] * 8, _rows_without(batch, "mug-black"), _rows_without(batch, "mug-green")
    for place, row in enumerate(worded):
        words[row] = _shown(wired, batch.views[View.TEXTS], place)
    groups, answers = [one.group_id for one in _products(wired, batch)], OWN | _same(words)
    others = ~(answers | _same(groups)) if mask_same_group else ~answers
    titles = [(one.title or "").lower() for one in _products(wired, batch)]
    said = [text if mask_described and text != title else "" for text, title in zip(words, titles, strict=True)]
    true = torch.tensor([[_is_true(text, one) for one in _products(wired, batch)] for text in said])

    def mean(left: Tensor, rows: list[int], right: Tensor, columns: list[int], true: Tensor = true) -> float:
        return _mean(left, right, answers[rows][:, columns], (others & ~true)[rows][:, columns], wide)

    texts, images = vectors[View.TEXTS][:7], vectors.get(View.IMAGES)
    to_product = mean(texts, worded, vectors[View.PRODUCTS], list(range(8)))
    if images is None:
        return to_product
    crossed = mean(texts, worded, images, pictured) + mean(images, pictured, texts, worded, true.T)
    return 0.5 * (to_product + 0.5 * crossed)


def _is_true(text: str, product: Product) -> bool:
    """Whether all that a text view says is true of the product."""
    if not text:
        return False
    if ">" in text or ":" in text:
        return all(said in _right(product, said.partition(":")[0] if ":" in said else "1") for said in text.split("; "))
    values = (value for name in product.attributes for value in _right(product, name))
    return set(text.split()) <= {value.split(": ")[1] for value in values} | {
        leaf.lower() for leaf in product.category[-1:]
    }


def _labelled(wired: Wired, batch: TrainBatch, vectors: Vectors, asked: Counter[View]) -> float:
    """Label loss by hand at a temperature of 1/3; counts the rows asked by view."""
    products, texts, questions = _products(wired, batch), batch.views[View.TEXTS], dict[str, list[int]]()
    for place in range(7, len(texts)):
        label = _shown(wired, texts, place)
        questions.setdefault(label.split(":")[0] if ":" in label else str(label.count(">")), []).append(place)
    assert set(questions) == {"0", "1", "colour", "use"}
    losses = []
    for name, places in questions.items():
        labels = [_shown(wired, texts, place) for place in places]
        right = torch.tensor([[label in _right(product, name) for label in labels] for product in products])
        anchors = [(View.IMAGES, place, row) for place, row in enumerate(_rows_without(batch, "mug-green"))]
        sign, kind = (">", TokenType.CATEGORY) if name.isdigit() else (f"{name}:", TokenType.ATTRIBUTE)
        for view in (View.PRODUCTS, View.WORDS):
            hidden = [row for row in range(8) if sign not in _shown(wired, batch.views[view], row, kind)]
            anchors += [(view, row, row) for row in hidden]
        anchors = [one for one in anchors if one[0] in vectors and right[one[2]].any()]
        asked.update(view for view, _, _ in anchors)
        answers = right[[row for _, _, row in anchors]]
        left = torch.stack([vectors[view][place] for view, place, _ in anchors])
        losses.append(_mean(left, vectors[View.TEXTS][places], answers, ~answers, scale=3.0))
    return fmean(losses)


def _right(product: Product, question: str) -> set[str]:
    if question.isdigit():
        return {" > ".join(product.category[: int(question) + 1]).lower()} if product.category else set()
    values = product.attributes.get(question, ())
    return {f"{question}: {value}" for value in ((values,) if isinstance(values, str) else values)}


@pytest.mark.parametrize("mask_described", [False, True])
@pytest.mark.parametrize("mask_same_group", [False, True])
@pytest.mark.parametrize("with_images", [False, True])
def test_words_pictures_and_labels_count_as_configured(
    wired: Wired, mask_described: bool, mask_same_group: bool, with_images: bool
) -> None:
    masks = {"mask_same_group": mask_same_group, "mask_described": mask_described}
    changes = {"alignment_weight": 0.4, "label_weight": 0.7, "max_labels": 3} | masks
    dataset, objective, twins, asked = wired.dataset(**changes), wired.objective(**changes), 0, Counter[View]()
    # Labels have a temperature of their own.
    nn.init.constant_(objective.label_temperature.log_scale, math.log(3.0))
    for number in range(6):
        batch = dataset[number]
        vectors = _vectors(batch, with_images)
        report = _report(objective, batch, vectors)
        aligned = _aligned(wired, batch, vectors, mask_same_group, mask_described=mask_described)
        labelled = _labelled(wired, batch, vectors, asked)
        assert report["loss/alignment"] == pytest.approx(0.4 * aligned, abs=1e-5)
        assert report["loss/labels"] == pytest.approx(0.7 * labelled, abs=1e-5)
        assert report["loss"] - report["loss/retrieval"] == pytest.approx(0.4 * aligned + 0.7 * labelled, abs=1e-5)
        twins += 7 - len({_shown(wired, batch.views[View.TEXTS], place) for place in range(7)})
    # Some words read the same; of 24 questions to each row some are hidden from it and some are not.
    assert twins > 0
    assert all(24 < asked[view] < 24 * 6 for view in (View.PRODUCTS, View.WORDS))


@pytest.mark.parametrize("sparsity_weight", [0.0, 0.3])
def test_experts_of_many_kinds_of_query_cost_their_entropy(wired: Wired, sparsity_weight: float) -> None:
    batch, entropies = wired.dataset()[0], []
    objective = wired.objective(modality={"enabled": True, "sparsity_weight": sparsity_weight})
    assert objective.modality is not None
    nn.init.normal_(objective.modality.alignment_ZM, generator=torch.Generator().manual_seed(3))
    for row in objective.modality.alignment_ZM.tolist():
        shares = [math.exp(one) / sum(map(math.exp, row)) for one in row]
        entropies.append(-sum(one * math.log(one) for one in shares))
    report = _report(objective, batch, _vectors(batch))
    assert report["loss"] - report["loss/retrieval"] == pytest.approx(sparsity_weight * fmean(entropies), abs=1e-5)


@pytest.mark.parametrize(("reads", "budget"), [(False, 6), (True, 6), (True, 96)])
def test_a_description_is_fed_up_to_its_budget(wired: Wired, reads: bool, budget: int) -> None:
    changes = {"use_description": reads, "max_description_tokens": budget}
    dataset, config = wired.dataset(dropout=NO_DROPOUT), wired.prepared.model.config.model_copy(update=changes)
    tokenizer = dataset.processor.tokenizer
    dataset.processor = Processor.of(tokenizer, config, PictureMaker(32, shop.regions()))
    mark, after = (tokenizer.token_to_id(one) for one in (DESCRIPTION_MARK, CATEGORY_MARK))
    batch = dataset[0]
    for product, ids in zip(_products(wired, batch), batch.views[View.PRODUCTS].ids_BL.tolist(), strict=True):
        fed = ids[ids.index(mark) + 1 : ids.index(after)] if mark in ids else []
        whole = tokenizer.encode(f" {product.description}", add_special_tokens=False).ids
        assert product.description is None or 6 < len(whole) < 96
        assert fed == (whole[:budget] if reads and product.description else [])


def test_a_logged_row_tells_load_and_temperatures(
    wired: Wired, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"steps": 3, "log_every_steps": 2, "label_weight": 1.0}
    # A copy, so that the choices counted are this test's alone.
    objective, dataset = copy.deepcopy(wired.objective(**changes)), wired.dataset(**changes)
    module = MoonModule(objective, objective.config, tmp_path, "fingerprint")
    logged, chosen = list[tuple[int, dict[str, float], Counts]](), Counts()

    def told(row: dict[str, float], step: int) -> None:
        logged.append((step, row, chosen.copy()))
        chosen.clear()

    def count(layer: int, types: Tensor, choice: Choice) -> None:
        for kind, experts in zip(types.tolist(), choice.expert_TK.tolist(), strict=True):
            chosen.update((layer, kind, expert) for expert in experts)

    monkeypatch.setattr(module, "optimizers", lambda: SimpleNamespace(param_groups=[]))
    monkeypatch.setattr(module, "checkpoint", lambda: None)
    monkeypatch.setattr(MoonModule, "logger", SimpleNamespace(log_metrics=told))
    for layer, moe in enumerate(objective.model.moes):
        moe.router.register_forward_hook(lambda _, args, choice, layer=layer: count(layer, args[1], choice))
    nn.init.constant_(objective.label_temperature.log_scale, math.log(8.0))
    for number in range(3):
        module.backward(module.training_step(dataset[number], number))
        module.on_train_batch_end(None, dataset[number], number)
    assert [step for step, _, _ in logged] == [2, 3]
    for _, row, counts in logged:
        shares = {}
        for layer, kind in {key[:2] for key in counts}:
            found = [counts[layer, kind, expert] for expert in range(3)]
            for expert, num in enumerate(found):
                shares[f"train/moe_{layer}/{TokenType(kind).name.lower()}/expert_{expert}"] = num / sum(found)
        assert {"train/moe_0/title/expert_0", "train/moe_1/image/expert_2"} <= set(shares)
        assert {name: one for name, one in row.items() if "/moe_" in name} == pytest.approx(shares)
        assert (row["train/temperature"], row["train/label_temperature"]) == pytest.approx((0.5, 0.125))


@pytest.mark.parametrize("name", ["temperature", "label_temperature"])
def test_an_update_brings_a_temperature_back_above_its_floor(wired: Wired, tmp_path: Path, name: str) -> None:
    changes = {"min_temperature": 0.2, "accumulate_batches": 2, "log_every_steps": 9, "checkpoint_every_steps": 9}
    module, batch = wired.module(tmp_path, **changes), wired.dataset()[0]
    log_scale, found = getattr(module.objective, name).log_scale, []
    nn.init.constant_(log_scale, math.log(100.0))
    for number in range(2):
        module.on_train_batch_end(None, batch, number)
        found.append(math.exp(-log_scale.item()))
    # Of two batches the second ends the update.
    assert found == pytest.approx([0.01, 0.2], rel=1e-3)
