"""Weights folders of `qwen2_5_vl` and `qwen3_vl`: what they hold arrives, and what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLForConditionalGeneration

from catalog import ModelError
from models.backbones import qwen3_vl
from tests.models.qwen_models import IDS, KINDS, SPECIAL, STORED, VOCAB, batch, config, hidden, tokenizer

STOCK_WITH_HEAD = {"qwen2_5_vl": Qwen2_5_VLForConditionalGeneration, "qwen3_vl": Qwen3VLForConditionalGeneration}


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
