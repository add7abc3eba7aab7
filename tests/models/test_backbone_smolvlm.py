"""`smolvlm` against transformers' own SmolVLM and Idefics3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers.models.idefics3.modeling_idefics3 import Idefics3ForConditionalGeneration
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration, SmolVLMVisionEmbeddings

from catalog import ModelError
from models.backbones import smolvlm
from models.batch import Batch, collate
from models.config import ModelConfig
from models.processor import Processor

KINDS = ("smolvlm", "idefics3")
WITH_HEAD = {"smolvlm": SmolVLMForConditionalGeneration, "idefics3": Idefics3ForConditionalGeneration}
SPECIAL = ("<|endoftext|>", "<image>", "<fake_token_around_image>", "<global-img>")
VOCAB = 300
IDS = {token: VOCAB - len(SPECIAL) + index for index, token in enumerate(SPECIAL)}
SIDE = 32


def stored(kind: str = "smolvlm") -> dict[str, Any]:
    return {
        "model_type": kind,
        "scale_factor": 2,
        "image_token_id": IDS["<image>"],
        "text_config": {
            "model_type": "llama",
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "pad_token_id": 0,
            "bos_token_id": None,
            "eos_token_id": None,
        },
        "vision_config": {
            "model_type": f"{kind}_vision",
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 4,
        },
    }


def config(*, keep_layers: int | None = None, weights: str = "gone", **changes: Any) -> ModelConfig:
    settings = {
        "backbone": "smolvlm",
        "pretrained": {"weights": weights, "keep_layers": keep_layers},
        "image_side_px": SIDE,
        "slots": False,
        "moe": {"layers": []},
    }
    return ModelConfig.model_validate(settings | changes)


def spec(kind: str = "smolvlm") -> dict[str, Any]:
    return {"model": stored(kind), "mean": [0.5] * 3, "std": [0.5] * 3}


def make(kind: str = "smolvlm", **changes: Any) -> smolvlm.SmolVLMBackbone:
    torch.manual_seed(3)
    backbone = smolvlm.fresh(config(**changes), VOCAB, spec(kind)).eval()
    for parameter in backbone.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return backbone


def tokenizer(num_words: int = VOCAB - len(SPECIAL)) -> Tokenizer:
    made = Tokenizer(models.WordLevel({f"w{index}": index for index in range(num_words)}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return made


def batch(padding: Any = "right", **changes: Any) -> Batch:
    settings, words = config(crops="none", **changes), tokenizer()
    layout = smolvlm.layout(settings, spec())
    processor = Processor(words, settings, None, layout, smolvlm.template(words))  # type: ignore[arg-type]
    # The stock class wants the same number of pictures in every row.
    sequences = [processor.query_sequence("w1 w2 w3", 1), processor.query_sequence("w4", 1)]
    torch.manual_seed(5)
    pixels = torch.randn(2, 3, layout.side_px, layout.side_px)
    return collate(sequences, range(2), pixels, IDS["<|endoftext|>"], padding)


def hidden(backbone: smolvlm.SmolVLMBackbone, given: Batch) -> torch.Tensor:
    tokens = backbone.project(backbone.see(given.pixels_NCHW)).tokens_NKD
    embeds = backbone.embed_tokens(given.ids_BL).masked_scatter(given.picture_mask_BL.unsqueeze(-1), tokens)
    return backbone.decode(embeds, given.mask_BL, given.positions_3BL, given.picture_mask_BL, ())


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side_px", [SIDE, 24, 16])
@pytest.mark.parametrize("padding", ["left", "right"])
def test_hidden_states_equal_the_stock_model(kind: str, side_px: int, padding: str) -> None:
    backbone = make(kind, image_side_px=side_px)
    stock = smolvlm.CLASSES[kind][1](backbone.smol.config).eval()
    stock.load_state_dict(backbone.smol.state_dict())
    given = batch(padding, image_side_px=side_px)
    theirs = stock(
        input_ids=given.ids_BL,
        attention_mask=given.mask_BL.long(),
        position_ids=given.positions_3BL[0],
        pixel_values=given.pixels_NCHW[:, None],
    ).last_hidden_state
    assert float((hidden(backbone, given) - theirs)[given.mask_BL].abs().max()) <= 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_seeing_and_projecting_is_the_stock_models_connector(kind: str) -> None:
    backbone = make(kind)
    pixels = torch.randn(3, 3, SIDE, SIDE)
    seen = backbone.see(pixels)
    assert seen.grid_NKV.shape == (3, 16, 24 * 4)
    assert seen.pooled_NP.shape == (3, backbone.vision_size)
    theirs = backbone.smol.connector(backbone.smol.vision_model(pixel_values=pixels).last_hidden_state)
    assert torch.equal(backbone.project(seen).tokens_NKD, theirs)
    assert torch.allclose(seen.grid_NKV[1:2], backbone.see(pixels[1:2]).grid_NKV, atol=1e-5)


@torch.inference_mode()
def test_a_token_stands_for_the_patches_beside_each_other() -> None:
    """Pixel shuffle: row by row, so that the layout's rows and columns are the picture's."""
    backbone = make()
    patches = torch.arange(64.0).view(1, 64, 1).repeat(1, 1, 24)
    token = backbone.smol.connector.pixel_shuffle(patches, 2)[0, 1 * 4 + 2]
    assert sorted(set(token.tolist())) == [2 * 8 + 4, 2 * 8 + 5, 3 * 8 + 4, 3 * 8 + 5]


@torch.inference_mode()
@pytest.mark.parametrize("table_side", [8, 27, 32])
def test_positions_of_patches_are_the_stock_models(table_side: int) -> None:
    vision = {"image_size": 4 * table_side, "patch_size": 4, "hidden_size": 2, "num_attention_heads": 1}
    embeddings = SmolVLMVisionEmbeddings(SmolVLMVisionConfig(**vision))
    embeddings.patch_embedding.weight.zero_()
    embeddings.patch_embedding.bias.zero_()
    embeddings.position_embedding.weight[:, 0] = torch.arange(table_side**2)
    for side in range(1, table_side + 1):
        mask = torch.ones(1, side, side, dtype=torch.bool)
        theirs = embeddings(torch.zeros(1, 3, 4 * side, 4 * side), mask)[0, :, 0].long()
        assert torch.equal(smolvlm.position_index(side, table_side), theirs)


@torch.inference_mode()
def test_padding_side_does_not_matter() -> None:
    backbone = make()
    right, left = batch("right"), batch("left")
    difference = hidden(backbone, right)[right.mask_BL] - hidden(backbone, left)[left.mask_BL]
    assert float(difference.abs().max()) <= 1e-5


@torch.inference_mode()
def test_no_picture_at_all() -> None:
    backbone = make()
    features = backbone.project(backbone.see(torch.zeros(0, 3, SIDE, SIDE)))
    assert features.tokens_NKD.shape == (0, 16, 32)
    assert features.pooled_NP.shape == (0, 24)


@torch.inference_mode()
def test_keep_layers_keeps_the_first() -> None:
    whole, cut = make(), make(keep_layers=2)
    cut.smol.load_state_dict(whole.smol.state_dict(), strict=False)
    given = batch()
    whole.smol.text_model.layers = whole.smol.text_model.layers[:2]
    assert torch.allclose(hidden(cut, given)[given.mask_BL], hidden(whole, given)[given.mask_BL], atol=1e-5)
    with pytest.raises(ModelError, match="1 to 3"):
        make(keep_layers=4)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_spec_builds_it_again(kind: str) -> None:
    backbone = make(kind, keep_layers=2)
    again = smolvlm.fresh(config(keep_layers=2), VOCAB, json.loads(json.dumps(backbone.spec()))).eval()
    again.load_state_dict(backbone.state_dict())
    given = batch()
    assert torch.equal(hidden(again, given), hidden(backbone, given))
    assert again.spec() == backbone.spec()


def test_layout_keeps_to_tower_wish_and_budget() -> None:
    # Never above the tower's own side, for which its position table was made.
    assert smolvlm.layout(config(image_side_px=512), spec()).side_px == SIDE
    assert smolvlm.layout(config(image_side_px=31), spec()).num_tokens == 9
    few = smolvlm.layout(config(max_picture_tokens=6 * 4), spec())
    assert (few.rows, few.columns, few.side_px) == (2, 2, 16)
    with pytest.raises(ModelError, match="token budget"):
        smolvlm.layout(config(max_picture_tokens=5), spec())


def test_template_is_that_of_an_unsplit_picture() -> None:
    made = smolvlm.template(tokenizer())
    wrap = IDS["<fake_token_around_image>"]
    assert made.before_picture == (wrap, IDS["<global-img>"])
    assert made.after_picture == (wrap,)
    assert (made.image_id, made.pad_id, made.positions) == (IDS["<image>"], IDS["<|endoftext|>"], "sequential")
    with pytest.raises(ModelError, match="fake_token"):
        smolvlm.template(Tokenizer(models.WordLevel({"w0": 0}, unk_token="w0")))


def write_folder(folder: Path, kind: str, num_words: int = VOCAB - len(SPECIAL)) -> None:
    torch.manual_seed(9)
    folder.mkdir(parents=True)
    stock = WITH_HEAD[kind](smolvlm.CLASSES[kind][0].from_dict(stored(kind)))
    save_file({name: tensor.clone() for name, tensor in stock.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(stored(kind)))
    tokenizer(num_words).save(str(folder / "tokenizer.json"))


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_pretrained_weights_arrive(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "weights"
    write_folder(folder, kind)
    settings = config(weights=str(folder), keep_layers=2)
    backbone, words = smolvlm.load(settings)
    assert words.encode("<image>").ids != [IDS["<image>"]]
    read = load_file(folder / "model.safetensors")
    assert torch.equal(
        backbone.decoder_layers()[1].mlp.down_proj.weight, read["model.text_model.layers.1.mlp.down_proj.weight"]
    )
    assert torch.isfinite(hidden(backbone.eval(), batch())).all()
    assert bool((backbone.smol.text_model.rotary_emb.inv_freq > 0).all())
    assert smolvlm.fresh(settings, VOCAB, None).spec() == backbone.spec()


def test_weights_of_another_model(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    write_folder(folder, "smolvlm")
    (folder / "config.json").write_text(json.dumps(stored() | {"model_type": "qwen3_vl"}))
    with pytest.raises(ModelError) as caught:
        smolvlm.load(config(weights=str(folder)))
    assert "qwen3_vl" in caught.value.got
    assert "smolvlm" in caught.value.allowed


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    write_folder(tmp_path / "weights", "smolvlm", num_words=VOCAB)
    with pytest.raises(ModelError, match="tokenizer") as caught:
        smolvlm.load(config(weights=str(tmp_path / "weights")))
    assert str(VOCAB) in caught.value.got


def test_a_tensor_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    write_folder(folder, "smolvlm")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.connector.modality_projection.proj.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"missing: connector\.modality_projection"):
        smolvlm.load(config(weights=str(folder)))
