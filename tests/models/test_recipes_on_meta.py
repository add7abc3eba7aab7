"""Recipes that are too large to run here, built whole on the meta device: shapes, tokens, patterns and memory.

Figures that docs/BACKBONES.md gives. The batch is the dearest that a shop could bring: every text fills its budget,
every query has a photograph, every product as many as a step shows.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from catalog import Product
from models.backbones import build_backbone, build_template, picture_layout
from models.backbones.describe import PUBLISHED, published_spec
from models.batch import Batch, TokenSequence, collate
from models.config import ModelConfig, TrainConfig
from models.moe.size import moe_parameters
from models.moon import MoonModel
from models.processor import Processor
from models.tokens import PICTURE_TYPES, TokenType
from models.training import costs
from models.training.estimate import GIB, Estimate
from models.training.frozen import lower_frozen
from models.training.objective import Objective
from models.training.parameters import ParameterReport, add_lora, choose_trainable, optimizer_groups
from models.training.ranks import Ranks
from models.training.recompute import recompute_activations
from models.training.strategy import check_strategy
from models.training.train_batch import View
from moon.config import MoonConfig
from tests.models import qwen_models

RECIPES = Path(__file__).parents[2] / "configs" / "train_moon"
NUM_FIELDS = 4
"""Closed questions of a shop, each with as many label texts as a step compares."""


@dataclass(frozen=True)
class Figures:
    """Of a recipe, pinned."""

    gpu_gb: int
    """Of the GPU that the recipe names, 10^9 bytes."""
    side_px: int
    picture_tokens: int
    """A product with as many originals and crops as it may have."""
    trainable: int
    frozen: int
    lora_layers: int
    gib: float
    """Memory of one process as the estimate tells it."""


FIGURES = {
    "qwen2_5_vl_3b": Figures(24, 224, 384, 22_281_801, 3_754_622_976, 108, 12.0),
    "qwen3_vl_2b": Figures(24, 224, 294, 20_953_673, 2_127_532_032, 84, 7.7),
    "cluster": Figures(80, 392, 1176, 3_803_759_017, 0, 0, 63.9),
}
MARGIN = 0.9
"""Of the GPU: what the estimate leaves out (torch, workspaces, what GradCache holds, layers that FSDP gathers)."""


@dataclass(frozen=True)
class Built:
    model: ModelConfig
    train: TrainConfig
    objective: Objective
    processor: Processor
    report: ParameterReport
    lora_layers: int


@functools.cache
def built(recipe: str) -> Built:
    """As `prepare` does it, on the meta device."""
    text = (RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8")
    config = MoonConfig.model_validate(yaml.safe_load(text)["parameters"]["config"])
    model, train = config.model, config.train
    with torch.device("meta"):
        backbone: Any = build_backbone(model, 0, published_spec(model.pretrained.weights))
        moon = MoonModel(model, backbone.num_rows, backbone).train()
        adapted = add_lora(backbone, train.parameters.lora) if train.parameters.train == "lora" else ()
        objective = Objective(moon, model, train, model.max_images)
    report = choose_trainable(
        objective,
        train.parameters,
        backbone=backbone,
        vision=backbone.vision_parameters(),
        experts=moon.expert_parameters(),
    )
    recompute_activations(moon)
    tokenizer = qwen_models.tokenizer()
    layout = picture_layout(model, backbone.spec())
    processor = Processor(tokenizer, model, None, layout, build_template(model, tokenizer))  # type: ignore[arg-type]
    return Built(model, train, objective, processor, report, len(adapted))


LONG = "a very long text of a shop, " * 40
PRODUCT = Product(product_id="p", title=LONG, category=(LONG, LONG), attributes={"use": LONG}, description=LONG)


def views(recipe: Built) -> dict[View, Batch]:
    """A step's sequences."""
    processor, train = recipe.processor, recipe.train
    pairs, photos = train.batch_size, min(train.photos_per_product, recipe.model.max_images)

    def batch(items: list[TokenSequence]) -> Batch:
        return collate(items, range(sum(one.num_pictures for one in items)))

    labels = NUM_FIELDS * train.max_labels
    return {
        View.QUERIES: batch([processor.query_sequence(LONG, 1)] * pairs),
        View.PRODUCTS: batch([processor.product_sequence(PRODUCT, photos)] * pairs),
        View.IMAGES: batch([processor.query_sequence(None, photos)] * pairs),
        View.WORDS: batch([processor.product_sequence(PRODUCT, 0)] * pairs),
        View.TEXTS: batch([processor.query_sequence(LONG, 0)] * (pairs + labels)),
    }


