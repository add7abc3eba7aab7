"""Speed of the guided experts: `python -m benchmarks.moe --help`."""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.ablation.machine import commit, machine
from models.config import MoeConfig
from models.moe import GuidedMoe, TypesInView, aux_loss
from models.tokens import TokenType

HELP = """\
Forward and backward of one mixture-of-experts layer, fp32, against four things, all in one run:

  dense     a SwiGLU FFN as wide as the experts that work on a token (top_k x ffn): the same arithmetic, no routing
  masked    the same experts, every one on every token, results masked: what a layer without dispatch costs
  mixtral   transformers' MixtralSparseMoeBlock, once for each of its experts implementations that runs here
  ours      models.moe.GuidedMoe with full experts, its router's guidance, statistics and both losses

Before anything is timed, masked and mixtral get our weights and must give our output. Rounds are interleaved: each
runs every arm once (masked: every third round), in an order of its own, so that another program's load falls on all
of them. A ratio is the median over rounds of (arm / other arm in the same round), printed with its quartiles; `min`
is the ratio of each arm's fastest round, the nearest to a machine that does nothing else. Read `load` first: it is the
number of programs that wanted a core; above the number of cores, the small products of experts suffer more than
dense ones. There, OMP_WAIT_POLICY=passive keeps threads that wait for each other from using up their share.
"""
TARGETS = {(192, 512): 1.3, (576, 1536): 2.5}
"""Most that ours may cost, in times of the dense FFN, by hidden and FFN size."""
MASKED_TARGET, MIXTRAL_TARGET = 4.0, 1.0
RESULTS = Path(__file__).resolve().parent / "results" / "moe.json"
GIB = 2**30
SEQUENCE = 256
MASKED_EVERY = 3
"""The masked arm takes as long as all others together: it runs in every third round."""

Step = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Arm:
    """One thing under the clock."""

    step: Step
    """(B, L, D) to a loss."""
    parameters: list[nn.Parameter]


class Dense(nn.Module):
    """The FFN of Llama and Qwen."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, h_BLD: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(h_BLD)) * self.up_proj(h_BLD))


def ours(hidden: int, ffn: int, experts: int, top_k: int) -> GuidedMoe:
    """The layer, its experts moved apart so that the choice of experts matters to the output."""
    options = {"expert": "full", "num_experts": experts, "top_k": top_k, "init_noise_std": 1.0}
    return GuidedMoe(Dense(hidden, ffn), hidden, MoeConfig.model_validate(options), TypesInView())


def masked(moe: GuidedMoe, h_BLD: torch.Tensor) -> torch.Tensor:
    """All experts on all tokens with the layer's own weights."""
    h_TD = h_BLD.flatten(0, 1)
    probs_TE = F.linear(h_TD, moe.router.weight).softmax(dim=-1)
    gate_TK, expert_TK = probs_TE.topk(moe.config.top_k, dim=-1)
    gate_TE = torch.zeros_like(probs_TE).scatter(1, expert_TK, gate_TK / gate_TK.sum(dim=-1, keepdim=True))
    y_TD = torch.zeros_like(h_TD)
    for expert in range(moe.config.num_experts):
        gate_TF, up_TF = F.linear(h_TD, moe.experts.w_in[expert]).chunk(2, dim=-1)
        out_TD = F.linear(F.silu(gate_TF) * up_TF, moe.experts.w_out[expert])
        y_TD = y_TD + gate_TE[:, expert : expert + 1] * out_TD
    return y_TD.view_as(h_BLD)


def mixtral(moe: GuidedMoe, hidden: int, ffn: int, implementation: str) -> nn.Module:
    """transformers' block with our weights."""
    from transformers import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    config = MixtralConfig(
        hidden_size=hidden,
        intermediate_size=ffn,
        num_local_experts=moe.config.num_experts,
        num_experts_per_tok=moe.config.top_k,
    )
    config._experts_implementation = implementation
    block = MixtralSparseMoeBlock(config)
    with torch.no_grad():
        block.gate.weight.copy_(moe.router.weight)
        block.experts.gate_up_proj.copy_(moe.experts.w_in)
        block.experts.down_proj.copy_(moe.experts.w_out)
    return block


