"""Memory and time of a step with GradCache: `python -m benchmarks.grad_cache`.

One process an arm, all with the same weights: a plain step of b pairs, GradCache with 16 b pairs in chunks of b, and a
plain step of 16 b pairs. The peak is counted twice, both above what stands once parameters and AdamW's state are
allocated, and gradients included:

- by torch's allocator: every allocation and release of the step, from the profiler's memory events. Exact, and the
  figure to judge by;
- by the kernel: growth of the process's largest resident set over the step. It includes what the allocator does not
  see, and rounds up to what the C library holds back.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from models.training.grad_cache import Tensors, cached_backward

FACTOR = 16
TOKENS, VOCABULARY = 48, 512
MIB = 2**20


@dataclass(frozen=True)
class Subject:
    """A model under measurement."""

    module: nn.Module
    """All parameters, the loss's included."""
    encode: Callable[[torch.Tensor], tuple[torch.Tensor, Tensors]]
    loss: Callable[[dict[str, torch.Tensor], Tensors], torch.Tensor]
    views: Callable[[int], dict[str, torch.Tensor]]
    """A batch of that many pairs."""


def llama() -> Subject:
    """Six layers of width 256 with a mean pool, and InfoNCE."""
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        use_cache=False,
    )
    module = nn.ModuleDict({"decoder": LlamaModel(config), "head": nn.Linear(256, 64, bias=False)})

    def encode(ids_BL: torch.Tensor) -> tuple[torch.Tensor, Tensors]:
        hidden_BLD = module["decoder"](input_ids=ids_BL).last_hidden_state
        return F.normalize(module["head"](hidden_BLD.mean(dim=1)), dim=-1), ()

    def loss(vectors: dict[str, torch.Tensor], sums: Tensors) -> torch.Tensor:
        logits = vectors["queries"] @ vectors["products"].T / 0.05
        return F.cross_entropy(logits, torch.arange(len(logits)))

    def views(rows: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        names = ("queries", "products")
        return {name: torch.randint(VOCABULARY, (rows, TOKENS), generator=generator) for name in names}

    return Subject(module, encode, loss, views)


def plain(subject: Subject, views: dict[str, torch.Tensor], chunk: int) -> float:
    """Forward and backward of the whole batch at once."""
    made = {name: subject.encode(rows)[0] for name, rows in views.items()}
    loss = subject.loss(made, ())
    loss.backward()
    return float(loss.detach())


def cached(subject: Subject, views: dict[str, torch.Tensor], chunk: int) -> float:
    """The same gradients, chunk by chunk."""
    chunks = {name: rows.split(chunk) for name, rows in views.items()}
    return float(cached_backward(chunks, subject.encode, subject.loss))


STEPS = {"plain": plain, "cached": cached}


def peak_allocated(step: Callable[[], object]) -> int:
    """Largest sum of bytes that torch's CPU allocator held at once for `step`, above what it held before."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as profiled:
        step()
    assert profiled.profiler is not None
    events = [one for one in profiled.profiler.kineto_results.events() if one.name() == "[memory]"]
    live = peak = 0
    for one in sorted(events, key=lambda event: event.start_ns()):
        live += one.nbytes()
        peak = max(peak, live)
    return peak


def peak_resident(step: Callable[[], object]) -> int:
    """Growth of the largest resident set over `step`, bytes; Linux only."""
    # 5: start the high-water mark anew.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    step()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name + ":"))
    return int(line.split()[1]) * 1024


def measure(subject: Subject, how: str, rows: int, chunk: int, threads: int) -> dict[str, float]:
    """One arm, in this process.

    Args:
        subject: Fresh.
        how: Key of `STEPS`.
        rows: Pairs a step.
        chunk: Pairs a chunk.
        threads: Of torch.
    """
    torch.set_num_threads(threads)
    optimizer = torch.optim.AdamW(subject.module.parameters(), lr=1e-4)

    def run(views: dict[str, torch.Tensor]) -> float:
        return STEPS[how](subject, views, chunk)

    # One small step makes AdamW's state and whatever torch builds on first use.
    run(subject.views(2))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    views = subject.views(rows)
    resident = peak_resident(lambda: run(views))
    gradients = sum(one.grad.nbytes for one in subject.module.parameters() if one.grad is not None)
    optimizer.zero_grad(set_to_none=True)
    allocated = peak_allocated(lambda: run(views))
    optimizer.zero_grad(set_to_none=True)
    started = time.perf_counter()
    loss = run(views)
    return {
        "rows": rows,
        "allocated_mib": allocated / MIB,
        "resident_mib": resident / MIB,
        "gradients_mib": gradients / MIB,
        "seconds": time.perf_counter() - started,
        "loss": loss,
    }


def _arm(how: str, rows: int, chunk: int, threads: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.grad_cache", "--arm", how]
    command += ["--rows", str(rows), "--chunk", str(chunk), "--threads", str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8, help="b: pairs of the plain step, and of a chunk")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--arm", choices=STEPS, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.arm:
        print(json.dumps(measure(llama(), asked.arm, asked.rows, asked.chunk, asked.threads)))
        return
    many = FACTOR * asked.rows
    arms = {
        f"plain, {asked.rows} pairs": ("plain", asked.rows),
        f"GradCache, {many} pairs": ("cached", many),
        f"plain, {many} pairs": ("plain", many),
    }
    print(f"{'':24}{'allocated MiB':>15}{'ratio':>8}{'resident MiB':>14}{'ratio':>8}{'s/pair':>9}{'loss':>10}")
    base: dict[str, float] = {}
    for name, (how, rows) in arms.items():
        found = _arm(how, rows, asked.rows, asked.threads)
        base = base or found
        ratios = [found[key] / base[key] for key in ("allocated_mib", "resident_mib")]
        print(
            f"{name:24}{found['allocated_mib']:15.1f}{ratios[0]:8.2f}{found['resident_mib']:14.1f}{ratios[1]:8.2f}"
            f"{found['seconds'] / rows:9.4f}{found['loss']:10.5f}",
            flush=True,
        )
    print(f"of which gradients: {base['gradients_mib']:.1f} MiB in every arm")


if __name__ == "__main__":
    main()
