"""Whether weights, configuration and tokenizer belong together, and to the model that is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from catalog import ModelError

NEEDED_TOKENS = {
    "qwen2_5_vl": ("image_token_id", "vision_start_token_id", "vision_end_token_id"),
    "qwen3_vl": ("image_token_id", "vision_start_token_id", "vision_end_token_id"),
    "idefics3": ("image_token_id",),
    "smolvlm": ("image_token_id",),
}
"""Ids that a configuration with pictures must name, and its tokenizer must know."""


def check_architecture(config: Mapping[str, Any], wanted: str, where: str = "config.json") -> None:
    """Compare what a config.json says it is with what is wanted.

    Args:
        config: Of transformers (`model_type`) or of timm (`architecture`).
        wanted: The model type or timm architecture.
        where: Told in the error.

    Raises:
        ModelError: Another model; both are named.
    """
    found = config.get("model_type") or config.get("architecture")
    if found != wanted:
        classes = config.get("architectures") or []
        raise ModelError(
            "weights are of another model",
            where=where,
            got=f"{found or 'config.json names none'}" + (f" ({', '.join(map(str, classes))})" if classes else ""),
            allowed=wanted,
            fix="name weights of that model, or the backbone that these weights are for",
        )


def check_pair(config: Mapping[str, Any], tokenizer: Tokenizer, wanted_model_type: str) -> None:
    """Check that configuration and tokenizer belong together and to the wanted model.

    Args:
        config: A config.json of transformers.
        tokenizer: The tokenizer.json that lies beside it.
        wanted_model_type: Such as `qwen2_5_vl`.

    Raises:
        ModelError: Another model; a tokenizer with ids beyond the embedding rows; an image token that the
            configuration does not name or the tokenizer does not have.
    """
    check_architecture(config, wanted_model_type)
    rows = vocabulary_rows(config)
    top = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if top >= rows:
        raise ModelError(
            "tokenizer and configuration disagree",
            where=f"tokenizer.json beside a {wanted_model_type} config.json",
            got=f"token ids up to {top}, embeddings for {rows}",
            allowed=f"ids up to {rows - 1}",
            fix="use the tokenizer.json that came with these weights",
        )
    for key in NEEDED_TOKENS.get(wanted_model_type, ()):
        index = config.get(key)
        if not isinstance(index, int) or tokenizer.id_to_token(index) is None:
            raise ModelError(
                "tokenizer and configuration disagree",
                where=f"{key} of config.json",
                got="not named" if index is None else f"{index}, which the tokenizer does not have",
                allowed="the id of a token of tokenizer.json",
                fix="use the config.json and tokenizer.json that came with these weights",
            )


def vocabulary_rows(config: Mapping[str, Any]) -> int:
    """Rows of the embedding table, as a config.json of transformers says, or as its class does where it is silent.

    Raises:
        ModelError: A model type that transformers does not know.
    """
    for part in (config.get("text_config"), config):
        if isinstance(part, Mapping) and isinstance(part.get("vocab_size"), int):
            return int(part["vocab_size"])
    from transformers import AutoConfig

    try:
        known = AutoConfig.for_model(**config)
    except (KeyError, ValueError) as error:
        raise ModelError(
            "configuration does not say how many tokens its model knows",
            where="config.json",
            got=str(error).splitlines()[0],
            allowed="vocab_size, alone or in text_config",
            fix="use the config.json that came with these weights",
        ) from None
    return int(known.get_text_config().vocab_size)
