"""`composed` against transformers' and timm's own classes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import timm
import torch
from transformers import AutoModel, LlamaConfig

from catalog import ModelError
from models.backbones import composed
from models.backbones.towers import calibration_pictures
from tests.models.composed_models import CONV, LLAMA, SIDE, VIT, VOCAB, config, spec, tokenizer


def make(tower: str = CONV, **changes: Any) -> composed.ComposedBackbone:
    torch.manual_seed(3)
    return composed.fresh(config(**changes), VOCAB, spec(tower)).eval()


def sequences(tokens_NKD: torch.Tensor, embedded: Any) -> torch.Tensor:
    """Two words, a picture, three words; one sequence a picture."""
    words_BLD = embedded(torch.randint(1, VOCAB, (tokens_NKD.shape[0], 5)))
    return torch.cat([words_BLD[:, :2], tokens_NKD, words_BLD[:, 2:]], dim=1)


@torch.inference_mode()
def test_hidden_states_equal_the_stock_model() -> None:
    backbone = make()
    stock = AutoModel.from_config(LlamaConfig(**LLAMA), attn_implementation="eager").eval()
    stock.load_state_dict(backbone.language.state_dict())
    pixels = torch.randn(2, 3, SIDE, SIDE)
    tokens = backbone.project(backbone.see(pixels)).tokens_NKD
    assert tokens.shape == (2, 9, 32)
    embeds = sequences(tokens, backbone.embed_tokens)
    mask = torch.ones(embeds.shape[:2], dtype=torch.bool)
    positions = torch.arange(embeds.shape[1]).expand(3, 2, -1)
    ours = backbone.decode(embeds, mask, positions, mask, ())
    theirs = stock(inputs_embeds=embeds).last_hidden_state
    assert float((ours - theirs).abs().max()) <= 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("tower", [CONV, VIT, "test_convnext.r160_in1k"])
def test_grid_and_signal_equal_timms_own_features(tower: str) -> None:
    backbone = make(tower, pooled_stages=[2, 0], grid_side=2)
    args = {"img_size": SIDE} if tower == VIT else {}
    net = timm.create_model(tower, pretrained=False, num_classes=0, **args).eval()
    net.load_state_dict(backbone.tower.net.state_dict())
    pixels = torch.randn(3, 3, SIDE, SIDE)
    seen = backbone.see(pixels)
    last = net.forward_features(pixels)
    if tower == VIT:
        last = last[:, 1:].transpose(1, 2).reshape(3, 64, SIDE // 16, SIDE // 16)
    half = last.shape[-1] / 2
    for row in range(2):
        for column in range(2):
            rows = slice(int(row * half), -int(-(row + 1) * half // 1))
            columns = slice(int(column * half), -int(-(column + 1) * half // 1))
            cell = last[:, :, rows, columns].mean(dim=(2, 3))
            assert torch.allclose(seen.grid_NKV[:, row * 2 + column], cell, atol=1e-5)
    low, high = net.forward_intermediates(pixels, indices=[0, 2], intermediates_only=True)
    blocks = [x.mean(dim=(2, 3)) for x in (last, high, low)]
    assert seen.pooled_NP.shape[1] == backbone.vision_size == sum(block.shape[1] for block in blocks)
    scales = backbone.tower.pooled_scale_P
    assert torch.allclose(seen.pooled_NP, torch.cat(blocks, dim=1) * scales, atol=1e-5)
    assert len(scales.unique()) <= 3


@torch.inference_mode()
def test_every_pooled_block_speaks_as_loudly() -> None:
    backbone = make(pooled_stages=[0, 3])
    fed = composed.layout(config(), spec())
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (fed.mean, fed.std))
    seen = backbone.see((calibration_pictures(SIDE) - mean) / std)
    for block in seen.pooled_NP.split([256, 16, 48], dim=1):
        assert float(block.square().mean().sqrt()) == pytest.approx(1.0, rel=1e-3)


def test_calibration_pictures_are_always_the_same_and_leave_the_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    one = calibration_pictures(32)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(one, calibration_pictures(32))
    assert 0 <= float(one.min()) < float(one.max()) <= 1
    assert bool((one[1::2, :, :6] == 1).all())
    assert float(one[0::2].std()) > 0.1


@torch.inference_mode()
def test_pictures_do_not_see_each_other_even_in_training() -> None:
    backbone = make().train()
    pixels = torch.randn(3, 3, SIDE, SIDE)
    before = {name: x.clone() for name, x in backbone.tower.state_dict().items()}
    together, alone = backbone.see(pixels), backbone.see(pixels[1:2])
    assert torch.allclose(together.grid_NKV[1:2], alone.grid_NKV, atol=1e-5)
    assert torch.allclose(together.pooled_NP[1:2], alone.pooled_NP, atol=1e-5)
    assert all(torch.equal(x, before[name]) for name, x in backbone.tower.state_dict().items())


@torch.inference_mode()
def test_no_picture_at_all() -> None:
    backbone = make(pooled_stages=[1])
    features = backbone.project(backbone.see(torch.zeros(0, 3, SIDE, SIDE)))
    assert features.tokens_NKD.shape == (0, 9, 32)
    assert features.pooled_NP.shape == (0, backbone.vision_size)


@torch.inference_mode()
def test_padding_side_does_not_matter() -> None:
    backbone = make()
    embeds = torch.randn(1, 6, 32)
    gap = torch.randn(1, 3, 32)
    full = torch.ones(1, 6, dtype=torch.bool)
    count = torch.arange(6).expand(3, 1, -1)
    none, zeros = torch.zeros(1, 3, dtype=torch.bool), torch.zeros(3, 1, 3, dtype=torch.long)
    alone = backbone.decode(embeds, full, count, full, ())
    right = backbone.decode(
        torch.cat([embeds, gap], 1), torch.cat([full, none], 1), torch.cat([count, zeros], 2), full, ()
    )
    left = backbone.decode(
        torch.cat([gap, embeds], 1), torch.cat([none, full], 1), torch.cat([zeros, count], 2), full, ()
    )
    assert float((alone - right[:, :6]).abs().max()) <= 1e-5
    assert float((alone - left[:, 3:]).abs().max()) <= 1e-5
    assert bool(torch.isfinite(left).all())


@torch.inference_mode()
def test_keep_layers_keeps_the_first() -> None:
    whole, cut = make(), make(keep_layers=2)
    assert len(cut.decoder_layers()) == 2
    assert cut.spec()["language"]["num_hidden_layers"] == 2
    cut.language.load_state_dict(whole.language.state_dict(), strict=False)
    embeds, mask = torch.randn(1, 4, 32), torch.ones(1, 4, dtype=torch.bool)
    theirs = whole.language(inputs_embeds=embeds, output_hidden_states=True).hidden_states[2]
    ours = cut.decode(embeds, mask, torch.arange(4).expand(3, 1, -1), mask, ())
    assert torch.allclose(ours, whole.language.norm(theirs), atol=1e-5)


def test_too_many_layers_to_keep() -> None:
    with pytest.raises(ModelError, match="4") as caught:
        make(keep_layers=4)
    assert "3" in caught.value.allowed


@torch.inference_mode()
@pytest.mark.parametrize("tower", [CONV, VIT])
def test_spec_builds_it_again(tower: str) -> None:
    backbone = make(tower, keep_layers=2, pooled_stages=[1], projector_size=24)
    stored = json.loads(json.dumps(backbone.spec()))
    again = composed.fresh(
        config(keep_layers=2, pooled_stages=[1], projector_size=24, language="gone", vision="gone"), VOCAB, stored
    ).eval()
    again.load_state_dict(backbone.state_dict())
    pixels = torch.randn(1, 3, SIDE, SIDE)
    one, two = backbone.project(backbone.see(pixels)), again.project(again.see(pixels))
    assert torch.equal(one.tokens_NKD, two.tokens_NKD)
    assert torch.equal(one.pooled_NP, two.pooled_NP)
    assert again.spec() == backbone.spec()


@torch.inference_mode()
@pytest.mark.parametrize("projector_size", [0, 64])
def test_picture_tokens_start_as_long_as_words(projector_size: int) -> None:
    backbone = make(projector_size=projector_size)
    tokens = backbone.projector(torch.randn(64, 5, 256) * 7)
    words = backbone.language.get_input_embeddings().weight
    assert float(tokens.square().mean().sqrt() / words.square().mean().sqrt()) == pytest.approx(1.0, abs=0.3)


def test_layout_keeps_to_wish_and_budget() -> None:
    assert composed.layout(config(), spec()).num_tokens == 9
    assert composed.layout(config(grid_side=5), spec()).rows == 5
    # Three originals and three crops of at most five tokens each.
    few = composed.layout(config(grid_side=5, max_picture_tokens=30), spec())
    assert (few.rows, few.columns, few.side_px) == (2, 2, SIDE)
    assert composed.layout(config(crops="none", max_picture_tokens=27), spec()).rows == 3
    assert few.mean == (0.485, 0.456, 0.406)
    with pytest.raises(ModelError, match="token budget") as caught:
        composed.layout(config(max_picture_tokens=5), spec())
    assert "at least 6" in caught.value.allowed


def test_budget_reaches_the_backbone() -> None:
    backbone = make(max_picture_tokens=24)
    assert backbone.see(torch.zeros(1, 3, SIDE, SIDE)).grid_NKV.shape[1] == 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"grid_side": 4}, "map of 3 a side"),
        ({"pooled_stages": [5]}, "0 to 4"),
        ({"pooled_stages": [1, 1]}, "0 to 4"),
    ],
)
def test_wishes_the_tower_cannot_grant(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError, match=told):
        make(**changes)


def test_a_side_that_is_no_multiple_of_the_patch() -> None:
    with pytest.raises(ModelError, match="100 px"):
        make(VIT, image_side_px=100)


def test_a_tokenizer_of_another_model() -> None:
    with pytest.raises(ModelError, match="301 entries, 300 rows"):
        composed.fresh(config(), VOCAB + 1, spec())


def test_a_model_that_is_no_causal_language_model() -> None:
    with pytest.raises(ModelError, match="model_type vit"):
        composed.fresh(config(), VOCAB, spec(language={"model_type": "vit"}))


@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "gpt_neox"])
@torch.inference_mode()
def test_other_language_models(kind: str) -> None:
    sizes = {name: value for name, value in LLAMA.items() if name != "model_type"}
    if kind == "gpt2":
        sizes = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "n_inner": 48}
    made = composed.fresh(config(keep_layers=2), VOCAB, spec(language={"model_type": kind, **sizes})).eval()
    mask = torch.ones(2, 4, dtype=torch.bool)
    assert made.decode(torch.randn(2, 4, 32), mask, torch.arange(4).expand(3, 2, -1), mask, ()).shape == (2, 4, 32)
    assert len(made.decoder_layers()) == 2
    assert hasattr(made.decoder_layers()[0], made.ffn_name)


def test_parameters_of_the_tower_alone() -> None:
    backbone = make()
    assert sum(p.numel() for p in backbone.vision_parameters()) == sum(
        p.numel() for p in timm.create_model(CONV, pretrained=False, num_classes=0).parameters()
    )


def test_marks_are_words_where_the_tokenizer_has_no_token_for_them() -> None:
    made = composed.template(tokenizer())
    assert made.positions == "sequential"
    assert made.before_picture
    assert made.after_picture == ()
    assert made.image_id < VOCAB