def mixtral_implementations() -> list[str]:
    """The names transformers knows; whether one runs here is seen by running it."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    return ["eager", *ALL_EXPERTS_FUNCTIONS.valid_keys()]


def why_not(implementation: str, tokens: int, hidden: int, ffn: int, top_k: int) -> str:
    """Why an implementation of transformers cannot take part here; empty where it can."""
    if implementation == "batched_mm":
        # It copies each pair's three matrices, and their gradients are as large.
        needed = 2 * tokens * top_k * 3 * hidden * ffn * 4
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if needed > 0.8 * free:
            return f"needs {needed / GIB:.0f} GiB, {free / GIB:.0f} GiB are free"
    try:
        tiny = mixtral(ours(16, 32, 4, 2), 16, 32, implementation)
        tiny(torch.randn(1, 8, 16)).sum().backward()
    except (ImportError, RuntimeError, ValueError, NotImplementedError, OSError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    return ""


def arms_of(hidden: int, ffn: int, given: argparse.Namespace) -> tuple[dict[str, Arm], dict[str, str], float]:
    """What is timed at one size, what is not and why, and the largest difference between outputs."""
    torch.manual_seed(0)
    moe = ours(hidden, ffn, given.experts, given.top_k)
    dense = Dense(hidden, given.top_k * ffn)
    types_BL = torch.full((given.tokens // SEQUENCE or 1, min(SEQUENCE, given.tokens)), int(TokenType.IMAGE))
    types_BL[:, -16:] = int(TokenType.TITLE)
    weight_BLD = torch.randn(*types_BL.shape, hidden)

    def run_ours(h_BLD: torch.Tensor) -> torch.Tensor:
        with moe.in_view.showing(types_BL):
            y_BLD = moe(h_BLD)
        return (y_BLD * weight_BLD).sum() + aux_loss([moe.take_stats()], moe.config)

    def weighed(forward: Step) -> Step:
        return lambda h_BLD: (forward(h_BLD) * weight_BLD).sum()

    arms = {
        "ours": Arm(run_ours, list(moe.parameters())),
        "dense": Arm(weighed(dense), list(dense.parameters())),
        "masked": Arm(weighed(lambda h_BLD: masked(moe, h_BLD)), list(moe.parameters())),
    }
    with torch.no_grad(), moe.in_view.showing(types_BL):
        h_BLD = torch.randn(*types_BL.shape, hidden)
        expected = moe.eval()(h_BLD)
        moe.train()
        outputs = [masked(moe, h_BLD)]
        left_out = {}
        for implementation in mixtral_implementations():
            with torch.enable_grad():
                reason = why_not(implementation, given.tokens, hidden, ffn, given.top_k)
            if reason:
                left_out[f"mixtral {implementation}"] = reason
                continue
            block = mixtral(moe, hidden, ffn, implementation)
            arms[f"mixtral {implementation}"] = Arm(weighed(block), list(block.parameters()))
            outputs.append(block(h_BLD))
    difference = max(float((one - expected).abs().max() / expected.abs().max()) for one in outputs)
    if difference > 1e-4:
        raise SystemExit(f"the arms disagree by {difference:.1e} of the largest output; nothing was timed")
    return arms, left_out, difference


def clock(arm: Arm, h_BLD: torch.Tensor) -> float:
    """Seconds of one forward and backward; gradients of the round before are gone."""
    for parameter in arm.parameters:
        parameter.grad = None
    h_BLD.grad = None
    start = time.perf_counter()
    arm.step(h_BLD).backward()
    return time.perf_counter() - start


def measure(hidden: int, ffn: int, given: argparse.Namespace) -> dict[str, Any]:
    """All arms at one size."""
    arms, left_out, difference = arms_of(hidden, ffn, given)
    h_BLD = torch.randn(given.tokens // SEQUENCE or 1, min(SEQUENCE, given.tokens), hidden, requires_grad=True)
    order = list(arms)
    times: dict[str, dict[int, float]] = {name: {} for name in arms}
    shuffle = random.Random(0)
    load = [os.getloadavg()[0]]
    for number in range(given.rounds + given.warmup):
        shuffle.shuffle(order)
        for name in order:
            if name == "masked" and (number - given.warmup) % MASKED_EVERY:
                continue
            seconds = clock(arms[name], h_BLD)
            if number >= given.warmup:
                times[name][number] = seconds
    load.append(os.getloadavg()[0])
    rows = {
        name: {
            "rounds": len(got),
            "median_ms": 1e3 * statistics.median(got.values()),
            "min_ms": 1e3 * min(got.values()),
        }
        for name, got in times.items()
    }
    ratios = {name: ratio(times[name], times["dense"]) for name in times if name != "dense"}
    rivals = [name for name in times if name.startswith("mixtral")]
    best = min(rivals, key=lambda name: rows[name]["median_ms"])
    bars = [
        _bar("masked / ours", ratio(times["masked"], times["ours"]), MASKED_TARGET, at_least=True),
        _bar(f"ours / {best}", ratio(times["ours"], times[best]), MIXTRAL_TARGET, at_least=False),
    ]
    if (hidden, ffn) in TARGETS:
        bars.insert(0, _bar("ours / dense", ratios["ours"], TARGETS[hidden, ffn], at_least=False))
    return {
        "hidden": hidden,
        "ffn": ffn,
        "rounds": given.rounds,
        "load_start_end": load,
        "largest_difference": difference,
        "arms": rows,
        "over_dense": ratios,
        "bars": bars,
        "left_out": left_out,
    }


def ratio(upper: dict[int, float], lower: dict[int, float]) -> dict[str, float]:
    """Of two arms: median and quartiles over shared rounds of the ratio within a round, and that of the fastest."""
    pairs = sorted(upper[number] / lower[number] for number in upper.keys() & lower.keys())
    quartiles = statistics.quantiles(pairs, n=4, method="inclusive") if len(pairs) > 1 else 3 * pairs
    return {
        "median": quartiles[1],
        "low": quartiles[0],
        "high": quartiles[2],
        "min": min(upper.values()) / min(lower.values()),
    }


def _bar(what: str, got: dict[str, float], target: float, at_least: bool) -> dict[str, Any]:
    met = got["median"] >= target if at_least else got["median"] <= target
    return {"what": what, "target": f"{'>=' if at_least else '<='} {target:g}", **got, "met": met}


def table(found: dict[str, Any]) -> str:
    """One size as text."""
    first, last = found["load_start_end"]
    lines = [
        f"\nhidden {found['hidden']}, FFN {found['ffn']}: {found['rounds']} rounds, load {first:.1f} to {last:.1f}, "
        f"outputs agree to {found['largest_difference']:.0e}",
        f"  {'arm':22}{'rounds':>6}{'median ms':>11}{'min ms':>9}   over dense: median [quartiles]   min",
    ]
    for name, row in sorted(found["arms"].items(), key=lambda item: item[1]["median_ms"]):
        over = found["over_dense"].get(name)
        text = "" if over is None else f"{over['median']:.2f} [{over['low']:.2f}, {over['high']:.2f}]"
        least = "" if over is None else f"{over['min']:.2f}"
        lines.append(f"  {name:22}{row['rounds']:6}{row['median_ms']:11.1f}{row['min_ms']:9.1f}   {text:29}{least:>6}")
    lines += [f"  {name:22}left out: {reason}" for name, reason in found["left_out"].items()]
    for bar in found["bars"]:
        verdict = "met" if bar["met"] else "MISSED"
        lines.append(
            f"  bar: {bar['what']:28} {bar['target']:7} got {bar['median']:.2f} "
            f"[{bar['low']:.2f}, {bar['high']:.2f}], min {bar['min']:.2f}: {verdict}"
        )
    return "\n".join(lines)


def _size(text: str) -> tuple[int, int]:
    hidden, _, ffn = text.partition("/")
    return int(hidden), int(ffn)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.moe", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = [f"{hidden}/{ffn}" for hidden, ffn in TARGETS]
    parser.add_argument(
        "--sizes",
        nargs="+",
        default=sizes,
        metavar="HIDDEN/FFN",
        help=f"default: {' '.join(sizes)}; others have no bar",
    )
    parser.add_argument("--tokens", type=int, default=4096, help=f"in sequences of {SEQUENCE}; default: 4096")
    parser.add_argument("--experts", type=int, default=16, help="default: 16")
    parser.add_argument("--top-k", type=int, default=2, help="default: 2")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15, about 3 minutes on 2 idle cores")
    parser.add_argument("--warmup", type=int, default=2, help="rounds thrown away first; default: 2")
    parser.add_argument("--threads", type=int, default=2, help="torch threads; default: 2")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON; default: benchmarks/results/moe.json")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    about = {
        **machine(),
        "threads": given.threads,
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "dtype": "float32",
        "tokens": given.tokens,
        "experts": given.experts,
        "top_k": given.top_k,
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    found = []
    for text in given.sizes:
        found.append(measure(*_size(text), given))
        print(table(found[-1]), flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({**about, "sizes": found}, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten: {given.out}")


if __name__ == "__main__":
    main()
