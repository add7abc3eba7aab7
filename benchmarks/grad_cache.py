"""Memory and time of a step with GradCache: `python -m benchmarks.grad_cache`.

Two subjects: `moon`, the training step of the demo recipe with all its views and losses, and `llama`, six layers of
transformers' class under a bare InfoNCE. One process an arm, all with the same weights: a plain step of b pairs,
GradCache with 16 b pairs in chunks no larger than that step, and a plain step of 16 b pairs. The peak is counted twice,
both above what stands once parameters and AdamW's state are allocated, and gradients included:

- by torch's allocator: every allocation and release of the step, from the profiler's memory events. Exact, and the
  figure to judge by;
- by the kernel: growth of the process's largest resident set over the step. It includes what the allocator does not
  see, and rounds up to what the C library holds back.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.ablation.machine import commit, machine
from benchmarks.training import make_shop
from models.config import TrainConfig
from models.training.chunks import run_step
from models.training.fit import Prepared
from models.training.grad_cache import Tensors, cached_backward

FACTOR, BAR = 16, 1.3
TOKENS, VOCABULARY, PRODUCTS = 48, 512, 200
RESULTS = Path(__file__).resolve().parent / "results" / "grad_cache.json"
MIB = 2**20


@dataclass(frozen=True)
class Subject:
    """A model under measurement."""

    parameters: list[nn.Parameter]
    """The loss's included."""
    step: Callable[[int], Callable[[], float]]
    """Of a number of pairs: forward and backward of that many, which returns the loss."""


def llama(how: str, chunk: int, _work: Path) -> Subject:
    """Six layers of width 256 with a mean pool, and InfoNCE.

    Args:
        how: `plain` or `cached`.
        chunk: Pairs a chunk.
    """
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

    def step(rows: int) -> Callable[[], float]:
        generator = torch.Generator().manual_seed(1)
        names = ("queries", "products")
        views = {name: torch.randint(VOCABULARY, (rows, TOKENS), generator=generator) for name in names}

        def run() -> float:
            if how == "cached":
                return float(cached_backward({name: ids.split(chunk) for name, ids in views.items()}, encode, loss))
            value = loss({name: encode(ids)[0] for name, ids in views.items()}, ())
            value.backward()
            return float(value.detach())

        return run

    return Subject(list(module.parameters()), step)


def moon(how: str, chunk: int, work: Path) -> Subject:
    """The demo recipe's step: queries, products and their hard negatives, alignment, label texts, guided experts.

    Args:
        how: `plain` or `cached`.
        chunk: Pairs a chunk: as many tokens as a step of so many pairs has.
        work: Folder for the shop; found there by the next arm.
    """
    shop = make_shop(PRODUCTS, work)

    def prepared(rows: int) -> Prepared:
        train = TrainConfig(batch_size=rows, feature_variants=0, num_workers=0)
        with tempfile.TemporaryDirectory() as folder:
            return shop.prepared(train, folder)

    base = prepared(chunk)
    objective = base.objective.train()
    tokens = sum(int(view.mask_BL.sum()) for view in base.dataset[0].views.values())

    def step(rows: int) -> Callable[[], float]:
        batch = (base.dataset if rows == chunk else prepared(rows).dataset)[0]

        def run() -> float:
            made = run_step(objective, batch, tokens if how == "cached" else None)
            made.backward(made.loss)
            return float(made.loss.detach())

        return run

    return Subject(list(objective.parameters()), step)


SUBJECTS = {"moon": moon, "llama": llama}
STEPS = ("plain", "cached")


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
    # What was freed goes back first, or the step would grow into it unseen.
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    # 5: start the high-water mark anew.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    step()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name + ":"))
    return int(line.split()[1]) * 1024


def measure(subject: Subject, rows: int, threads: int) -> dict[str, float]:
    """One arm, in this process.

    Args:
        subject: Fresh.
        rows: Pairs a step.
        threads: Of torch.
    """
    torch.set_num_threads(threads)
    optimizer = torch.optim.AdamW(subject.parameters, lr=1e-4)
    # One small step makes AdamW's state and whatever torch builds on first use.
    subject.step(4)()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    run = subject.step(rows)
    resident = peak_resident(run)
    gradients = sum(one.grad.nbytes for one in subject.parameters if one.grad is not None)
    optimizer.zero_grad(set_to_none=True)
    allocated = peak_allocated(run)
    optimizer.zero_grad(set_to_none=True)
    started = time.perf_counter()
    loss = run()
    return {
        "pairs": rows,
        "allocated_mib": round(allocated / MIB, 1),
        "resident_mib": round(resident / MIB, 1),
        "gradients_mib": round(gradients / MIB, 1),
        "seconds_per_pair": round((time.perf_counter() - started) / rows, 5),
        "loss": round(loss, 5),
    }


def _arm(subject: str, how: str, rows: int, chunk: int, threads: int, work: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.grad_cache", "--subjects", subject, "--arm", how]
    command += ["--pairs", str(rows), "--chunk", str(chunk), "--threads", str(threads), "--work", work]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.grad_cache",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--pairs", type=int, default=8, help="b: pairs of the plain step, and of a chunk; default: 8")
    parser.add_argument("--threads", type=int, default=1, help="of torch; default: 1")
    parser.add_argument("--out", type=Path, default=RESULTS, help="default: benchmarks/results/grad_cache.json")
    parser.add_argument("--chunk", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--arm", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.arm:
        subject = SUBJECTS[asked.subjects[0]](asked.arm, asked.chunk, asked.work)
        print(json.dumps(measure(subject, asked.pairs, asked.threads)))
        return
    with tempfile.TemporaryDirectory() as work:
        result = _compare(asked, work)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"written: {asked.out}")


def _compare(asked: argparse.Namespace, work: str) -> dict[str, object]:
    many = FACTOR * asked.pairs
    arms = {
        f"plain, {asked.pairs} pairs": ("plain", asked.pairs),
        f"GradCache, {many} pairs": ("cached", many),
        f"plain, {many} pairs": ("plain", many),
    }
    about = {**machine(), "threads": asked.threads, "commit": commit(), "date": time.strftime("%Y-%m-%d")}
    result: dict[str, object] = {**about, "bar": f"GradCache over plain, allocated: at most {BAR}"}
    for subject in asked.subjects:
        print(
            f"\n{subject:24}{'allocated MiB':>15}{'ratio':>8}{'resident MiB':>14}{'ratio':>8}{'s/pair':>9}{'loss':>10}"
        )
        rows: dict[str, dict[str, float]] = {}
        for name, (how, pairs) in arms.items():
            found = rows[name] = _arm(subject, how, pairs, asked.pairs, asked.threads, work)
            base = next(iter(rows.values()))
            for key in ("allocated", "resident"):
                found[f"{key}_ratio"] = round(found[f"{key}_mib"] / base[f"{key}_mib"], 3)
            print(
                f"{name:24}{found['allocated_mib']:15.1f}{found['allocated_ratio']:8.2f}{found['resident_mib']:14.1f}"
                f"{found['resident_ratio']:8.2f}{found['seconds_per_pair']:9.4f}{found['loss']:10.5f}",
                flush=True,
            )
        print(f"of which gradients: {base['gradients_mib']:.1f} MiB in every arm")
        result[subject] = rows
    return result


if __name__ == "__main__":
    main()
