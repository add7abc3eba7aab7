"""Models that are too large to keep at hand, built on the meta device from their published configurations."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from models.backbones import build_backbone, picture_layout
from models.backbones.describe import PUBLISHED, describe, published_spec
from models.config import ModelConfig
from models.weights import KNOWN, HubSource
from tests.models import shop

# Weights name: backbone, and what its makers published: parameters in all, of the visual part, without the head.
SIZES = {
    "qwen2.5-vl-3b": ("qwen2_5_vl", 3_754_622_976, 668_684_288, 0),
    "qwen3-vl-2b": ("qwen3_vl", 2_127_532_032, 406_957_056, 0),
    # The language model's head is not tied to the embeddings, and not part of the backbone.
    "smolvlm-256m": ("smolvlm", 256_484_928, 86_433_024 + 7_077_888, 49_280 * 576),
}


def config(weights: str, **changes: Any) -> ModelConfig:
    keep_layers = changes.pop("keep_layers", None)
    settings = {
        "backbone": SIZES[weights][0],
        "pretrained": {"weights": weights, "keep_layers": keep_layers},
        "image_side_px": 336,
        "moe": {"layers": []},
    }
    return ModelConfig.model_validate(settings | changes)


def test_every_known_hub_model_has_its_published_configuration() -> None:
    names = {source.name for source in KNOWN if isinstance(source, HubSource)}
    assert {path.stem for path in PUBLISHED.glob("*.json")} == names == set(SIZES)


@pytest.mark.parametrize("weights", SIZES)
def test_parameters_are_the_published_ones(weights: str) -> None:
    told = describe(config(weights))["parameters"]
    _, total, visual, head = SIZES[weights]
    assert told["total"] + head == total
    assert told["tower"] + told["projector"] == visual
    assert sum(told[part] for part in ("tower", "projector", "decoder", "embeddings")) == told["total"]
    stored = json.loads((PUBLISHED / f"{weights}.json").read_text())
    assert stored["published_parameters"] == total
    assert stored["source"]
    assert stored["published_source"]


@pytest.mark.parametrize(
    ("weights", "side_px", "tokens"),
    [("qwen2.5-vl-3b", 336, 144), ("qwen3-vl-2b", 320, 100), ("smolvlm-256m", 320, 25)],
)
def test_tokens_of_a_picture(weights: str, side_px: int, tokens: int) -> None:
    told = describe(config(weights))
    assert (told["side_px"], told["tokens"]) == (side_px, tokens)
    assert told["tokens_a_product"] == 6 * tokens
    assert told["memory_bf16_gib"] == pytest.approx(told["parameters"]["total"] * 2 / 2**30)


def test_smolvlm_is_never_fed_more_than_its_own_side() -> None:
    # Its processor's image_seq_len is 64 as well, for each 512 px square.
    told = describe(config("smolvlm-256m", image_side_px=1024))
    assert (told["side_px"], told["tokens"]) == (512, 64)


def test_keeping_layers_shows_in_the_decoder_alone() -> None:
    whole, cut = describe(config("qwen3-vl-2b")), describe(config("qwen3-vl-2b", keep_layers=7))
    assert (whole["layers"], cut["layers"]) == (28, 7)
    # Final norm aside, a quarter of the layers is a quarter of the decoder.
    assert (whole["parameters"]["decoder"] - 2048) == 4 * (cut["parameters"]["decoder"] - 2048)
    for part in ("tower", "projector", "embeddings"):
        assert whole["parameters"][part] == cut["parameters"][part]


@pytest.mark.parametrize("weights", SIZES)
def test_a_forward_pass_has_the_right_shapes(weights: str) -> None:
    settings = config(weights, keep_layers=3)
    with torch.device("meta"):
        backbone: Any = build_backbone(settings, 0, published_spec(weights))
    layout = picture_layout(settings, backbone.spec())
    pixels = torch.empty((6, 3, layout.side_px, layout.side_px), device="meta")
    features = backbone.project(backbone.see(pixels))
    assert features.tokens_NKD.shape == (6, layout.num_tokens, backbone.hidden_size)
    assert features.pooled_NP.shape == (6, backbone.vision_size)
    assert len(features.deep) == (3 if weights == "qwen3-vl-2b" else 0)
    assert all(one.shape == features.tokens_NKD.shape for one in features.deep)


def test_nano_can_be_described_too() -> None:
    told = describe(shop.tiny_model())
    assert told["parameters"]["total"] > 0
    assert told["layers"] == 2


def test_names_that_are_not_kept() -> None:
    assert published_spec("unknown") is None
    assert published_spec("../published/qwen3-vl-2b") is None
    assert published_spec("") is None
