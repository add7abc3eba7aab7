"""From the configuration to a backbone; each kind is a module of this package with the same four functions."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from models.backbones.base import PictureLayout
from models.config import ModelConfig
from models.template import Template


def build_backbone(config: ModelConfig, vocab_size: int, spec: dict[str, Any] | None = None) -> nn.Module:
    """Build the backbone with fresh weights drawn from torch's global generator.

    Args:
        config: The model's section.
        vocab_size: Entries of the tokenizer in use.
        spec: What `Backbone.spec` gave when the model was trained; without it the weights folder tells the sizes.
    """
    return _kind(config).fresh(config, vocab_size, spec)


def load_backbone(config: ModelConfig, seed: int) -> tuple[nn.Module, Tokenizer] | None:
    """The backbone with its pretrained weights and tokenizer; None for `nano`, which has neither.

    Args:
        config: The model's section.
        seed: Of what no weights are published for, such as the projector of `composed`; the global generator is left
            as it was.

    Raises:
        ModelError: The weights are not at hand, incomplete, or of another model.
    """
    if config.backbone == "nano":
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loaded: tuple[nn.Module, Tokenizer] = _kind(config).load(config)
    return loaded


def picture_layout(config: ModelConfig, spec: dict[str, Any] | None = None) -> PictureLayout:
    """How pictures become numbers and tokens.

    Raises:
        ModelError: The token budget is too small for one token a picture.
    """
    return _kind(config).layout(config, spec)


def build_template(config: ModelConfig, tokenizer: Tokenizer) -> Template:
    """How the backbone spells the parts of a sequence."""
    return _kind(config).template(tokenizer)


def _kind(config: ModelConfig) -> ModuleType:
    # transformers and timm take seconds to import: only who builds a model pays for them.
    return import_module(f"models.backbones.{config.backbone}")
