"""Recipes that no test machine has room for, trained on tiny weights: their own `train` section, cut to a few steps.

What stays and what learns, that a training which was cut off ends where another does, and what is written in the end.
"""

from __future__ import annotations

import json
import re
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
from models.training.data import TrainBatch, TrainSet
from models.training.module import MoonModule
from models.training.prepare import Prepared, prepare
from models.training.schedule import lr_factor
from tests.models import composed_models, qwen_models, shop
from tests.models.test_backbone_composed_weights import write_folders
from tests.models.test_backbone_qwen_weights import write_folder

RECIPES = Path(__file__).parents[2] / "configs" / "train_moon"
FROZEN_TOWER = ("laptop", "qwen2_5_vl_3b", "qwen3_vl_2b")
STEPS, CUT_AT, EVERY = 4, 3, 2
SHORT: dict[str, Any] = {
    "steps": STEPS,
    "batch_size": 6,
    "precision": "bf16",
    "log_every_steps": 1,
    "checkpoint_every_steps": EVERY,
    "num_workers": 0,
    "stop": {"eval_every_steps": STEPS},
}
"""For all; `precision` is the recipe's own where the CPU has bf16 and the decoder is wide."""
QUEUE: dict[str, Any] = {"queue_size": 16, "queue_warmup_steps": 1}
CHUNKS: dict[str, Any] = {"chunk_tokens": 160, "negatives": QUEUE}
SHORTER: dict[str, dict[str, Any]] = {"laptop": {}, "qwen2_5_vl_3b": CHUNKS, "qwen3_vl_2b": CHUNKS}
STILL: dict[str, Any] = {
    "augment": {"min_area_frac": 1.0, "flip": 0.0, "brightness": 0.0, "contrast": 0.0},
    "single_photo_crops": False,
}
"""Every variant of a picture is the picture."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are taken in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


def _section(recipe: str, name: str) -> dict[str, Any]:
    config = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8"))["parameters"]["config"]
    section: dict[str, Any] = config[name]
    return section


def _train_config(recipe: str, **changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(_section(recipe, "train") | SHORT | SHORTER.get(recipe, {}) | changes)


def _model_config(place: Path, recipe: str) -> ModelConfig:
    """The recipe's model on tiny random weights."""
    asked, folder = _section(recipe, "model"), place / "weights" / recipe
    moe = asked["moe"] | {"rank": 4, "layers": [layer for layer in asked["moe"]["layers"] if layer >= -4]}
    small = {"moe": moe, "max_images": 2, "embedding_dims": 48, "late_hidden_size": 8}
    if asked["backbone"] == "composed":
        if not folder.exists():
            write_folders(folder)
            _learn_words(folder / "language", _catalog(place))
        weights = {"vision": str(folder / "vision"), "language": str(folder / "language"), "keep_layers": None}
        small |= {"image_side_px": composed_models.SIDE, "composed": asked["composed"] | weights}
    else:
        if not folder.exists():
            write_folder(folder, asked["backbone"])
            _learn_words(folder, _catalog(place))
        small |= {"image_side_px": qwen_models.SIDE, "pretrained": {"weights": str(folder)}, "matryoshka_dims": [8, 24]}
    return ModelConfig.model_validate(asked | small)


def _learn_words(folder: Path, catalog: Catalog) -> None:
    """Words of the shop in place of the tokenizer's own: texts that are all unknown teach nothing."""
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    texts = catalog_texts(catalog, shop.all_train(catalog))
    vocabulary = told["model"]["vocab"]
    for number, word in enumerate(sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text)}), 1):
        vocabulary[word] = vocabulary.pop(f"w{number}")
    path.write_text(json.dumps(told), encoding="utf-8")


def _catalog(place: Path) -> Catalog:
    """Two of the products have a single photograph, which a strong crop of it asks for."""
    catalog = shop.make_shop(place / "data")
    alone = {
        key: one.model_copy(update={"images": one.images[:1]}) for key, one in catalog.by_id.items() if "black" in key
    }
    return replace(catalog, products=tuple(alone.get(one.product_id, one) for one in catalog.products))


