"""Plain attention in place of the fused one: only where it is meant, back afterwards, and the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.moon import MoonModel
from models.training.attention import fastest_attention
from tests.models import shop
from tests.models.test_pairs import _dataset

CPU = torch.device("cpu")


def _kinds(model: MoonModel) -> set[str]:
    assert isinstance(model.backbone, torch.nn.Module)
    configs = [getattr(one, "config", None) for one in model.backbone.modules()]
    return {one._attn_implementation for one in configs if hasattr(one, "_attn_implementation")}


@pytest.mark.parametrize(
    ("device", "precision", "inside"),
    [("cpu", "bf16", "eager"), ("cpu", "fp32", "sdpa"), ("cuda", "bf16", "sdpa")],
)
def test_plain_only_on_a_cpu_in_bf16(device: str, precision: str, inside: str) -> None:
    model = MoonModel.seeded(shop.tiny_model(), 400, seed=1)
    before = _kinds(model)
    assert before == {"sdpa"}
    with fastest_attention(model.backbone, torch.device(device), precision) as switched:  # type: ignore[arg-type]
        assert switched == (inside == "eager")
        assert _kinds(model) == {inside}
    assert _kinds(model) == before


def test_vectors_and_gradients_are_the_same(tmp_path: Path) -> None:
    dataset = _dataset(shop.make_shop(tmp_path / "data"), tmp_path / "work", batch_size=8)
    batch = next(iter(dataset[0].views.values()))
    found = []
    for precision in ("fp32", "bf16"):
        model = MoonModel.seeded(shop.tiny_model(), dataset.processor.tokenizer.get_vocab_size(), seed=1)
        pictures = model.encode_pictures(dataset[0].pixels_NCHW)
        with fastest_attention(model.backbone, CPU, precision):  # type: ignore[arg-type]
            vectors_BE = model(batch, pictures)
            (vectors_BE * torch.arange(24.0)).sum().backward()
        gradient = torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])
        found.append((vectors_BE.detach(), gradient))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-3 * float(found[0][1].abs().max()))
