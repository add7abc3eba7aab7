"""Any causal language model of transformers, as far as `composed` needs it: its body without the head."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from catalog import ModelError
from models.backbones.pretrained import cut_layers, from_sizes, put_weights

LAYER_LISTS = ("layers", "h", "blocks")
"""Names under which decoders of transformers keep their layers."""
FFN_NAMES = ("mlp", "feed_forward", "ffn")
HEADS = ("lm_head.", "embed_out.")


def causal_type(config: Mapping[str, Any]) -> str:
    """The model type of a config.json, which must be a causal language model's.

    Raises:
        ModelError: It is none that transformers knows.
    """
    found = str(config.get("model_type"))
    if found not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelError(
            "weights are not a causal language model's",
            where="model.composed.language",
            got=f"model_type {found}",
            allowed="a model_type of transformers' AutoModelForCausalLM, such as llama or qwen2",
            fix="name other weights, or another model.backbone",
        )
    return found


def build_language(config: Mapping[str, Any], keep_layers: int | None) -> Any:
    """The first layers of a causal language model's body from its configuration, with random weights.

    Raises:
        ModelError: Not a causal language model, or one whose layers or positions cannot be reached.
    """
    known = AutoConfig.for_model(causal_type(config), **{k: v for k, v in config.items() if k != "model_type"})
    cut_layers(known, keep_layers)
    model = from_sizes(_body, known, f"model.composed.language: {known.model_type}")
    asked = inspect.signature(model.forward).parameters
    lacking = [name for name in ("inputs_embeds", "attention_mask", "position_ids") if name not in asked]
    if lacking:
        raise _unusable(type(model).__name__, f"forward takes no {', '.join(lacking)}")
    layers_of(model)
    ffn_of(model)
    return model


def _body(known: Any) -> Any:
    try:
        return AutoModel.from_config(known, attn_implementation="sdpa")
    except ValueError as error:  # of a model without attention, such as mamba
        raise _unusable(known.model_type, str(error).split(". ")[0]) from None


def layers_of(model: Any) -> tuple[str, nn.ModuleList]:
    """Name and list of a decoder's layers.

    Raises:
        ModelError: Under none of the known names.
    """
    for name in LAYER_LISTS:
        found = getattr(model, name, None)
        if isinstance(found, nn.ModuleList) and len(found) == model.config.num_hidden_layers:
            return name, found
    raise _unusable(
        type(model).__name__, f"no list of layers among {', '.join(name for name, _ in model.named_children())}"
    )


def ffn_of(model: Any) -> str:
    """Name of a layer's FFN.

    Raises:
        ModelError: Under none of the known names.
    """
    layer = layers_of(model)[1][0]
    for name in FFN_NAMES:
        if isinstance(getattr(layer, name, None), nn.Module):
            return name
    raise _unusable(type(model).__name__, f"no FFN among {', '.join(name for name, _ in layer.named_children())}")


def put_language_weights(model: Any, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Put a checkpoint of the whole language model into its body.

    Raises:
        ModelError: Tensors that do not fit.
    """
    prefix = f"{model.base_model_prefix}."

    def rename(name: str) -> str | None:
        return None if name.startswith(HEADS) else name.removeprefix(prefix)

    put_weights(model, tensors, rename, where, layers_of(model)[1])


def _unusable(name: str, got: str) -> ModelError:
    return ModelError(
        "language model is built unlike what is known here",
        where=f"model.composed.language: {name}",
        got=got,
        allowed="layers under " + ", ".join(LAYER_LISTS) + "; in each an FFN under " + ", ".join(FFN_NAMES),
        fix="name other weights",
    )
