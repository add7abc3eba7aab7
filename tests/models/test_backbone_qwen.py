"""`qwen2_5_vl` and `qwen3_vl` against transformers' own classes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLForConditionalGeneration, Qwen3VLModel

from catalog import ModelError, Product
from models.backbones import qwen2_5_vl, qwen3_vl
from models.backbones.qwen import QwenBackbone, as_clip
from models.batch import Batch, collate
from models.config import ModelConfig
from models.processor import Processor

KINDS = {"qwen2_5_vl": qwen2_5_vl, "qwen3_vl": qwen3_vl}
STOCK = {"qwen2_5_vl": Qwen2_5_VLModel, "qwen3_vl": Qwen3VLModel}
STOCK_WITH_HEAD = {"qwen2_5_vl": Qwen2_5_VLForConditionalGeneration, "qwen3_vl": Qwen3VLForConditionalGeneration}
VOCAB = 300
SPECIAL = ("<|endoftext|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
IDS = {token: VOCAB - len(SPECIAL) + index for index, token in enumerate(SPECIAL)}
TEXT = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": IDS["<|endoftext|>"],
}
VISION = {"depth": 4, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "out_hidden_size": 32}
TOKEN_IDS = {
    "image_token_id": IDS["<|image_pad|>"],
    "video_token_id": IDS["<|video_pad|>"],
    "vision_start_token_id": IDS["<|vision_start|>"],
    "vision_end_token_id": IDS["<|vision_end|>"],
}
STORED: dict[str, dict[str, Any]] = {
    # As the 3B model's config.json: the decoder's sizes stand at the top. Windows of 2 x 2 tokens: 3 x 3 tokens a
    # picture make windows of four lengths' shapes, 2 x 2, 2 x 1, 1 x 2 and 1 x 1.
    "qwen2_5_vl": {
        "model_type": "qwen2_5_vl",
        **TEXT,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "vision_config": VISION | {"patch_size": 4, "window_size": 16, "fullatt_block_indexes": [1, 3]},
        **TOKEN_IDS,
    },
    "qwen3_vl": {
        "model_type": "qwen3_vl",
        "text_config": TEXT
        | {
            "rope_theta": 5e6,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"},
        },
        "vision_config": VISION | {"patch_size": 4, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 2]},
        **TOKEN_IDS,
    },
}
SIDE = 24


def config(kind: str, *, keep_layers: int | None = None, weights: str = "gone", **changes: Any) -> ModelConfig:
    settings = {
        "backbone": kind,
        "pretrained": {"weights": weights, "keep_layers": keep_layers},
        "image_side_px": SIDE,
        "slots": False,
        "moe": {"layers": []},
    }
    return ModelConfig.model_validate(settings | changes)


def spec(kind: str) -> dict[str, Any]:
    return {"model": STORED[kind], "mean": [0.5] * 3, "std": [0.5] * 3}


def make(kind: str, **changes: Any) -> QwenBackbone:
    torch.manual_seed(3)
    backbone = KINDS[kind].fresh(config(kind, **changes), VOCAB, spec(kind)).eval()
    for parameter in backbone.parameters():
        # Norms and biases as they never are at the start, so that one left out shows.
        parameter.data += 0.05 * torch.randn_like(parameter)
    return backbone


def tokenizer(num_words: int = VOCAB - len(SPECIAL)) -> Tokenizer:
    made = Tokenizer(models.WordLevel({f"w{index}": index for index in range(num_words)}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    made.encode_special_tokens = True
    return made


def batch(kind: str, padding: Any = "right", **changes: Any) -> Batch:
    """A product with two photographs and two crops, a query with one, and one of words alone."""
    settings = config(kind, **changes)
    words = tokenizer()
    module = KINDS[kind]
    processor = Processor(
        words,
        settings,
        None,  # type: ignore[arg-type]
        module.layout(settings, spec(kind)),
        module.template(words),
    )
    product = Product(
        product_id="p", group_id="p", title="w3 w4 w5", category=("w6", "w7"), attributes={"w8": "w9"}, images=("a",)
    )
    sequences = [
        processor.query_sequence("w1 w2", 0),
        processor.product_sequence(product, 2),
        processor.query_sequence("w3", 1),
    ]
    torch.manual_seed(5)
    side = processor.layout.side_px
    pixels = torch.randn(6, 3, side, side)
    return collate(sequences, range(6), pixels, IDS["<|endoftext|>"], padding)


def hidden(backbone: QwenBackbone, given: Batch) -> torch.Tensor:
    features = backbone.project(backbone.see(given.pixels_NCHW))
    embeds = backbone.embed_tokens(given.ids_BL)
    tokens = features.tokens_NKD[given.slot_picture_S].to(embeds.dtype)
    embeds = embeds.masked_scatter(given.picture_mask_BL.unsqueeze(-1), tokens)
    deep = tuple(one[given.slot_picture_S] for one in features.deep)
    return backbone.decode(embeds, given.mask_BL, given.positions_3BL, given.picture_mask_BL, deep)


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


def write_folder(folder: Path, kind: str, *, num_words: int = VOCAB - len(SPECIAL), published: bool = False) -> None:
    """A weights folder with random weights; `published`: with the tensor names of the model's first release."""
    torch.manual_seed(9)
    folder.mkdir(parents=True)
    known = KINDS[kind].KIND.config_class.from_dict(STORED[kind])
    stock = STOCK_WITH_HEAD[kind](known)
    tensors = {name: tensor.clone() for name, tensor in stock.state_dict().items()}
    if published:
        tensors = {
            name.replace("model.language_model.", "model.").replace("model.visual.", "visual."): tensor
            for name, tensor in tensors.items()
        }
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(STORED[kind]))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]})
    )
    tokenizer(num_words).save(str(folder / "tokenizer.json"))


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("published", [False, True])
def test_pretrained_weights_arrive(tmp_path: Path, kind: str, published: bool) -> None:
    write_folder(tmp_path / "weights", kind, published=published)
    settings = config(kind, weights=str(tmp_path / "weights"), keep_layers=3)
    backbone, words = KINDS[kind].load(settings)
    assert words.get_vocab_size() == VOCAB
    assert words.encode("<|image_pad|>").ids != [IDS["<|image_pad|>"]]
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    stored = load_file(tmp_path / "weights" / "model.safetensors")
    prefix = "model." if published else "model.language_model."
    assert torch.equal(
        backbone.decoder_layers()[2].mlp.up_proj.weight, stored[f"{prefix}layers.2.mlp.up_proj.weight"].float()
    )
    # Rotary frequencies are no weights: they must be there although nothing was initialised.
    assert bool((backbone.qwen.language_model.rotary_emb.inv_freq > 0).all())
    assert torch.isfinite(hidden(backbone.eval(), batch(kind))).all()
    assert KINDS[kind].layout(settings, None).mean == (0.1, 0.2, 0.3)
    again = KINDS[kind].fresh(settings, VOCAB, None)
    assert again.spec() == backbone.spec()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_another_model(tmp_path: Path, kind: str) -> None:
    other = next(name for name in KINDS if name != kind)
    write_folder(tmp_path / "weights", other)
    with pytest.raises(ModelError) as caught:
        KINDS[kind].load(config(kind, weights=str(tmp_path / "weights")))
    assert other in caught.value.got
    assert kind in caught.value.allowed


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_of_another_model(tmp_path: Path, kind: str) -> None:
    write_folder(tmp_path / "weights", kind, num_words=VOCAB)
    with pytest.raises(ModelError) as caught:
        KINDS[kind].load(config(kind, weights=str(tmp_path / "weights")))
    assert str(VOCAB) in str(caught.value)
    assert str(VOCAB + len(SPECIAL) - 1) in str(caught.value)


def test_a_shard_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    write_folder(folder, "qwen3_vl")
    tensors = load_file(folder / "model.safetensors")
    index = {name: f"model-0000{1 + row % 2}-of-00002.safetensors" for row, name in enumerate(tensors)}
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors"):
        qwen3_vl.load(config("qwen3_vl", weights=str(folder)))


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_is_missing_or_of_another_shape(tmp_path: Path, kind: str) -> None:
    write_folder(tmp_path / "weights", kind)
    path = tmp_path / "weights" / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.language_model.layers.1.mlp.up_proj.weight"]
    tensors["model.language_model.norm.weight"] = torch.ones(7)
    tensors["model.language_model.layers.0.extra"] = torch.ones(7)
    save_file(tensors, path)
    with pytest.raises(ModelError) as caught:
        KINDS[kind].load(config(kind, weights=str(tmp_path / "weights")))
    assert "missing: language_model.layers.1.mlp.up_proj.weight" in caught.value.got
    assert "language_model.norm.weight: (7,) instead of (32,)" in caught.value.got
    assert "unknown: model.language_model.layers.0.extra" in caught.value.got
