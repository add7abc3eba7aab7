"""`qwen2_5_vl` and `qwen3_vl` against transformers' own classes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

from catalog import ModelError
from models.backbones.qwen import QwenBackbone, as_clip
from tests.models.qwen_models import IDS, KINDS, SIDE, STORED, VOCAB, batch, config, hidden, spec, tokenizer

STOCK = {"qwen2_5_vl": Qwen2_5_VLModel, "qwen3_vl": Qwen3VLModel}


def make(kind: str, **changes: Any) -> QwenBackbone:
    torch.manual_seed(3)
    backbone = KINDS[kind].fresh(config(kind, **changes), VOCAB, spec(kind)).eval()
    for parameter in backbone.parameters():
        # Norms and biases as they never are at the start, so that one left out shows.
        parameter.data += 0.05 * torch.randn_like(parameter)
    return backbone


def stock_patches(pixels_NCHW: torch.Tensor, patch_px: int) -> torch.Tensor:
    """As transformers' Qwen2VLImageProcessor flattens them: merge blocks, channel, time, row, column."""
    patches = []
    for picture in pixels_NCHW:
        side = picture.shape[1] // patch_px
        for block_row in range(0, side, 2):
            for block_column in range(0, side, 2):
                for row in (block_row, block_row + 1):
                    for column in (block_column, block_column + 1):
                        rows = slice(row * patch_px, (row + 1) * patch_px)
                        columns = slice(column * patch_px, (column + 1) * patch_px)
                        frame = picture[:, rows, columns]
                        patches.append(torch.stack([frame, frame], dim=1).flatten())
    return torch.stack(patches)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side_px", [16, 24, 40])
