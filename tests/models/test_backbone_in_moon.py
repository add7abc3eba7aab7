"""Every backbone as MOON uses it: with experts, slots and head; an item's vector does not hang on its neighbours."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from catalog import Product
from models.backbones import build_template, picture_layout
from models.batch import TokenSequence, collate
from models.config import ModelConfig
from models.folder import read_model_folder, write_model_folder
from models.moon import MoonModel
from models.processor import Processor
from tests.models import composed_models, qwen_models, shop, test_backbone_smolvlm

MOE = {"layers": [0, -1], "num_experts": 3, "top_k": 2, "rank": 4}
SHARED = {"moe": MOE, "slots": True, "embedding_dims": 16, "max_images": 2}
KINDS = ("qwen2_5_vl", "qwen3_vl", "smolvlm", "composed")
LEAST_COSINE = {"fp32": 0.99999, "bf16": 0.999}


def computing(precision: str) -> AbstractContextManager[object]:
    """bf16 comes from autocast around a model of fp32 weights, as in a training's step."""
    return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()


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


def shaken(model: MoonModel) -> MoonModel:
    """Every weight counts: what starts at zero would hide a mistake behind it."""
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in (*model.head.parameters(), *model.expert_parameters()):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@torch.inference_mode()
@pytest.mark.parametrize("precision", list(LEAST_COSINE))
@pytest.mark.parametrize("kind", KINDS)
def test_an_item_has_one_vector(kind: str, precision: str, tmp_path: Path) -> None:
    model, sequences, pixels = make(kind)
    shaken(model)
    write_model_folder(tmp_path / "model", model, parts(kind)[2], shop.REGIONS, "regions", {})
    loaded = read_model_folder(tmp_path / "model").model.eval()
    right, left = collate(sequences, range(6), pixels), collate(sequences, range(6), pixels, padding="left")
    alone = [
        collate([sequences[0]], range(4), pixels[:4]),
        collate([sequences[1]], [], pixels[:0]),
        collate([sequences[2]], range(2), pixels[4:]),
    ]
    with computing(precision):
        together = model(right)
        others = {
            "padded left": model(left),
            "alone": torch.cat([model(one) for one in alone]),
            "after save and load": loaded(right),
            "after save and load, padded left": loaded(left),
        }
    assert torch.allclose(together.norm(dim=1), torch.ones(3), atol=1e-5)
    for how, vectors in others.items():
        assert float((together * vectors).sum(dim=1).min()) >= LEAST_COSINE[precision], how
    # The comparison can fail: other items have other vectors.
    assert float((together @ together.T - 2 * torch.eye(3)).max()) < LEAST_COSINE[precision] - 1e-3
    if precision == "bf16":
        # Autocast was at work, and stays near fp32.
        precise = model(right)
        assert not torch.equal(together, precise)
        assert float((together * precise).sum(dim=1).min()) >= LEAST_COSINE[precision]


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