class Judge:
    """Keeps the vectors that it was shown; the score is of no account."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog, self.shown = catalog, list[np.ndarray]()

    def __call__(self, embedder: Embedder) -> float:
        queries = embedder.embed_queries(self.catalog.query_item(query) for query in self.catalog.queries)
        labels = embedder.embed_labels(["Home > Mug", "colour: red"])
        self.shown.append(np.concatenate([embedder.embed_products(self.catalog.items()), queries, labels]))
        return float(queries[0] @ self.shown[-1][0])


@dataclass
class Ran:
    """A training and what was seen of it."""

    place: Path
    name: str
    config: TrainConfig
    judge: Judge
    record: TrainingRecord | None = None
    dataset: TrainSet | None = None
    start: dict[str, torch.Tensor] = field(default_factory=dict)
    """Weights and losses before the first step."""
    from_tower: list[bool] = field(default_factory=list)
    """Of each step: whether the tower runs for it."""
    assembled: int = 0
    """Batches that this process assembled."""
    attended: int = 0
    """Passes of the first decoder layer while training."""
    warned: list[str] = field(default_factory=list)

    @property
    def written(self) -> dict[str, torch.Tensor]:
        return load_file(self.place / self.name / "model.safetensors")

    @property
    def checkpoint(self) -> dict[str, Any]:
        kept: dict[str, Any] = torch.load(self.place / f"work-{self.name}" / "checkpoint.pt", weights_only=True)
        return kept

    @property
    def curves(self) -> list[dict[str, float]]:
        """Without what a clock decides."""
        assert self.record is not None
        return [{name: one for name, one in row.items() if "per_s" not in name} for row in self.record.history]


class _Cut(BaseException):
    """Ends a training between two checkpoints, as a kill does."""


def _run(place: Path, name: str, model: ModelConfig, config: TrainConfig, cut_at: int | None = None) -> Ran:
    """Train, watched; `cut_at`: the step at which it is cut off."""
    catalog = _catalog(place)
    ran = Ran(place, name, config, Judge(catalog))
    start, batch_of = MoonModule.on_train_batch_start, TrainSet._batch

    def count(module: torch.nn.Module, *_: object) -> None:
        ran.attended += module.training

    def preparing(*args: Any, **kwargs: Any) -> Prepared:
        made = prepare(*args, **kwargs)
        ran.dataset = made.dataset
        ran.start = {key: one.detach().clone() for key, one in made.objective.state_dict().items()}
        backbone: Any = made.model.backbone
        backbone.decoder_layers()[0].self_attn.register_forward_pre_hook(count)
        return made

    def starting(self: MoonModule, batch: TrainBatch, batch_idx: int) -> None:
        if self.step == cut_at:
            raise _Cut
        ran.from_tower.append(batch.seen is None)
        start(self, batch, batch_idx)

    def assembling(self: TrainSet, number: int) -> TrainBatch:
        ran.assembled += 1
        return batch_of(self, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.fit.prepare", preparing)
        patch.setattr(MoonModule, "on_train_batch_start", starting)
        patch.setattr(TrainSet, "_batch", assembling)
        patch.setattr("models.training.module._log.warning", lambda text, *args: ran.warned.append(text % args))
        with nullcontext() if cut_at is None else pytest.raises(_Cut):
            ran.record = train(
                catalog,
                shop.all_train(catalog),
                model=model,
                train=config,
                regions=shop.regions(),
                regions_config=shop.REGIONS,
                work_dir=place / f"work-{name}",
                out_dir=place / name,
                score=ran.judge,
            )
    assert (place / name).exists() == (cut_at is None)
    return ran


def _resumed(of: Ran, model: ModelConfig) -> Ran:
    """The same training, cut off after a step that no checkpoint holds, and gone on with."""
    name = f"{of.name}-cut"
    _run(of.place, name, model, of.config, cut_at=CUT_AT)
    # Another process would not know this state of the global generator either.
    torch.manual_seed(99)
    return _run(of.place, name, model, of.config)


def _is_the_same(one: Ran, other: Ran, resumed_from: int = 0) -> None:
    """To the last bit: curves, weights, losses' state, optimiser and vectors."""
    assert one.record is not None
    assert other.record is not None
    assert other.record.resumed_from_step == resumed_from
    assert other.record.digest == one.record.digest
    assert other.record.final == one.record.final
    assert other.curves == one.curves
    assert other.record.expert_choices == one.record.expert_choices != []
    assert np.array_equal(one.judge.shown, other.judge.shown)
    kept, again = one.checkpoint, other.checkpoint
    assert all(torch.equal(value, again["objective"][name]) for name, value in kept["objective"].items())
    for number, moments in kept["optimizer"]["state"].items():
        assert all(torch.equal(value, again["optimizer"]["state"][number][name]) for name, value in moments.items())


