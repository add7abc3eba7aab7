"""Recipes too large for a test machine, trained on tiny weights: their own `train` section, cut to four steps."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from catalog import Catalog, Embedder
from models.config import ModelConfig, TrainConfig
from models.encoder import MoonEncoder
from models.tokenizer import catalog_texts
from models.training import TrainingRecord, train
from models.training.chunks import plans_of
from models.training.data import TrainSet
from models.training.module import MoonModule
from models.training.objective import Objective
from models.training.prepare import Prepared, assemble, prepare
from models.training.schedule import lr_factor
from models.training.sight import Sight
from models.training.train_batch import TrainBatch
from tests.models import composed_models, qwen_models, shop
from tests.models.joined_steps import of_both
from tests.models.test_backbone_composed_weights import write_folders
from tests.models.test_backbone_qwen_weights import write_folder
from tests.models.test_resume import _Cut

RECIPES = Path(__file__).parents[2] / "configs" / "train_moon"
QWEN = ("qwen2_5_vl_3b", "qwen3_vl_2b")
STEPS, CUT_AT, EVERY, BATCH = 4, 3, 2, 4
SHORT: dict[str, Any] = {"steps": STEPS, "batch_size": BATCH, "precision": "bf16", "log_every_steps": 1}
SHORT |= {"num_workers": 0, "checkpoint_every_steps": EVERY, "stop": {"eval_every_steps": STEPS}}
LEARN = ("lora_?", "router", "experts", "guided", "projector")
"""Of a backbone that is frozen but for LoRA and experts; the projector, as tower and decoder have never met."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For all files; meanwhile sums are taken in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path_factory.mktemp("recipes")
    torch.set_num_threads(before)


def _catalog(place: Path) -> Catalog:
    """Two of the products have a single photograph, which a strong crop of it asks for."""
    catalog = shop.make_shop(place / "data")
    shown = {key: one.images[: 1 if "black" in key else 3] for key, one in catalog.by_id.items()}
    products = [one.model_copy(update={"images": shown[one.product_id]}) for one in catalog.products]
    return replace(catalog, products=tuple(products))


