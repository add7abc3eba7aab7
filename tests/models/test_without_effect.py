"""Options that are called idle are: the same training to the last bit; where they are not idle, another."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from catalog import Catalog, ProductItem
from models.backbones import build_template, picture_layout
from models.batch import collate
from models.config import ModelConfig, TrainConfig
from models.encoder import MoonEncoder
from models.moon import MoonModel
from models.processor import Processor
from models.training import train
from models.training.without_effect import ROWS, without_effect
from tests.models import composed_models, shop

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """An option that is idle beside `beside`, and not beside `matters`."""

    option: str
    value: Any
    beside: Changes = field(default_factory=dict)
    matters: Changes | None = None


CASES = {
    "late_head": [
        Case("model.head", "sum", {"model.fusion": "late"}, {}),
        Case("model.head", "heads", {"model.fusion": "late", "model.code_residual": False}, {}),
    ],
    "slot_weight": [
        Case("model.slot_weight", 0.7, {"model.fusion": "late"}, {}),
        Case("model.slot_weight", 0.7, {"model.head": "sum"}),
    ],
    "late_hidden_size": [
        Case("model.late_hidden_size", 64, {}, {"model.vision_residual": True}),
        Case("model.late_hidden_size", 64, {"model.head": "heads", "model.vision_residual": True}),
    ],
    "fused_share": [Case("model.head_shares.fused", 3.0, {}, {"model.head": "heads"})],
    "vision_share": [
        Case("model.head_shares.vision", 3.0, {}, {"model.vision_residual": True}),
        Case("model.head_shares.vision", 3.0, {"model.fusion": "late", "model.colour_residual": False}),
    ],
    "colours_share": [
        Case("model.head_shares.colours", 7.0, {}, {"model.vision_residual": True}),
        Case("model.head_shares.colours", 7.0, {"model.head": "sum", "model.vision_residual": True}),
    ],
    "words_share": [Case("model.head_shares.words", 7.0, {}, {"model.word_residual": True})],
    "codes_share": [Case("model.head_shares.codes", 7.0, {}, {"model.word_residual": True})],
    "word_weights": [Case("model.word_weights", "equal", {"model.code_residual": False}, {})],
    "residual_start": [
        Case("model.residual_start", "open", {"model.code_residual": False, "model.colour_residual": False}, {})
    ],
    "late_order": [Case("model.order", "pictures_first", {"model.fusion": "late"}, {})],
    "description_budget": [Case("model.max_description_tokens", 5, {}, {"model.use_description": True})],
    "pretrained": [Case("model.pretrained", {"weights": "some", "keep_layers": 2})],
    "composed": [Case("model.composed", {"grid_side": 5})],
    "no_experts": [
        Case(f"model.moe.{name}", value, {"model.moe.layers": []}, {})
        for name, value in {
            "kind": "dense",
            "num_experts": 5,
            "top_k": 1,
            "combination": "switch",
            "expert": "full",
            "rank": 3,
            "router_guidance": "none",
            "router_noise_std": 2.0,
            "load_balance_weight": 0.5,
            "router_z_weight": 0.5,
        }.items()
    ]
    + [
        Case(
            "model.moe",
            {"expert": "full", "shared_expert": True, "init_noise_std": 0.5},
            {"model.moe.layers": []},
            {},
        )
    ],
    "dense_twin": [
        Case(f"model.moe.{name}", value, {"model.moe.kind": "dense"})
        for name, value in {
            "top_k": 1,
            "combination": "switch",
            "router_noise_std": 2.0,
            "load_balance_weight": 0.5,
            "router_z_weight": 0.5,
        }.items()
    ],
    "dense_noise": [
        Case(
            "model.moe.init_noise_std",
            0.5,
            {"model.moe.kind": "dense", "model.moe.expert": "full"},
            {"model.moe.expert": "full"},
        )
    ],
    "rank": [Case("model.moe.rank", 3, {"model.moe.expert": "full"}, {})],
    "max_labels": [Case("train.max_labels", 2, {"train.label_weight": 0.0}, {})],
    "queue_warmup": [Case("train.negatives.queue_warmup_steps", 0, {}, {"train.negatives.queue_size": 8})],
    "spatial": [Case("train.negatives.spatial", False)],
    "filter": [
        Case(f"train.filter.{name}", value, {}, {"train.filter.enabled": True})
        for name, value in {
            "kappa": 1.0,
            "margin_start": 0.9,
            "margin_end": 0.9,
            "threshold": 0.9,
            "lowest": 0.7,
        }.items()
    ],
    "modality": [
        Case("train.modality.floor", 0.9, {}, {"train.modality.enabled": True}),
        # The first step has a learning rate of 0, so the weights of the kinds of query differ from the third on.
        Case("train.modality.sparsity_weight", 5.0, {}, {"train.modality.enabled": True, "train.steps": 3}),
    ],
    "stop": [Case("train.stop.patience", 1), Case("train.stop.min_delta", 0.9)],
    "single_photo_crops": [Case("train.single_photo_crops", False, {"train.pair_sources": ["purchases"]})],
    "crops": [
        Case("train.distill_crops", 1.0, {}, {"model.crops": "both"}),
        Case("train.dropout.crops", 0.5, {}, {"model.crops": "both"}),
    ],
    "query_mix": [
        Case("train.query_mix", {"image": 1.0, "text": 9.0, "both": 9.0}, {"train.pair_sources": ["views"]}, {}),
        Case("train.query_mix", {"image": 9.0, "text": 0.5, "both": 9.0}, {"train.pair_sources": ["texts"]}),
    ],
    "query_mix_of_all": [
        Case(
            "train.query_mix",
            {"image": 9.0, "text": 0.5, "both": 0.1},
            {"train.query_views": "all"},
            {"train.query_views": "drawn"},
        )
    ],
    "mask_described": [Case("train.mask_described", True, {"train.alignment_weight": 0.0}, {})],
    "photos_per_product": [Case("train.photos_per_product", 3, {}, {"model.max_images": 3})],
    "lora": [
        Case("train.parameters.lora.alpha", 64.0),
        Case("train.parameters.lora.dropout", 0.5),
        Case("train.parameters.lora.targets", ["*.nothing"]),
    ],
    "feature_variants": [
        Case("train.feature_variants", 1, {}, {"train.parameters.freeze": ["*backbone.qwen.visual.*"]})
    ],
    "lr_vision": [Case("train.lr_vision", 0.5, {"train.parameters.train": "experts"}, {})],
}
OF_A_COMPOSED_BACKBONE = {
    "nano": ("model.nano", {"hidden_size": 64}, {}),
    "late_grid": ("model.composed.grid_side", 2, {"fusion": "late"}),
    "late_grid, budget": ("model.max_picture_tokens", 16, {"fusion": "late"}),
}
FLAT = [
    pytest.param(name, case, id=f"{name}-{number}-{case.option}")
    for name, cases in CASES.items()
    for number, case in enumerate(cases)
]


def test_every_row_has_its_case() -> None:
    assert {row.name for row in ROWS} == set(CASES) | {name.split(",")[0] for name in OF_A_COMPOSED_BACKBONE}
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Weights and vectors after two steps, by configuration."""
    root = tmp_path_factory.mktemp("idle")
    catalog = shop.make_shop(root / "data")
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)

    @cache
    def run(model: str, config: str) -> dict[str, torch.Tensor]:
        folder = root / f"run-{len(list(root.iterdir()))}"
        train(
            catalog,
            shop.all_train(catalog),
            model=ModelConfig.model_validate_json(model),
            train=TrainConfig.model_validate_json(config),
            regions=shop.regions(),
            regions_config=shop.REGIONS,
            work_dir=folder / "work",
            out_dir=folder / "model",
            features_dir=root / "features",
        )
        return _state(folder / "model", catalog)

    yield run
    torch.set_num_threads(num_threads)