def _learns(name: str, config: TrainConfig) -> bool:
    """As the recipes' words have it: frozen but for LoRA and the experts; what joins tower and decoder learns."""
    if config.parameters.train == "full" or ".backbone." not in name:
        return True
    return any(fnmatchcase(name, f"*.{part}.*") for part in ("lora_?", "router", "experts", "guided", "projector"))


def _learnt_as_asked(config: TrainConfig, start: dict[str, torch.Tensor], end: dict[str, torch.Tensor]) -> None:
    """What stays is what it was; what learns went as far as its learning rate brings it.

    A step of AdamW moves a weight by its rate at most, and moves one whose gradient keeps its sign by just that.
    """
    asked = config.parameters.lr_multipliers
    way = sum(lr_factor(step / STEPS, config.warmup_frac) for step in range(STEPS))
    assert start.keys() == end.keys()
    for name, before in start.items():
        after = end[name]
        if name == "model.token_weights" or name.startswith("queue."):
            continue
        if not _learns(name, config):
            # The decoder's frozen weights are of 16 bits while it learns.
            is_low = after.dtype == torch.bfloat16
            assert is_low == (".layers." in name or ".embed_tokens." in name), name
            assert torch.equal(after, before.to(after.dtype)), name
            continue
        factor = next((one for pattern, one in asked.items() if fnmatchcase(name, pattern)), 1.0)
        rate = way * factor * (config.lr_vision if ".visual." in name else config.lr_text)
        assert after.dtype == torch.float32, name
        moved = float((after - before).abs().max()) / rate
        assert 0.25 < moved < 1.2, (name, moved)


@pytest.fixture(scope="module", params=FROZEN_TOWER)
def whole(request: pytest.FixtureRequest, place: Path) -> Ran:
    """A recipe's training that nothing interrupted."""
    return _run(place, request.param, _model_config(place, request.param), _train_config(request.param))


def test_what_the_recipe_names_learns_and_the_rest_stays(whole: Ran) -> None:
    assert whole.record is not None
    assert whole.record.precision == "bf16"
    assert whole.record.shipped == f"best of 1 judged, step {STEPS}"
    _learnt_as_asked(whole.config, whole.start, whole.checkpoint["objective"])
    # No second pass over a chunk differed from the first.
    assert whole.warned == []
    if whole.config.negatives.queue_size:
        assert [row["train/negatives/queue"] > 0 for row in whole.curves] == [False, True, True, True]


def test_the_tower_runs_before_the_training_alone(whole: Ran) -> None:
    assert whole.from_tower == [False] * STEPS
    folder = whole.place / f"work-{whole.name}" / "features"
    shapes = [np.load(path).shape for path in folder.rglob("grid.npy")]
    # Plain pictures with their variants, and strong crops of those that stand in for a second photograph.
    assert {shape[1] for shape in shapes} == {_section(whole.name, "train")["feature_variants"]}
    assert len(shapes) == 2


def test_cut_off_and_resumed_equals_uninterrupted(whole: Ran) -> None:
    model = _model_config(whole.place, whole.name)
    rest = _resumed(whole, model)
    _is_the_same(whole, rest, EVERY)
    assert len(rest.from_tower) == STEPS - EVERY
    # Asked again it trains nothing and writes the same.
    again = _run(whole.place, rest.name, model, whole.config)
    assert again.from_tower == []
    assert again.record is not None
    assert rest.record is not None
    assert again.record.digest == rest.record.digest


