"""Where a rival runs and in which numbers."""

from __future__ import annotations

from typing import Any, Literal

from catalog.errors import ModelError

DType = Literal["fp32", "bf16"]


def place(device: str, dtype: DType) -> tuple[Any, Any]:
    """The torch device and dtype of these names; `auto` is the GPU where there is one.

    Raises:
        ModelError: The device is not there, or the names are not known.
    """
    import torch

    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if dtype not in kinds:
        raise ModelError("no such number format", where="dtype", got=dtype, allowed=", ".join(kinds))
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu"), kinds[dtype]
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ModelError(
            "no such device", where="device", got=f"{device}: {error}"[:200], allowed="auto, cpu, cuda, cuda:N"
        ) from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            "the device is not there",
            where="device",
            got=device,
            allowed=f"{torch.cuda.device_count()} CUDA devices here",
            fix="use auto or cpu",
        )
    return found, kinds[dtype]


def num_parameters(module: Any) -> int:
    """Parameters of a torch module, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())