def _state(folder: Path, catalog: Catalog) -> dict[str, torch.Tensor]:
    encoder = MoonEncoder.load(folder, device="cpu")
    weights = load_file(folder / "model.safetensors")
    # Only a model that weighs rare words keeps their weights; what they do is in the vectors.
    weights.pop("token_weights", None)
    queries = encoder.embed_queries(catalog.query_item(query) for query in catalog.queries)
    products = encoder.embed_products(ProductItem(one.product, one.photos) for one in catalog.items())
    return {**weights, "vectors": torch.from_numpy(products), "queries": torch.from_numpy(queries)}


def _configs(changes: Changes) -> tuple[ModelConfig, TrainConfig]:
    # Few pictures and steps of a small batch: what is compared is two trainings, not how good they are.
    base = {
        "model": shop.default_model(crops="none", moe={}).model_dump(),
        "train": shop.tiny_train(steps=2, batch_size=4, checkpoint_every_steps=9).model_dump(),
    }
    for key, value in changes.items():
        *sections, name = key.split(".")
        owner: dict[str, Any] = base
        for section in sections:
            owner = owner[section]
        owner[name] = owner[name] | value if isinstance(value, dict) else value
    return ModelConfig.model_validate(base["model"]), TrainConfig.model_validate(base["train"])


def _same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _lines(changes: Changes) -> set[str]:
    return set(without_effect(*_configs(changes)))


