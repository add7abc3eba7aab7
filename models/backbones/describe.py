"""A backbone measured without its weights: parameters, tokens and memory, on tensors with a shape and no data."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from models.backbones.build import build_backbone, picture_layout
from models.backbones.layouts import num_pictures
from models.config import ModelConfig

PUBLISHED = Path(__file__).with_name("published")
"""Configurations as their makers published them, of models too large to keep at hand; one JSON a weights name."""
PROJECTORS = ("merger", "connector", "projector")
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight")
BYTES_BF16 = 2
GIB = 1 << 30


def published_spec(weights: str) -> dict[str, Any] | None:
    """What `Backbone.spec` would give for a weights name, from the published configuration; None where none is kept."""
    path = PUBLISHED / f"{weights}.json"
    if Path(weights).name != weights or not path.is_file():
        return None
    stored = json.loads(path.read_text())
    return {name: stored[name] for name in ("model", "mean", "std")}


def describe(config: ModelConfig, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    """Build the configured backbone on the meta device and measure it.

    Args:
        config: The model's section; experts, head and LoRA are not counted.
        spec: The architecture; without it the published configuration of the weights' name, else the weights folder.

    Returns:
        `parameters` by part (tower; projector, which is Qwen's merger and SmolVLM's connector; decoder; embeddings)
        and in all, `memory_bf16_gib` of them, `side_px` and `tokens` of a picture, `tokens_a_product` of a product
        with as many photographs and crops as the configuration allows, `layers`, `hidden_size`, `vision_size`.

    Raises:
        ModelError: The configuration asks for what the backbone has not, or neither folder nor published
            configuration is at hand.
    """
    known = spec or published_spec(config.pretrained.weights)
    with torch.device("meta"):
        # Only nano's embedding table is as large as its tokenizer; the others bring theirs.
        backbone: Any = build_backbone(config, config.nano.vocab_size if config.backbone == "nano" else 0, known)
    vision = {id(parameter) for parameter in backbone.vision_parameters()}
    parts = Counter({"tower": 0, "projector": 0, "decoder": 0, "embeddings": 0})
    for name, parameter in backbone.named_parameters():
        parts[_part(name, id(parameter) in vision)] += parameter.numel()
    layout = picture_layout(config, backbone.spec())
    total = sum(parts.values())
    return {
        "parameters": {**parts, "total": total},
        "memory_bf16_gib": total * BYTES_BF16 / GIB,
        "side_px": layout.side_px,
        "tokens": layout.num_tokens,
        "tokens_a_product": layout.num_tokens * num_pictures(config),
        "layers": len(backbone.decoder_layers()),
        "hidden_size": backbone.hidden_size,
        "vision_size": backbone.vision_size,
    }


def _part(name: str, is_vision: bool) -> str:
    if any(word in name for word in PROJECTORS):
        return "projector"
    if is_vision:
        return "tower"
    return "embeddings" if name.endswith(EMBEDDINGS) else "decoder"