def _section(recipe: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8"))["parameters"]["config"][name]


def _train_config(recipe: str, **changes: Any) -> TrainConfig:
    asked = _section(recipe, "train") | SHORT
    queue = asked.get("negatives", {}) | {"queue_size": 16, "queue_warmup_steps": 1}
    asked |= {name: one for name, one in (("chunk_tokens", 96), ("negatives", queue)) if name in asked}
    return TrainConfig.model_validate(asked | changes)


def _model_config(place: Path, recipe: str) -> ModelConfig:
    """The recipe's model on tiny random weights that know the shop's words: unknown ones would all be one."""
    asked, folder = _section(recipe, "model"), place / f"weights-{recipe}"
    is_qwen, language = asked["backbone"] in qwen_models.KINDS, folder / "language"
    if not folder.exists():
        if is_qwen:
            write_folder(language, asked["backbone"])
        else:
            write_folders(folder)
        catalog, path = _catalog(place), language / "tokenizer.json"
        texts, told = " ".join(catalog_texts(catalog, shop.all_train(catalog))), json.loads(path.read_text())
        for number, word in enumerate(sorted(set(re.findall(r"\w+|[^\w\s]+", texts))), 1):
            told["model"]["vocab"][word] = told["model"]["vocab"].pop(f"w{number}")
        path.write_text(json.dumps(told), encoding="utf-8")
    moe = asked["moe"] | {"rank": 4, "layers": [layer for layer in asked["moe"]["layers"] if layer >= -2]}
    small = asked | {"moe": moe, "max_images": 2, "embedding_dims": 48, "late_hidden_size": 8}
    if is_qwen:
        small |= {"image_side_px": qwen_models.SIDE, "matryoshka_dims": [8, 24]}
        small |= {"pretrained": {"weights": str(language), "keep_layers": 2}}
    else:
        own = {"vision": str(folder / "vision"), "language": str(language), "keep_layers": None}
        small |= {"image_side_px": composed_models.SIDE, "composed": asked["composed"] | own}
    return ModelConfig.model_validate(small)


def _vectors(embedder: Embedder, catalog: Catalog) -> np.ndarray:
    queries = embedder.embed_queries(catalog.query_item(query) for query in catalog.queries)
    labels = embedder.embed_labels(["Home > Mug", "colour: red"])
    return np.concatenate([embedder.embed_products(catalog.items()), queries, labels])


@dataclass
class Ran:
    """A training and what was seen of it: whether the tower ran for each step, batches that this process assembled,
    passes of the first decoder layer while training, warnings, vectors, model and losses before the first step."""

    work: Path
    out: Path
    config: TrainConfig
    catalog: Catalog
    record: TrainingRecord = field(init=False)
    dataset: TrainSet = field(init=False)
    start: dict[str, torch.Tensor] = field(init=False)
    from_tower: list[bool] = field(default_factory=list)
    assembled: int = 0
    attended: int = 0
    warned: list[str] = field(default_factory=list)
    judged: list[np.ndarray] = field(default_factory=list)

    @property
    def curves(self) -> list[dict[str, float]]:
        """Without what a clock decides."""
        return [{name: one for name, one in row.items() if "per_s" not in name} for row in self.record.history]

    @property
    def kept(self) -> dict[str, torch.Tensor]:
        """Model and losses in the last checkpoint."""
        return torch.load(self.work / "checkpoint.pt", weights_only=True)["objective"]


def _run(place: Path, name: str, model: ModelConfig, config: TrainConfig, cut_at: int | None = None) -> Ran:
    """Train, watched; `cut_at`: the step at which it is cut off."""
    catalog = _catalog(place)
    ran = Ran(place / f"work-{name}", place / name, config, catalog)
    start, batch_of, open_eyes = MoonModule.on_train_batch_start, TrainSet._batch, Sight.open
    objectives: list[Objective] = []

    def assembling_all(*args: Any, **kwargs: Any) -> Prepared:
        made = assemble(*args, **kwargs)
        ran.dataset = made.dataset
        objectives.append(made.objective)
        attention: Any = made.model.backbone.decoder_layers()[0].self_attn
        attention.register_forward_pre_hook(lambda one, _: setattr(ran, "attended", ran.attended + one.training))
        return made

    def opening(self: Sight) -> None:
        open_eyes(self)
        ran.start = {key: one.detach().clone() for key, one in objectives[-1].state_dict().items()}

    def starting(self: MoonModule, batch: TrainBatch, batch_idx: int) -> None:
        if self.step == cut_at:
            raise _Cut
        ran.from_tower.append(batch.seen is None)
        start(self, batch, batch_idx)

    def assembling(self: TrainSet, number: int) -> TrainBatch:
        ran.assembled += 1
        return batch_of(self, number)

    def judging(embedder: Embedder) -> float:
        ran.judged.append(_vectors(embedder, catalog))
        return 0.0

    asked: dict[str, Any] = {"regions": shop.regions(), "regions_config": shop.REGIONS, "score": judging}
    asked |= {"model": model, "train": config, "work_dir": ran.work, "out_dir": ran.out}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.fit.assemble", assembling_all)
        patch.setattr(Sight, "open", opening)
        patch.setattr(MoonModule, "on_train_batch_start", starting)
        patch.setattr(TrainSet, "_batch", assembling)
        patch.setattr("models.training.module._log.warning", lambda text, *args: ran.warned.append(text % args))
        with nullcontext() if cut_at is None else pytest.raises(_Cut):
            ran.record = train(catalog, shop.all_train(catalog), **asked)
    assert ran.out.exists() == (cut_at is None)
    return ran


def _is_the_same(one: Ran, other: Ran, resumed_from: int = 0) -> None:
    """To the last bit: curves, vectors, model folder, and what a checkpoint holds beside."""
    assert other.record.resumed_from_step == resumed_from
    for name in ("digest", "final", "expert_choices"):
        assert getattr(other.record, name) == getattr(one.record, name), name
    assert other.curves == one.curves
    assert np.array_equal(one.judged, other.judged)
    again = other.kept
    assert all(torch.equal(value, again[name]) for name, value in one.kept.items())


def _learnt_as_asked(config: TrainConfig, start: dict[str, torch.Tensor], end: dict[str, torch.Tensor]) -> None:
    """What stays is what it was; what learns went as far as its own learning rate brings it.

    Beside its decay AdamW moves a weight by its rate at most, and one whose gradient stays the same by just that.
    """
    asked, is_full = config.parameters.lr_multipliers, config.parameters.train == "full"
    factors = [lr_factor(step / STEPS, config.warmup_frac) for step in range(STEPS)]
    farthest: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for name, before in start.items():
        after, is_vision = end[name], ".visual." in name
        if name == "model.token_weights" or name.startswith("queue."):
            continue
        if ".backbone." in name and not is_full and not any(fnmatchcase(name, f"*.{one}.*") for one in LEARN):
            # The decoder's frozen weights are of 16 bits while it learns.
            is_low = ".layers." in name or ".embed_tokens." in name
            assert torch.equal(after, before.bfloat16() if is_low else before), name
            continue
        assert after.dtype == torch.float32, name
        pattern = next((one for one in asked if fnmatchcase(name, one)), ".visual." if is_vision else "")
        rate = asked.get(pattern, 1.0) * (config.lr_vision if is_vision else config.lr_text)
        decayed = math.prod(1.0 - rate * factor * config.weight_decay for factor in factors) if before.ndim > 1 else 1.0
        farthest[pattern][name] = float((after - decayed * before).abs().max()) / (rate * sum(factors))
    assert farthest.keys() >= asked.keys()
    for moved in farthest.values():
        assert min(moved.values()) > 0.01, moved
        assert 0.8 < max(moved.values()) < 1.1, moved


@pytest.fixture(scope="module", params=["laptop", *QWEN])
def whole(request: pytest.FixtureRequest, place: Path) -> Ran:
    """A recipe's training that nothing interrupted."""
    return _run(place, request.param, _model_config(place, request.param), _train_config(request.param))


def test_what_the_recipe_names_learns_and_the_rest_stays(whole: Ran) -> None:
    assert whole.record.precision == "bf16"
    _learnt_as_asked(whole.config, whole.start, whole.kept)
    assert [row["train/negatives/queue"] > 0 for row in whole.curves] == [False] + [whole.out.name in QWEN] * 3
    # No second pass over a chunk differed from the first.
    assert whole.warned == []
    # The tower saw all before: plain pictures with their variants, and strong crops of single photographs.
    assert whole.from_tower == [False] * STEPS
    shapes = [np.load(path).shape for path in whole.work.rglob("grid.npy")]
    assert [shape[1] for shape in shapes] == [_section(whole.out.name, "train")["feature_variants"]] * 2


def test_cut_off_and_resumed_equals_uninterrupted(whole: Ran) -> None:
    model = _model_config(whole.out.parent, whole.out.name)
    asked = whole.out.parent, f"{whole.out.name}-cut", model, whole.config
    _run(*asked, CUT_AT)
    rest = _run(*asked)
    _is_the_same(whole, rest, EVERY)
    assert len(rest.from_tower) == STEPS - EVERY
    # Asked again it trains nothing and writes the same.
    again = _run(*asked)
    assert (again.from_tower, again.record.digest) == ([], whole.record.digest)


def test_what_is_written_is_the_merged_model_and_embeds_as_it_was_judged(whole: Ran) -> None:
    kept, lora, written = whole.kept, whole.config.parameters.lora, load_file(whole.out / "model.safetensors")
    for name in (name for name in kept if name.startswith("model.") and ".lora_" not in name):
        value = kept[name].float() if kept[name].is_floating_point() else kept[name]
        if name.endswith(".base_layer.weight"):
            low, high = (kept[name.replace("base_layer", f"lora_{one}.default")] for one in "AB")
            value = value + lora.alpha / lora.rank * high @ low
        ours = written.pop(name.removeprefix("model.").replace(".base_layer.", "."))
        assert ours.dtype == value.dtype, name
        assert torch.allclose(ours, value, atol=1e-6), name
    assert not written
    encoder = MoonEncoder.load(whole.out)
    assert encoder.digest == whole.record.digest
    # Judged with its adapters at the end of the training, then merged in memory.
    assert len(whole.judged) == 2
    assert np.allclose(whole.judged, [_vectors(encoder, whole.catalog)] * 2, atol=1e-5)


@pytest.mark.parametrize("recipe", QWEN)
def test_chunks_and_recomputed_layers_train_as_the_whole_batch(place: Path, recipe: str) -> None:
    model, plain = _model_config(place, recipe), {"chunk_tokens": None, "gradient_checkpointing": False}
    at_once = _run(place, f"{recipe}-at-once", model, _train_config(recipe, precision="fp32", **plain))
    parts = _run(place, f"{recipe}-parts", model, _train_config(recipe, precision="fp32"))
    for ours, theirs in zip(parts.curves, at_once.curves, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    assert parts.warned == []
    plans = [plans_of(parts.dataset[step], parts.config.chunk_tokens) for step in range(STEPS)]
    num_chunks = sum(len(plan.chunks) for views in plans for plan in views.values())
    assert num_chunks > 1.5 * sum(len(views) for views in plans)
    # For the loss, for the graph, and once more when the gradient is due.
    assert parts.attended == 3 * num_chunks


@pytest.mark.parametrize("recipe", ["laptop", "qwen3_vl_2b"])
def test_kept_features_train_as_the_tower_that_runs_every_time(place: Path, recipe: str) -> None:
    # Principal components of so few pictures, and counts of colours, jump where a number is rounded.
    model = _model_config(place, recipe).model_copy(update={"residual_start": "zero", "colour_residual": False})
    # Every variant of a picture is the picture; and small steps, which do not widen what rounding changes.
    still = {"min_area_frac": 1.0, "flip": 0.0, "brightness": 0.0, "contrast": 0.0}
    calm: dict[str, Any] = {"augment": still, "single_photo_crops": False, "precision": "fp32", "lr_text": 1e-5}
    seen = _run(place, f"{recipe}-seen", model, _train_config(recipe, **calm, feature_variants=0))
    kept = _run(place, f"{recipe}-kept", model, _train_config(recipe, **calm))
    assert (seen.from_tower, kept.from_tower) == ([True] * STEPS, [False] * STEPS)
    for ours, theirs in zip(kept.curves, seen.curves, strict=True):
        # What is kept is rounded to 16 bits.
        assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-3)


@pytest.mark.parametrize("name", ["pixels", "features"])
def test_data_workers_change_nothing(place: Path, name: str) -> None:
    # Router noise draws from the generator that the loader must leave alone.
    model = shop.default_model(moe={"layers": [-1], "num_experts": 3, "top_k": 2, "rank": 4, "router_noise_std": 1.0})
    frozen = {"parameters": {"freeze": ["*.visual.*"]}, "feature_variants": 3}
    settings = SHORT | {"precision": "fp32"} | (frozen if name == "features" else {})
    alone = _run(place, f"{name}-alone", model, TrainConfig.model_validate(settings))
    helped = _run(place, f"{name}-helped", model, TrainConfig.model_validate(settings | {"num_workers": 2}))
    assert alone.from_tower == helped.from_tower == [name == "pixels"] * STEPS
    # What is left to this process is the batch that the estimate looks at.
    assert alone.assembled - helped.assembled == STEPS
    _is_the_same(alone, helped)
    _run(place, f"{name}-cut", model, helped.config, CUT_AT)
    _is_the_same(alone, _run(place, f"{name}-cut", model, helped.config), EVERY)


def test_two_processes_train_the_cluster_recipe_as_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything learns, in shards and bf16, with layers computed again, moving average and a data worker each."""
    model, one_machine = _model_config(place, "cluster"), {"num_nodes": 1, "num_processes": 2, "num_workers": 1}
    two = _run(place, "two", model, _train_config("cluster", **one_machine))
    monkeypatch.setattr(TrainSet, "__getitem__", lambda self, step: of_both(self, step, BATCH))
    alone = {"num_nodes": 1, "num_processes": 1, "strategy": "auto", "batch_size": 2 * BATCH}
    one = _run(place, "one", model, _train_config("cluster", **alone))
    assert (two.record.num_processes, two.record.precision) == (2, "bf16")
    for ours, theirs in zip(two.curves, one.curves, strict=True):
        # Counted in each process alone.
        same = ours.keys() - {"train/negatives/spatial", "train/batch/recall@1"}
        assert {key: ours[key] for key in same} == pytest.approx({key: theirs[key] for key in same}, rel=1e-2, abs=1e-4)
    _learnt_as_asked(two.config, one.start, two.kept)
    assert load_file(two.out / "model.safetensors").keys() == load_file(one.out / "model.safetensors").keys()
    vectors = _vectors(MoonEncoder.load(two.out), two.catalog)
    assert np.allclose(two.judged, [vectors] * 2, atol=1e-5)
    assert np.allclose(one.judged, [vectors] * 2, atol=1e-3)


def test_the_seed_alone_decides_how_a_composed_model_starts(place: Path) -> None:
    catalog, model, starts = _catalog(place), _model_config(place, "laptop"), []
    for seed, drawn_before in ((1, 0), (1, 1), (2, 0)):
        torch.manual_seed(drawn_before)
        config, work = _train_config("laptop", seed=seed), place / "work-laptop"
        made = prepare(catalog, shop.all_train(catalog), model, config, shop.regions(), work)
        starts.append(made.model.state_dict()["backbone.projector.1.weight"])
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
