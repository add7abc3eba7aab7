"""A tiny `composed` backbone's settings, architecture and tokenizer for its tests."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from models.backbones.towers import tower_spec
from models.config import ModelConfig

VOCAB = 300
SIDE = 96
CONV, VIT = "test_efficientnet.r160_in1k", "test_vit.r160_in1k"
LLAMA = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}


def config(**changes: Any) -> ModelConfig:
    own = {name: changes.pop(name) for name in list(changes) if name in ModelConfig().composed.model_dump()}
    return ModelConfig.model_validate(
        {"backbone": "composed", "image_side_px": SIDE, "moe": {"layers": []}, "composed": own} | changes
    )


def spec(tower: str = CONV, language: dict[str, Any] = LLAMA) -> dict[str, Any]:
    return {"vision": tower_spec({"architecture": tower}, "here"), "language": language}


def tokenizer(num_entries: int = VOCAB) -> Tokenizer:
    words = {word: index for index, word in enumerate([f"w{i}" for i in range(num_entries)])}
    made = Tokenizer(models.WordLevel(words, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made
