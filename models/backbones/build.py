"""From the configuration to a backbone."""

from __future__ import annotations

from torch import nn

from models.config import ModelConfig


def build_backbone(config: ModelConfig, vocab_size: int) -> nn.Module:
    """Build the backbone with fresh weights drawn from torch's global generator.

    Args:
        config: The model's section.
        vocab_size: Entries of the tokenizer in use.
    """
    # transformers takes seconds to import: only who builds a model pays for it.
    from models.backbones.nano import NanoBackbone

    return NanoBackbone(config.nano, vocab_size)