def estimated(recipe: Built, monkeypatch: pytest.MonkeyPatch) -> Estimate:
    """As `fit` has it told, for the first of the recipe's processes."""
    train, model = recipe.train, recipe.objective.model
    check_strategy(train)
    if train.strategy != "fsdp":
        lower_frozen(model)
    learns = any(one.requires_grad for one in model.backbone.vision_parameters())
    kept = not learns and train.feature_variants
    num_pictures = 0 if kept else 2 * train.batch_size * (1 + train.photos_per_product)
    batch = SimpleNamespace(
        views=views(recipe), pixels_NCHW=range(num_pictures), product_ids=range(train.batch_size), seen=None
    )

    class Data:
        ranks = Ranks(0, train.num_processes * train.num_nodes)
        processor = recipe.processor

        def outline(self, number: int, with_pixels: bool) -> Any:
            assert with_pixels == bool(num_pictures)
            return batch

    monkeypatch.setattr(costs, "product_rate", lambda device, precision: 1.0)
    return costs.estimated(recipe.objective, Data(), train, 0, torch.device("cuda"), "bf16")  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", FIGURES)
def test_what_learns_and_that_every_pattern_matches(recipe: str) -> None:
    made, figures = built(recipe), FIGURES[recipe]
    train, backbone = made.train, made.objective.model.backbone
    # A pattern that matches nothing is an error, here as in `choose_trainable` and `add_lora` before.
    groups = optimizer_groups(
        made.objective,
        backbone.vision_parameters(),
        lr_vision=train.lr_vision,
        lr_text=train.lr_text,
        weight_decay=train.weight_decay,
        multipliers=train.parameters.lr_multipliers,
    )
    of_text = [float(group["peak_lr"]) for group in groups if "text" in str(group["name"])]  # type: ignore[arg-type]
    # Every multiplier has something left that an earlier one did not take.
    assert {round(one / train.lr_text, 6) for one in of_text} == {1.0, *train.parameters.lr_multipliers.values()}
    assert (made.report.trainable, made.report.frozen) == (figures.trainable, figures.frozen)
    assert made.lora_layers == figures.lora_layers


@pytest.mark.parametrize("recipe", FIGURES)
def test_learning_parameters_are_those_that_one_counts_by_hand(recipe: str) -> None:
    made = built(recipe)
    config, weights = made.model, made.model.pretrained.weights
    stored = json.loads((PUBLISHED / f"{weights}.json").read_text(encoding="utf-8"))
    text = stored["model"].get("text_config", stored["model"])
    parts = {part.part: part for part in made.report.parts}
    pretrained = parts["vision tower"], parts["rest of the backbone"]
    assert sum(part.trainable + part.frozen for part in pretrained) == stored["published_parameters"]
    if made.lora_layers:
        width = text["hidden_size"]
        head = text.get("head_dim", width // text["num_attention_heads"])
        q_size, v_size = head * text["num_attention_heads"], head * text["num_key_value_heads"]
        ends = (width + q_size) + (width + v_size) + (q_size + width)
        assert made.lora_layers == 3 * text["num_hidden_layers"]
        assert parts["adapters"].trainable == text["num_hidden_layers"] * made.train.parameters.lora.rank * ends
    experts = (
        len(config.moe.layers) * moe_parameters(config.moe, text["hidden_size"], text["intermediate_size"])["trainable"]
    )
    assert parts["experts"].trainable == experts


@pytest.mark.parametrize("recipe", FIGURES)
def test_a_full_product_stays_in_its_budgets(recipe: str) -> None:
    made, figures = built(recipe), FIGURES[recipe]
    config, layout = made.model, made.processor.layout
    assert layout.side_px == figures.side_px == config.image_side_px
    sequence = made.processor.product_sequence(PRODUCT, config.max_images)
    of_pictures = sum(TokenType(one) in PICTURE_TYPES for one in sequence.types)
    assert sequence.num_pictures == 2 * config.max_images
    step_px = {"qwen2_5_vl": 28, "qwen3_vl": 32}[config.backbone]
    assert of_pictures == figures.picture_tokens == 2 * config.max_images * (figures.side_px // step_px) ** 2
    assert config.max_picture_tokens is not None
    assert of_pictures <= config.max_picture_tokens
    spec = published_spec(config.pretrained.weights)
    assert spec is not None
    assert len(sequence) < spec["model"].get("text_config", spec["model"])["max_position_embeddings"]


@pytest.mark.parametrize("recipe", FIGURES)
def test_the_estimate_fits_the_gpu_that_the_recipe_names(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = FIGURES[recipe]
    memory = estimated(built(recipe), monkeypatch).memory
    assert memory.total / GIB == pytest.approx(figures.gib, abs=0.06)
    assert memory.total < MARGIN * figures.gpu_gb * 1e9
    assert f"{figures.gpu_gb} GB" in (RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8").split("parameters:")[0]


@pytest.mark.parametrize("recipe", FIGURES)
def test_the_page_tells_these_figures(recipe: str) -> None:
    figures = FIGURES[recipe]
    page = (RECIPES.parents[1] / "docs" / "BACKBONES.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{recipe}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert f"{figures.gpu_gb} GB" in cells[1]
    trainable, frozen = f"{figures.trainable / 1e6:,.1f} M", f"{figures.frozen / 1e6:,.1f} M" if figures.frozen else "0"
    assert cells[2:] == [f"{figures.picture_tokens:,} at {figures.side_px} px", trainable, frozen, f"{figures.gib} GiB"]
