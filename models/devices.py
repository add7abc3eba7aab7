"""Which device and number format, and why; and what the device offers."""

from __future__ import annotations

import itertools
import resource
import time
from pathlib import Path

import torch

from catalog import ModelError

NARROWEST_BF16 = 256
"""Width of the decoder from which bf16 pays on a CPU that has it.

Forward and backward of two Llama layers, 16 x 96 tokens, one thread of a CPU with AVX512-BF16: 0.9 times as fast as
fp32 at width 64, 1.0 at 128, 1.3 at 192, 1.5 at 256, 1.7 at 576.
"""
_CPU_INFO = Path("/proc/cpuinfo")
_CGROUP_LIMIT, _CGROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
_CGROUP_STAT = Path("/sys/fs/cgroup/memory.stat")
_UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "sve_bf16": "SVE-BF16", "bf16": "NEON-BF16"}


def choose_device(wanted: str, where: str = "train.device") -> tuple[torch.device, str]:
    """The device and the reason for it.

    Args:
        wanted: `auto`, `cpu`, `cuda`, or one GPU of several, such as `cuda:1`.
        where: The key that says so, for the message.

    Raises:
        ModelError: A GPU was asked for that is not there, or the name is no device's.
    """
    present = torch.cuda.is_available()
    if wanted == "auto":
        return torch.device("cuda" if present else "cpu"), "a GPU is there" if present else "no GPU is there"
    fix = f"set {where} to auto or cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        allowed = "auto, cpu, cuda, or cuda:N for one GPU of several"
        raise ModelError("no device has this name", where=where, got=wanted, allowed=allowed, fix=fix) from None
    if device.type == "cuda" and not present:
        raise ModelError(
            "a GPU was asked for and torch sees none", where=where, got=wanted, allowed="auto or cpu", fix=fix
        )
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise ModelError(
            "a GPU was asked for that this machine has not",
            where=where,
            got=wanted,
            allowed=f"auto, cpu, cuda, or cuda:0 to cuda:{torch.cuda.device_count() - 1}",
            fix=f"set {where} to one of these; cuda alone is the first",
        )
    return device, "as configured"


def choose_precision(wanted: str, device: torch.device, hidden_size: int | None = None) -> tuple[str, str]:
    """`fp32` or `bf16`, and the reason for it.

    Args:
        wanted: `auto`, `fp32` or `bf16`.
        device: Where it runs.
        hidden_size: Width of the decoder; None: unknown, and taken for narrow.
    """
    has_it, what = native_bf16(device)
    if wanted == "bf16":
        return "bf16", "as configured" if has_it else f"as configured, although {what}: expect it to be slow"
    if wanted != "auto":
        return wanted, "as configured"
    if not has_it:
        return "fp32", what
    if device.type == "cpu" and (hidden_size or 0) < NARROWEST_BF16:
        narrow = "the model's width is not known" if hidden_size is None else f"a width of {hidden_size} is narrow"
        return "fp32", f"{what}, but {narrow}: it pays from {NARROWEST_BF16} on"
    return "bf16", what


def native_bf16(device: torch.device) -> tuple[bool, str]:
    """Whether the device multiplies bf16 matrices in hardware, and that in words."""
    if device.type == "cuda":
        # Without the argument torch counts emulation, which is slower than fp32.
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
        return has_it, "the GPU has bf16" if has_it else "the GPU has no bf16"
    units = next((name for key, name in _UNITS.items() if key in _cpu_features()), None)
    return units is not None, f"the CPU has {units}" if units else "the CPU has no bf16 units"


def _cpu_features() -> frozenset[str]:
    known = getattr(torch.cpu, "get_capabilities", None)
    if known is not None:
        return frozenset(name for name, value in known().items() if value is True)
    try:
        text = _CPU_INFO.read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    return frozenset(
        flag for name, _, flags in lines if name.strip() in ("flags", "Features") for flag in flags.split()
    )


def free_bytes(device: torch.device) -> int:
    """Memory that may still be used there: of the GPU, or of this machine within the container's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit = _CGROUP_LIMIT.read_text(encoding="utf-8").strip()
        used = int(_CGROUP_USED.read_text(encoding="utf-8"))
    except OSError:
        return free
    return free if limit == "max" else min(free, max(int(limit) - used + _file_pages(), 0))


def _file_pages() -> int:
    """Bytes of files that were read: they count as used, though the kernel gives them up at once when asked."""
    try:
        lines = _CGROUP_STAT.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return int(dict(line.split() for line in lines).get("inactive_file", 0))


def peak_bytes(device: torch.device) -> int:
    """Most memory that this process has held: on the GPU by torch, else of the machine in all."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@torch.no_grad()
def product_rate(
    device: torch.device, precision: str, rows: int = 2048, width: int = 512, inner: int = 1536, seconds: float = 0.2
) -> float:
    """Operations a second of a bare matrix product, the best of several.

    Args:
        device: Where.
        precision: `fp32` or `bf16`.
        rows: Positions of the product.
        width: Width of the model.
        inner: Inner width of its FFN.
        seconds: Time to spend.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (
        torch.ones((rows, width), device=device, dtype=dtype),
        torch.ones((width, inner), device=device, dtype=dtype),
    )
    best, until = float("inf"), time.perf_counter() + seconds
    for trial in itertools.count():
        started = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ended = time.perf_counter()
        # The first call finds its kernel.
        if trial:
            best = min(best, ended - started)
        if trial and ended >= until:
            break
    return 2.0 * rows * width * inner / best
