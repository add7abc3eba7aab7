"""Weights folders of `composed`: tower and language model arrive, and what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from catalog import ModelError
from models.backbones import composed
from tests.models.composed_models import CONV, LLAMA, SIDE, VIT, VOCAB, config, tokenizer


def write_folders(root: Path, *, num_entries: int = VOCAB, tower: str = CONV) -> tuple[Path, Path]:
    """A language and a vision folder with random weights, as they are published."""
    torch.manual_seed(8)
    language, vision = root / "language", root / "vision"
    language.mkdir(parents=True)
    vision.mkdir()
    causal = LlamaForCausalLM(LlamaConfig(**{**LLAMA, "tie_word_embeddings": False}))
    (language / "config.json").write_text(json.dumps(causal.config.to_dict()))
    save_file({name: x.contiguous() for name, x in causal.state_dict().items()}, language / "model.safetensors")
    tokenizer(num_entries).save(str(language / "tokenizer.json"))
    net = timm.create_model(tower, pretrained=False)
    (vision / "config.json").write_text(json.dumps({"architecture": tower}))
    save_file({name: x.contiguous() for name, x in net.state_dict().items()}, vision / "model.safetensors")
    return language, vision


@torch.inference_mode()
@pytest.mark.parametrize("tower", [CONV, VIT])
def test_pretrained_weights_arrive(tmp_path: Path, tower: str) -> None:
    language, vision = write_folders(tmp_path, tower=tower)
    side = 160
    cfg = config(language=str(language), vision=str(vision), keep_layers=2, image_side_px=side)
    backbone, read = composed.load(cfg)
    assert read.get_vocab_size() == VOCAB
    assert read.encode_special_tokens
    causal = LlamaForCausalLM.from_pretrained(language).eval()
    embeds, mask = torch.randn(1, 4, 32), torch.ones(1, 4, dtype=torch.bool)
    theirs = causal.model(inputs_embeds=embeds, output_hidden_states=True).hidden_states[2]
    ours = backbone.eval().decode(embeds, mask, torch.arange(4).expand(3, 1, -1), mask, ())
    assert torch.allclose(ours, causal.model.norm(theirs), atol=1e-5)
    net = timm.create_model(tower, pretrained=True, pretrained_cfg_overlay={"file": str(vision / "model.safetensors")})
    pixels = torch.randn(1, 3, side, side)
    features = net.eval().forward_features(pixels)
    mean = features[:, 1:].mean(dim=1) if tower == VIT else features.mean(dim=(2, 3))
    pooled = backbone.see(pixels).pooled_NP / backbone.tower.pooled_scale_P
    assert torch.allclose(pooled, mean, atol=1e-4)
    assert composed.layout(cfg, None) == composed.layout(cfg, backbone.spec())


@torch.inference_mode()
def test_a_position_table_is_resampled_as_timm_does(tmp_path: Path) -> None:
    language, vision = write_folders(tmp_path, tower=VIT)
    backbone, _ = composed.load(config(language=str(language), vision=str(vision)))
    net = timm.create_model(
        VIT, pretrained=True, img_size=SIDE, pretrained_cfg_overlay={"file": str(vision / "model.safetensors")}
    )
    assert torch.equal(backbone.tower.net.pos_embed, net.pos_embed)


def test_a_tensor_is_missing(tmp_path: Path) -> None:
    language, vision = write_folders(tmp_path)
    from safetensors.torch import load_file

    tensors = load_file(language / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, language / "model.safetensors")
    with pytest.raises(ModelError, match=r"missing: layers\.1\.mlp\.up_proj\.weight"):
        composed.load(config(language=str(language), vision=str(vision)))


def test_tower_and_language_model_swapped(tmp_path: Path) -> None:
    language, vision = write_folders(tmp_path)
    with pytest.raises(ModelError):
        composed.load(config(language=str(vision), vision=str(vision)))
    with pytest.raises(ModelError, match="model_type llama"):
        composed.load(config(language=str(language), vision=str(language)))
