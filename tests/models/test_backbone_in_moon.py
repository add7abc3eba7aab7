"""Every backbone as MOON uses it: with experts, slots and head; an item's vector does not hang on its neighbours."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from catalog import Product
from models.backbones import build_template, picture_layout
from models.batch import TokenSequence, collate
from models.config import ModelConfig
from models.moon import MoonModel
from models.processor import Processor
from tests.models import composed_models, qwen_models, test_backbone_smolvlm

MOE = {"layers": [0, -1], "num_experts": 3, "top_k": 2, "rank": 4}
SHARED = {"moe": MOE, "slots": True, "embedding_dims": 16, "max_images": 2}
KINDS = ("qwen2_5_vl", "qwen3_vl", "smolvlm", "composed")


def parts(kind: str) -> tuple[ModelConfig, dict[str, Any], Tokenizer]:
    """Configuration, architecture and tokenizer of a tiny random model of this kind."""
    if kind == "smolvlm":
        tiny = test_backbone_smolvlm
        return tiny.config(**SHARED), tiny.spec(), tiny.tokenizer()
    if kind == "composed":
        made = composed_models
        return made.config(keep_layers=2, pooled_stages=[1], **SHARED), made.spec(), made.tokenizer()
    qwen = qwen_models
    return qwen.config(kind, keep_layers=3, **SHARED), qwen.spec(kind), qwen.tokenizer()


def make(kind: str) -> tuple[MoonModel, list[TokenSequence], torch.Tensor]:
    """A model, three sequences with 4, 0 and 2 pictures, and those six pictures."""
    config, spec, words = parts(kind)
    layout = picture_layout(config, spec)
    processor = Processor(words, config, None, layout, build_template(config, words))  # type: ignore[arg-type]
    product = Product(product_id="p", group_id="p", title="w3 w4", category=("w5",), attributes={"w6": "w7"})
    sequences = [
        processor.product_sequence(product, 2),
        processor.query_sequence("w1 w2", 0),
        processor.query_sequence("w8", 1),
    ]
    model = MoonModel.seeded(config, words.get_vocab_size(), seed=2, spec=spec).eval()
    torch.manual_seed(4)
    return model, sequences, torch.randn(6, 3, layout.side_px, layout.side_px)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_an_item_has_one_vector(kind: str) -> None:
    model, sequences, pixels = make(kind)
    right = model(collate(sequences, range(6), pixels))
    left = model(collate(sequences, range(6), pixels, padding="left"))
    alone = [
        model(collate([sequences[0]], range(4), pixels[:4])),
        model(collate([sequences[1]], [], pixels[:0])),
        model(collate([sequences[2]], range(2), pixels[4:])),
    ]
    assert torch.allclose(right.norm(dim=1), torch.ones(3))
    assert float((right * left).sum(dim=1).min()) >= 0.99999
    assert float((right * torch.cat(alone)).sum(dim=1).min()) >= 0.99999


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_features_may_be_kept_and_used_again(kind: str) -> None:
    model, sequences, pixels = make(kind)
    batch = collate(sequences, range(6), pixels)
    seen = model.see(pixels).map(lambda tensor: tensor.half().float())
    kept = model(batch, model.backbone.project(seen))
    assert float((model(batch) * kept).sum(dim=1).min()) >= 0.9999


@pytest.mark.parametrize("kind", KINDS)
def test_everything_learns(kind: str) -> None:
    model, sequences, pixels = make(kind)
    model.train()
    (model(collate(sequences, range(6), pixels)) ** 3).sum().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]
