"""Which device and number format, and why."""

from __future__ import annotations

import torch

from catalog import ModelError


def choose_device(wanted: str) -> tuple[torch.device, str]:
    """The device and the reason for it.

    Args:
        wanted: `auto`, `cpu` or `cuda`.

    Raises:
        ModelError: A GPU was asked for and there is none.
    """
    present = torch.cuda.is_available()
    if wanted == "cuda" and not present:
        raise ModelError(
            "a GPU was asked for and torch sees none", got="cuda", allowed="cpu", fix="set device to auto or cpu"
        )
    if wanted == "auto":
        return torch.device("cuda" if present else "cpu"), "a GPU is there" if present else "no GPU is there"
    return torch.device(wanted), "as configured"


def choose_precision(wanted: str, device: torch.device) -> tuple[str, str]:
    """`fp32` or `bf16`, and the reason for it.

    Args:
        wanted: `auto`, `fp32` or `bf16`.
        device: Where it runs.
    """
    if wanted != "auto":
        return wanted, "as configured"
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return "bf16", "the GPU has it"
    return "fp32", "exact, and tiny models gain little from less" if device.type == "cpu" else "the GPU lacks bf16"
