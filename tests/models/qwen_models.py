"""Tiny `qwen2_5_vl` and `qwen3_vl`: settings, architecture, tokenizer, batch and hidden states for their tests."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from catalog import Product
from models.backbones import qwen2_5_vl, qwen3_vl
from models.backbones.qwen import QwenBackbone
from models.batch import Batch, collate
from models.config import ModelConfig
from models.processor import Processor

KINDS = {"qwen2_5_vl": qwen2_5_vl, "qwen3_vl": qwen3_vl}
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
