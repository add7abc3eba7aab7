"""Whether weights, configuration and tokenizer belong together, and to the model that is wanted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from catalog import ModelError

QWEN_TOKENS = {
    "image_token_id": "<|image_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
SMOLVLM_TOKENS = {"image_token_id": "<image>"}
NEEDED_TOKENS: Mapping[str, Mapping[str, str]] = {
    "qwen2_5_vl": QWEN_TOKENS,
    "qwen3_vl": QWEN_TOKENS,
    "idefics3": SMOLVLM_TOKENS,
    "smolvlm": SMOLVLM_TOKENS,
}
"""Ids that a configuration with pictures must name, and the token that must have each: the one the template writes."""
MIN_FILLED_FRAC = 0.9
"""Share of the embedding rows below which a tokenizer is suspect. Published tables are filled up to a round number:
Qwen2.5's 151,936 rows have 151,665 tokens (0.998), Phi-2's 51,200 have 50,295 (0.982), DeepSeek's 102,400 have 100,015
(0.977)."""
_log = logging.getLogger(__name__)


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


def check_pair(
    config: Mapping[str, Any],
    tokenizer: Tokenizer,
    wanted_model_type: str,
    folder: str = "",
    fix: str = "use the config.json and tokenizer.json that came with these weights",
) -> None:
    """Check that configuration and tokenizer belong together and to the wanted model.

    A tokenizer that leaves many of the embedding rows without a token is warned of: it may be another model's.

    Args:
        config: A config.json of transformers.
        tokenizer: The tokenizer.json that lies beside it.
        wanted_model_type: Such as `qwen2_5_vl`.
        folder: Where both lie, for the error.
        fix: What to do where they disagree, for the error.

    Raises:
        ModelError: Another model; a tokenizer with ids beyond the embedding rows; an image token that the
            configuration does not name, the tokenizer does not have, or that is another token there.
    """
    beside = f" in {folder}" if folder else ""
    check_architecture(config, wanted_model_type, f"config.json{beside}")
    rows = vocabulary_rows(config)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    top = max(vocabulary.values(), default=-1)
    if top >= rows:
        raise ModelError(
            "tokenizer and configuration disagree",
            where=f"tokenizer.json beside a {wanted_model_type} config.json{beside}",
            got=f"token ids up to {top}, embeddings for {rows}",
            allowed=f"ids up to {rows - 1}",
            fix=fix,
        )
    for key, token in NEEDED_TOKENS.get(wanted_model_type, {}).items():
        got = _token_fault(config.get(key), token, tokenizer)
        if got:
            raise ModelError(
                "tokenizer and configuration disagree",
                where=f"{key} of config.json{beside}",
                got=got,
                allowed=f"the id of {token} in tokenizer.json",
                fix=fix,
            )
    if len(vocabulary) < MIN_FILLED_FRAC * rows:
        _log.warning(
            "tokenizer.json%s has %d tokens for %d embedding rows: it may be another model's than the weights",
            beside,
            len(vocabulary),
            rows,
        )


def _token_fault(index: Any, token: str, tokenizer: Tokenizer) -> str:
    if not isinstance(index, int) or isinstance(index, bool):
        return "not named" if index is None else f"{index!r}, which is no id"
    # The binding takes unsigned numbers alone.
    found = tokenizer.id_to_token(index) if index >= 0 else None
    if found is None:
        return f"{index}, which the tokenizer does not have"
    return "" if found == token else f"{index}, which is {found} in the tokenizer"


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
