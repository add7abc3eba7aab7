"""Which attention a training computes with: the fused one, but on a CPU in bf16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

FUSED, PLAIN = "sdpa", "eager"
"""Names of transformers."""


@contextmanager
def fastest_attention(backbone: nn.Module, device: torch.device, precision: str) -> Iterator[bool]:
    """Plain attention inside the block where the fused kernel is the slower one.

    Torch's fused kernel for CPUs walks through bf16 in float32 steps: forward and backward of 16 rows of 96 tokens and
    9 heads of 64 take 66 ms on one core with AVX512-BF16 and 32 ms as plain products. Results agree up to rounding.

    Args:
        backbone: Its parts built on transformers are switched, and switched back.
        device: Where it is trained.
        precision: `fp32` or `bf16`.

    Yields:
        Whether anything was switched.
    """
    configs: dict[int, Any] = {id(one.config): one.config for one in backbone.modules() if hasattr(one, "config")}
    found = [one for one in configs.values() if getattr(one, "_attn_implementation", None) == FUSED]
    if device.type != "cpu" or precision != "bf16":
        found = []
    for one in found:
        one._attn_implementation = PLAIN
    try:
        yield bool(found)
    finally:
        for one in found:
            one._attn_implementation = FUSED
