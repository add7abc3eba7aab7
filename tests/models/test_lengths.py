"""The longest sequence against the positions of a decoder: told before a training, never an index out of range."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from catalog import ModelError, Product, ProductItem
from models.backbones import build_template, picture_layout
from models.backbones.language import build_language
from models.backbones.places import Places, places
from models.batch import TokenSequence, collate
from models.config import ModelConfig
from models.encoder import MoonEncoder
from models.lengths import check_longest, num_places
from models.moon import MoonModel
from models.pictures import PictureMaker
from models.processor import Processor
from models.training import train
from tests.models import composed_models, shop
from tests.models.test_backbone_in_moon import KINDS, parts

LONG = " ".join(f"w{number % 200}" for number in range(400))
PRODUCT = Product(
    product_id="long",
    group_id="g",
    title=LONG,
    description=LONG,
    category=(LONG,),
    attributes={"w1": LONG},
)
SIZES = {
    "vocab_size": composed_models.VOCAB,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}
TABLES, ROTARY = ("gpt2", "gpt_bigcode"), ("llama", "qwen2", "gpt_neox", "phi", "falcon", "stablelm")


def _language(kind: str, positions: int) -> dict[str, Any]:
    if kind in TABLES:
        own = {"vocab_size": composed_models.VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48}
        return {"model_type": kind, **own, "n_positions": positions, "bos_token_id": None, "eos_token_id": None}
    return {"model_type": kind, **SIZES, "num_hidden_layers": 2, "max_position_embeddings": positions}


def _processor(config: ModelConfig, spec: dict[str, Any]) -> Processor:
    words = composed_models.tokenizer()
    layout = picture_layout(config, spec)
    return Processor(words, config, PictureMaker(layout.side_px, shop.regions()), layout, build_template(config, words))


def _composed(positions: int, kind: str = "gpt2", **changes: Any) -> tuple[Processor, MoonModel]:
    settings = {"embedding_dims": 16, "max_images": 2, "max_picture_tokens": 16} | changes
    config, spec = composed_models.config(**settings), composed_models.spec(language=_language(kind, positions))
    model = MoonModel.seeded(config, composed_models.VOCAB, seed=2, spec=spec).eval()
    return _processor(config, model.backbone.spec()), model


@torch.inference_mode()
def _run(processor: Processor, model: MoonModel, sequence: TokenSequence) -> torch.Tensor:
    side, num = processor.layout.side_px, sequence.num_pictures
    return model(collate([sequence], range(num), torch.zeros(num, 3, side, side)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"order": "pictures_first", "crops": "none"}, {"fusion": "late"}])
@pytest.mark.parametrize("use_description", [False, True])
def test_the_longest_is_what_a_product_of_too_many_words_becomes(
    kind: str, changes: dict[str, Any], use_description: bool
) -> None:
    config, spec, words = parts(kind)
    config = ModelConfig.model_validate(config.model_dump() | changes | {"use_description": use_description})
    layout = picture_layout(config, spec)
    made = Processor(words, config, None, layout, build_template(config, words))  # type: ignore[arg-type]
    for longest, real in (
        (made.longest_product(), made.product_sequence(PRODUCT, config.max_images)),
        (made.longest_query(), made.query_sequence(LONG, 1)),
    ):
        assert longest.types == real.types
        assert longest.positions == real.positions
        assert longest.num_pictures == real.num_pictures
    assert num_places(made.longest_product()) <= len(made.longest_product())


@torch.inference_mode()
@pytest.mark.parametrize("kind", [*TABLES, *ROTARY])
def test_a_table_ends_where_the_decoder_fails(kind: str) -> None:
    decoder = build_language(_language(kind, 48), None).eval()

    def runs(num: int) -> bool:
        try:
            decoder(
                inputs_embeds=torch.randn(1, num, 32),
                attention_mask=torch.ones(1, num, dtype=torch.long),
                position_ids=torch.arange(num)[None],
                use_cache=False,
            )
        except IndexError:
            return False
        return True

    _, model = _composed(48, kind)
    found = places(model.backbone)  # type: ignore[arg-type]
    assert found == Places(48, kind in TABLES, type(decoder).__name__)
    assert runs(48)
    assert runs(49) != found.is_table


@pytest.mark.parametrize("changes", [{}, {"use_description": True}, {"fusion": "late"}])
def test_budgets_that_just_fit_run_and_one_more_is_refused(changes: dict[str, Any]) -> None:
    processor, _ = _composed(512, **changes)
    most = num_places(processor.longest_product())
    processor, model = _composed(most, **changes)
    check_longest(processor, model.backbone)  # type: ignore[arg-type]
    _run(processor, model, processor.product_sequence(PRODUCT, 2))
    processor, model = _composed(most - 1, **changes)
    with pytest.raises(ModelError, match="table of positions") as caught:
        check_longest(processor, model.backbone)  # type: ignore[arg-type]
    assert f"{most} positions of a product" in caught.value.got
    assert caught.value.allowed == f"{most - 1} positions of GPT2Model"
    assert ("model.max_description_tokens" in caught.value.fix) == ("use_description" in changes)
    assert ("model.max_images" in caught.value.fix) == ("fusion" not in changes)
    assert "model.max_text_tokens" not in caught.value.fix
    with pytest.raises(IndexError):
        _run(processor, model, processor.product_sequence(PRODUCT, 2))
    # Whichever key is lowered that the error names, by as much as is too much.
    for key in ("max_title_tokens", "max_field_tokens"):
        assert f"model.{key}" in caught.value.fix
        lower = {key: getattr(processor.config, key) - 1}
        processor_, model = _composed(most - 1, **(changes | lower))
        check_longest(processor_, model.backbone)  # type: ignore[arg-type]


def test_a_query_that_is_too_long_names_its_own_budget() -> None:
    short = {"max_title_tokens": 4, "max_field_tokens": 4, "max_images": 1, "max_text_tokens": 200}
    processor, model = _composed(128, **short)
    with pytest.raises(ModelError) as caught:
        check_longest(processor, model.backbone)  # type: ignore[arg-type]
    assert "of a query" in caught.value.got
    assert "of a product" not in caught.value.got
    assert caught.value.fix.startswith("lower model.max_text_tokens")
    assert "model.max_title_tokens" not in caught.value.fix


def test_rotary_positions_beyond_what_was_trained_on_warn_and_work(caplog: pytest.LogCaptureFixture) -> None:
    processor, model = _composed(64, "llama")
    with caplog.at_level(logging.WARNING):
        check_longest(processor, model.backbone)  # type: ignore[arg-type]
    assert "64 positions of LlamaModel" in caplog.text
    assert "model.max_field_tokens" in caplog.text
    assert torch.isfinite(_run(processor, model, processor.product_sequence(PRODUCT, 2))).all()
    caplog.clear()
    processor, model = _composed(512, "llama")
    check_longest(processor, model.backbone)  # type: ignore[arg-type]
    assert not caplog.text


def test_an_item_that_is_too_long_is_named() -> None:
    processor, model = _composed(96)
    encoder = MoonEncoder(model, processor, "digest")
    short = Product(product_id="short", group_id="g", title="w1")
    assert encoder.embed_products([ProductItem(short, ())]).shape == (1, 16)
    with pytest.raises(ModelError, match="table of positions") as caught:
        encoder.embed_products([ProductItem(short, ()), ProductItem(PRODUCT, ())])
    assert caught.value.where == "long"
    assert caught.value.allowed == "96, of GPT2Model"


def test_a_training_is_refused_before_a_photograph_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.lengths.places", lambda backbone: Places(20, True, "Table"))
    catalog = shop.make_shop(tmp_path / "data")
    with pytest.raises(ModelError, match="table of positions"):
        train(
            catalog,
            shop.all_train(catalog),
            model=shop.tiny_model(),
            train=shop.tiny_train(),
            regions=shop.regions(),
            regions_config=shop.REGIONS,
            work_dir=tmp_path / "work",
            out_dir=tmp_path / "model",
        )
    assert [path.name for path in (tmp_path / "work").iterdir() if path.name != "lock"] == []