@pytest.mark.parametrize(("name", "case"), FLAT)
def test_an_idle_option_is_told_and_changes_nothing(name: str, case: Case, trained: Any) -> None:
    changed = {case.option: case.value}
    (row,) = (row for row in ROWS if row.name == name)
    told = [line for line in _lines({**case.beside, **changed}) - _lines(case.beside) if line.endswith(row.why)]
    assert len(told) == 1
    assert case.option in told[0]

    def after(changes: Changes) -> dict[str, torch.Tensor]:
        model, config = _configs(changes)
        return trained(model.model_dump_json(), config.model_dump_json())

    assert _same(after(case.beside), after({**case.beside, **changed}))
    if case.matters is not None:
        assert not [line for line in _lines({**case.matters, **changed}) if line.endswith(row.why)]
        assert not _same(after(case.matters), after({**case.matters, **changed}))


@torch.inference_mode()
@pytest.mark.parametrize("name", OF_A_COMPOSED_BACKBONE)
def test_an_idle_option_of_a_composed_backbone(name: str) -> None:
    option, value, beside = OF_A_COMPOSED_BACKBONE[name]

    def made(changes: Mapping[str, Any]) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
        config = composed_models.config(embedding_dims=16, max_images=2, **beside)
        given = config.model_dump()
        owner = given
        *sections, last = option.removeprefix("model.").split(".")
        for section in sections:
            owner = owner[section]
        if changes:
            owner[last] = owner[last] | value if isinstance(value, dict) else value
        config = ModelConfig.model_validate(given)
        spec, words = composed_models.spec(), composed_models.tokenizer()
        layout = picture_layout(config, spec)
        processor = Processor(words, config, None, layout, build_template(config, words))  # type: ignore[arg-type]
        model = MoonModel.seeded(config, composed_models.VOCAB, seed=2, spec=spec).eval()
        pixels = torch.randn((2, 3, layout.side_px, layout.side_px), generator=torch.Generator().manual_seed(1))
        batch = collate([processor.query_sequence("w1 w2", 1), processor.query_sequence("w3", 0)], range(2), pixels)
        return config, {**model.state_dict(), "vectors": model(batch)}

    (before, one), (after, other) = made({}), made({option: value})
    (row,) = (row for row in ROWS if row.name == name.split(",")[0])
    assert [line for line in without_effect(after, TrainConfig()) if option in line and line.endswith(row.why)]
    assert not [line for line in without_effect(before, TrainConfig()) if line.endswith(row.why)]
    assert _same(one, other)


def test_a_grid_or_budget_of_a_composed_backbone_counts_where_pictures_are_read() -> None:
    config = composed_models.config(grid_side=2, max_picture_tokens=16)
    assert without_effect(config, TrainConfig()) == []


def test_late_fusion_takes_the_vision_tower_whatever_is_said(trained: Any) -> None:
    given = shop.default_model(crops="none").model_dump() | {"fusion": "late"}
    said = ModelConfig.model_validate(given | {"vision_residual": False})
    unsaid = ModelConfig.model_validate({name: value for name, value in given.items() if name != "vision_residual"})
    assert [line.split(":")[0] for line in without_effect(said, TrainConfig())] == [
        "model.vision_residual false has no effect"
    ]
    assert without_effect(unsaid, TrainConfig()) == []
    config = _configs({})[1].model_dump_json()
    on = ModelConfig.model_validate(given | {"vision_residual": True})
    assert _same(trained(said.model_dump_json(), config), trained(on.model_dump_json(), config))


def test_a_training_tells_its_idle_options(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalog = shop.make_shop(tmp_path / "data")
    model, config = _configs({"model.slot_weight": 0.5, "model.head": "sum", "train.max_labels": 5})
    with caplog.at_level(logging.WARNING, logger="models"):
        train(
            catalog,
            shop.all_train(catalog),
            model=model,
            train=config,
            regions=shop.regions(),
            regions_config=shop.REGIONS,
            work_dir=tmp_path / "work",
            out_dir=tmp_path / "model",
        )
    (told,) = (record.getMessage() for record in caplog.records if "no effect" in record.getMessage())
    assert told.startswith("model.slot_weight has no effect: ")


def test_defaults_are_silent() -> None:
    assert without_effect(ModelConfig(), TrainConfig()) == []


def test_a_section_is_told_by_its_options() -> None:
    model = ModelConfig.model_validate({"composed": {"grid_side": 4, "projector_size": 7}})
    assert without_effect(model, TrainConfig()) == [
        "model.composed.grid_side, model.composed.projector_size have no effect: the backbone is another"
    ]