@pytest.mark.parametrize("padding", ["left", "right"])
def test_hidden_states_equal_the_stock_model(kind: str, side_px: int, padding: str) -> None:
    backbone = make(kind, image_side_px=side_px)
    stock = STOCK[kind](backbone.qwen.config).eval()
    stock.load_state_dict(backbone.qwen.state_dict())
    assert type(stock.visual.blocks[0].attn) is not type(backbone.qwen.visual.blocks[0].attn)
    given = batch(kind, padding, image_side_px=side_px)
    grid = torch.tensor([[1, side_px // 4, side_px // 4]]).repeat(6, 1)
    theirs = stock(
        input_ids=given.ids_BL,
        attention_mask=given.mask_BL.long(),
        pixel_values=stock_patches(given.pixels_NCHW, 4),
        image_grid_thw=grid,
        mm_token_type_ids=given.picture_mask_BL.int(),
    ).last_hidden_state
    ours = hidden(backbone, given)
    assert float((ours - theirs)[given.mask_BL].abs().max()) <= 1e-5
    assert bool(torch.isfinite(ours).all())


@pytest.mark.parametrize("kind", KINDS)
def test_positions_are_the_stock_models(kind: str) -> None:
    given = batch(kind)
    stock = STOCK[kind](make(kind).qwen.config)
    grid = torch.tensor([[1, SIDE // 4, SIDE // 4]]).repeat(6, 1)
    theirs, _ = stock.get_rope_index(
        given.ids_BL, given.picture_mask_BL.int(), image_grid_thw=grid, attention_mask=given.mask_BL.long()
    )
    present = given.mask_BL.expand(3, -1, -1)
    assert torch.equal(given.positions_3BL[present], theirs[present])


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_padding_side_does_not_matter(kind: str) -> None:
    backbone = make(kind)
    right, left = batch(kind, "right"), batch(kind, "left")
    one, two = hidden(backbone, right), hidden(backbone, left)
    assert float((one[right.mask_BL] - two[left.mask_BL]).abs().max()) <= 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_do_not_see_each_other(kind: str) -> None:
    backbone = make(kind)
    pixels = torch.randn(5, 3, SIDE, SIDE)
    together, alone = backbone.see(pixels), backbone.see(pixels[3:4])
    assert torch.allclose(together.grid_NKV[3:4], alone.grid_NKV, atol=1e-5)
    assert torch.allclose(together.pooled_NP[3:4], alone.pooled_NP, atol=1e-5)
    assert len(together.deep) == (2 if kind == "qwen3_vl" else 0)
    for many, one in zip(together.deep, alone.deep, strict=True):
        assert torch.allclose(many[3:4], one, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_signal_is_the_mean_of_the_towers_last_block(kind: str) -> None:
    backbone = make(kind)
    pixels = torch.randn(2, 3, SIDE, SIDE)
    stock = STOCK[kind](backbone.qwen.config).eval()
    stock.load_state_dict(backbone.qwen.state_dict())
    grid = torch.tensor([[1, SIDE // 4, SIDE // 4]])
    for picture, pooled in zip(pixels, backbone.see(pixels).pooled_NP, strict=True):
        last = stock.visual(stock_patches(picture[None], 4), grid_thw=grid).last_hidden_state
        assert torch.allclose(pooled, last.mean(dim=0), atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_projecting_changes_nothing(kind: str) -> None:
    seen = make(kind).see(torch.randn(2, 3, SIDE, SIDE))
    features = make(kind).project(seen)
    assert features.tokens_NKD is seen.grid_NKV
    assert features.deep is seen.deep


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_no_picture_at_all(kind: str) -> None:
    backbone = make(kind)
    seen = backbone.see(torch.zeros(0, 3, SIDE, SIDE))
    assert seen.grid_NKV.shape == (0, 9, 32)
    assert seen.pooled_NP.shape == (0, 32)
    assert all(one.shape == (0, 9, 32) for one in seen.deep)
    embeds, mask = torch.randn(1, 4, 32), torch.ones(1, 4, dtype=torch.bool)
    out = backbone.decode(embeds, mask, torch.arange(4).expand(3, 1, -1), ~mask, seen.deep)
    assert out.shape == (1, 4, 32)


def test_deep_features_reach_the_decoder() -> None:
    backbone = make("qwen3_vl")
    given = batch("qwen3_vl")
    with torch.inference_mode():
        features = backbone.project(backbone.see(given.pixels_NCHW))
        embeds = backbone.embed_tokens(given.ids_BL).masked_scatter(
            given.picture_mask_BL.unsqueeze(-1), features.tokens_NKD
        )
        args = (embeds, given.mask_BL, given.positions_3BL, given.picture_mask_BL)
        with_deep, without = backbone.decode(*args, features.deep), backbone.decode(*args, ())
    assert torch.allclose(with_deep[0][given.mask_BL[0]], without[0][given.mask_BL[0]], atol=1e-6)
    assert float((with_deep[1] - without[1]).abs().max()) > 1e-3


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_keep_layers_keeps_the_first(kind: str) -> None:
    whole, cut = make(kind), make(kind, keep_layers=2)
    assert len(cut.decoder_layers()) == 2
    lacking, _ = cut.qwen.load_state_dict(whole.qwen.state_dict(), strict=False)
    assert not lacking
    whole.qwen.language_model.layers = whole.qwen.language_model.layers[:2]
    given = batch(kind)
    assert torch.allclose(hidden(cut, given)[given.mask_BL], hidden(whole, given)[given.mask_BL], atol=1e-5)
    assert cut.spec()["model"]["text_config"]["num_hidden_layers"] == 2


def test_deep_features_need_their_layers() -> None:
    with pytest.raises(ModelError, match="DeepStack") as caught:
        make("qwen3_vl", keep_layers=1)
    assert caught.value.got == "1"
    assert caught.value.allowed == "at least 2"


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_layers_to_keep(kind: str) -> None:
    with pytest.raises(ModelError, match="1 to 4"):
        make(kind, keep_layers=5)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_spec_builds_it_again(kind: str) -> None:
    backbone = make(kind, keep_layers=2)
    stored = json.loads(json.dumps(backbone.spec()))
    again = KINDS[kind].fresh(config(kind, keep_layers=2), VOCAB, stored).eval()
    again.load_state_dict(backbone.state_dict())
    given = batch(kind)
    assert torch.equal(hidden(again, given), hidden(backbone, given))
    assert again.spec() == backbone.spec()
    assert KINDS[kind].layout(config(kind), stored) == KINDS[kind].layout(config(kind), spec(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_layout_keeps_to_wish_and_budget(kind: str) -> None:
    layout = KINDS[kind].layout
    assert layout(config(kind, image_side_px=31), spec(kind)).side_px == 24
    assert layout(config(kind, image_side_px=64), spec(kind)).num_tokens == 64
    # Three originals and three crops within 100 tokens: 4 x 4 each.
    tight = layout(config(kind, image_side_px=64, max_picture_tokens=100), spec(kind))
    assert (tight.rows, tight.columns, tight.side_px) == (4, 4, 32)
    assert layout(config(kind, max_picture_tokens=6), spec(kind)).num_tokens == 1
    with pytest.raises(ModelError, match="token budget") as caught:
        layout(config(kind, max_picture_tokens=5), spec(kind))
    assert caught.value.got == "5"
    large = {**STORED[kind], "vision_config": {"patch_size": 16, "spatial_merge_size": 2}}
    with pytest.raises(ModelError, match="at least 32 px"):
        layout(config(kind, image_side_px=24), {**spec(kind), "model": large})


@pytest.mark.parametrize("kind", KINDS)
def test_template_has_the_models_own_tokens(kind: str) -> None:
    made = KINDS[kind].template(tokenizer())
    assert made.positions == "mrope"
    assert (made.pad_id, made.image_id) == (IDS["<|endoftext|>"], IDS["<|image_pad|>"])
    assert (made.before_picture, made.after_picture) == ((IDS["<|vision_start|>"],), (IDS["<|vision_end|>"],))
    with pytest.raises(ModelError, match=r"<\|endoftext\|>"):
        KINDS[kind].template(Tokenizer(models.WordLevel({"w0": 0}, unk_token="w0")))


def test_a_still_picture_is_a_clip_of_equal_frames() -> None:
    patches = torch.arange(2 * 3 * 4.0).view(2, 12)
    clip = as_clip(patches, 2).view(2, 3, 2, 4)
    assert torch.equal(clip[:, :, 0], patches.view(2, 3, 4))
    assert torch.equal(clip[:, :, 1], patches.view(2, 3, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter_and_equal_the_stock_models(kind: str) -> None:
    backbone = make(kind)
    stock = STOCK[kind](backbone.qwen.config).eval()
    stock.load_state_dict(backbone.qwen.state_dict())
    given = batch(kind)
    weights = torch.randn_like(backbone.embed_tokens(given.ids_BL)).detach() * given.mask_BL.unsqueeze(-1)
    (hidden(backbone, given) * weights).sum().backward()
    theirs = stock(
        input_ids=given.ids_BL,
        attention_mask=given.mask_BL.long(),
        pixel_values=stock_patches(given.pixels_NCHW, 4),
        image_grid_thw=torch.tensor([[1, 6, 6]]).repeat(6, 1),
        mm_token_type_ids=given.picture_mask_BL.int(),
    ).last_hidden_state
    (theirs * weights).sum().backward()
    ours = dict(backbone.qwen.named_parameters())
    for name, parameter in stock.named_parameters():
        assert ours[name].grad is not None, name
        assert torch.allclose(ours[name].grad, parameter.grad, rtol=1e-3, atol=1e-4), name


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_bf16_stays_close(kind: str) -> None:
    backbone, given = make(kind), batch(kind)
    exact = hidden(backbone, given)[given.mask_BL]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = hidden(backbone, given)[given.mask_BL].float()
    half = hidden(copy.deepcopy(backbone).to(torch.bfloat16), given)[given.mask_BL].float()
    for rough in (mixed, half):
        assert float(torch.cosine_similarity(exact, rough, dim=1).min()) >= 0.995


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_checkpointing_changes_nothing(kind: str) -> None:
    plain, saving = make(kind).train(), make(kind).train()
    saving.qwen.activation_checkpointing_enable()
    given = batch(kind)
    for backbone in (plain, saving):
        (hidden(backbone, given)[given.mask_BL] ** 3).sum().backward()
    for one, two in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, rtol=1e-4, atol=1e-5)