def test_what_is_written_is_the_merged_model_and_embeds_as_it_was_judged(whole: Ran) -> None:
    kept, lora = whole.checkpoint["objective"], whole.config.parameters.lora
    expected = {}
    for name, value in kept.items():
        if name.startswith("model.") and ".lora_" not in name:
            merged = value.float() if value.is_floating_point() else value
            if ".base_layer." in name:
                low, high = (kept[name.replace("base_layer", f"lora_{one}.default")] for one in "AB")
                merged = merged + lora.alpha / lora.rank * high @ low
            expected[name.removeprefix("model.").replace(".base_layer.", ".")] = merged
    written = whole.written
    assert written.keys() == expected.keys()
    for name, value in expected.items():
        assert written[name].dtype == value.dtype, name
        assert torch.allclose(written[name], value, atol=1e-6), name
    loaded = Judge(whole.judge.catalog)
    encoder = MoonEncoder.load(whole.place / whole.name)
    loaded(encoder)
    assert whole.record is not None
    assert encoder.digest == whole.record.digest
    # Judged with its adapters at the end of the training, then merged in memory.
    assert len(whole.judge.shown) == 2
    for vectors in whole.judge.shown:
        assert np.allclose(vectors, loaded.shown[0], atol=1e-5)


@pytest.mark.parametrize("recipe", ["qwen2_5_vl_3b", "qwen3_vl_2b"])
def test_chunks_and_recomputed_layers_train_as_the_whole_batch(place: Path, recipe: str) -> None:
    model, plain = _model_config(place, recipe), {"chunk_tokens": None, "gradient_checkpointing": False}
    whole = _run(place, f"{recipe}-at-once", model, _train_config(recipe, precision="fp32", **plain))
    parts = _run(place, f"{recipe}-parts", model, _train_config(recipe, precision="fp32"))
    for ours, theirs in zip(parts.curves, whole.curves, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    assert parts.warned == []
    assert parts.dataset is not None
    plans = [plans_of(parts.dataset[step], parts.config.chunk_tokens).values() for step in range(STEPS)]
    num_chunks = sum(len(plan.chunks) for views in plans for plan in views)
    assert num_chunks >= 2 * sum(len(views) for views in plans)
    # For the loss, for the graph, and once more when the gradient is due.
    assert parts.attended == 3 * num_chunks


@pytest.mark.parametrize("recipe", ["laptop", "qwen3_vl_2b"])
def test_kept_features_train_as_the_tower_that_runs_every_time(place: Path, recipe: str) -> None:
    model, still = _model_config(place, recipe), {"precision": "fp32", **STILL}
    seen = _run(place, f"{recipe}-seen", model, _train_config(recipe, feature_variants=0, **still))
    kept = _run(place, f"{recipe}-kept", model, _train_config(recipe, **still))
    assert seen.from_tower == [True] * STEPS
    assert kept.from_tower == [False] * STEPS
    for ours, theirs in zip(kept.curves, seen.curves, strict=True):
        # What is kept is rounded to 16 bits.
        assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-3)


@pytest.mark.parametrize("kept", [False, True])
def test_data_workers_change_nothing(place: Path, kept: bool) -> None:
    name = "kept" if kept else "pixels"
    model = shop.default_model(moe={"layers": [-1], "num_experts": 3, "top_k": 2, "rank": 4, "router_noise_std": 1.0})
    changes: dict[str, Any] = {"parameters": {"freeze": ["*.visual.*"]}, "feature_variants": 3} if kept else {}
    settings = {key: value for key, value in SHORT.items() if key != "precision"} | changes
    alone = _run(place, f"{name}-alone", model, shop.tiny_train(**settings))
    helped = _run(place, f"{name}-helped", model, shop.tiny_train(**settings | {"num_workers": 2}))
    assert alone.from_tower == helped.from_tower == [not kept] * STEPS
    # What is left to this process is the batch that the estimate looks at.
    assert alone.assembled - helped.assembled == STEPS
    _is_the_same(alone, helped)
    _is_the_same(alone, _resumed(helped, model), EVERY)
