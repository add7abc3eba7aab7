"""Speed and memory of exact search beside its peers: `python -m benchmarks.search --help`."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.ablation.machine import commit, machine
from benchmarks.ablation.protocol import PROJECT_ROOT
from validation.search import ranks_of_relevant, top_k

HELP = """\
The k best of N random unit vectors for each of Q, fp32, against three things, all in one run:

  bare    torch.mm of blocks into a buffer, topk of each block, topk of what was kept
  faiss   IndexFlatIP; filling it is not timed
  st      sentence_transformers.util.semantic_search with dot products, its own chunks
  ours    validation.search.top_k

and, for fewer queries, one relevant candidate each, validation.search.ranks_of_relevant (ranks) against the matrix
product of the same blocks alone (matmul).

Each arm is a process of its own that holds the inputs in memory and waits for its turn; a round runs each once, in an
order of its own, so that another program's load falls on all of them. A ratio is the median over rounds of (ours /
other in the same round), with the least and the most. Wall seconds are what a user waits for; CPU seconds, of all
threads together, are less moved by other programs. Read `load` first: it is the number of programs that wanted a
core. Memory is the process's high-water mark while it searches, above what it held once its inputs were loaded (an
index of faiss is a second copy of them).
"""
RIVALS = ("bare", "faiss", "st")
ARMS = ("ours", *RIVALS)
RANKS, MATMUL = "ranks", "matmul"
BARE_TARGET, PEER_TARGET, MEMORY_TARGET_GIB = 1.3, 1.1, 2.0
RESULTS = Path(__file__).resolve().parent / "results" / "search.json"
BLOCK = (512, 4096)
"""Queries and candidates of the bare blocks: the fastest of those tried (docs/SEARCH.md)."""

Found = tuple[np.ndarray, np.ndarray]


def make_inputs(folder: Path, queries: int, candidates: int, dims: int) -> None:
    """Write random unit vectors."""
    rng = np.random.default_rng(0)
    for name, count in (("queries", queries), ("candidates", candidates)):
        out = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (count, dims))
        for start in range(0, count, 1 << 16):
            rows = rng.standard_normal((min(1 << 16, count - start), dims), dtype=np.float32)
            out[start : start + len(rows)] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        out.flush()


def bare(queries: np.ndarray, candidates: np.ndarray, k: int) -> Found:
    """Blocked matmul and topk; ties in no order that anyone promised."""
    asked, pool = torch.from_numpy(queries), torch.from_numpy(candidates)
    rows, columns = BLOCK
    buffer = torch.empty(rows, columns)
    scores, indices = torch.empty(len(asked), k), torch.empty(len(asked), k, dtype=torch.int64)
    for at in range(0, len(asked), rows):
        left = asked[at : at + rows]
        best, index = torch.full((len(left), k), -torch.inf), torch.zeros(len(left), k, dtype=torch.int64)
        for first in range(0, len(pool), columns):
            right = pool[first : first + columns]
            block = torch.mm(left, right.T, out=buffer.view(-1)[: len(left) * len(right)].view(len(left), len(right)))
            new, where = block.topk(min(k, len(right)), dim=1)
            best, chosen = torch.cat([best, new], dim=1).topk(k, dim=1)
            index = torch.cat([index, where + first], dim=1).gather(1, chosen)
        scores[at : at + rows], indices[at : at + rows] = best, index
    return scores.numpy(), indices.numpy()


def matmul(queries: np.ndarray, candidates: np.ndarray) -> None:
    """The products of the same blocks, looked at by nobody."""
    rows, columns = BLOCK
    buffer = torch.empty(rows, columns)
    for left in torch.from_numpy(queries).split(rows):
        for right in torch.from_numpy(candidates).split(columns):
            torch.mm(left, right.T, out=buffer.view(-1)[: len(left) * len(right)].view(len(left), len(right)))


def prepared(arm: str, queries: np.ndarray, candidates: np.ndarray, k: int) -> Callable[[], Found | None]:
    """What is timed of an arm; what comes before is done."""
    if arm == "bare":
        return lambda: bare(queries, candidates, k)
    if arm == "faiss":
        import faiss

        index = faiss.IndexFlatIP(candidates.shape[1])
        index.add(candidates)
        return lambda: index.search(queries, k)
    if arm == "st":
        from sentence_transformers.util import dot_score, semantic_search

        def st() -> Found:
            asked, pool = torch.from_numpy(queries), torch.from_numpy(candidates)
            hits = semantic_search(asked, pool, top_k=k, score_function=dot_score)
            scores = np.array([[hit["score"] for hit in row] for row in hits])
            return scores, np.array([[hit["corpus_id"] for hit in row] for row in hits])

        return st
    if arm == "ours":

        def ours() -> Found:
            found = top_k(queries, candidates, k, device="cpu")
            return found.scores, found.indices

        return ours
    if arm == RANKS:
        relevant = [[int(one)] for one in np.random.default_rng(1).integers(0, len(candidates), len(queries))]

        def ranks() -> None:
            ranks_of_relevant(queries, candidates, relevant, device="cpu")

        return ranks
    return lambda: matmul(queries, candidates)


def serve(arm: str, folder: Path, k: int, threads: int) -> None:
    """Answer each line `queries candidates` of standard input by a run over so many of each."""
    torch.set_num_threads(threads)
    if arm == "faiss":
        import faiss

        faiss.omp_set_num_threads(threads)
    queries, candidates = np.load(folder / "queries.npy"), np.load(folder / "candidates.npy")
    # Its libraries are no memory of the search.
    prepared(arm, queries[:64], candidates[:4096], k)()
    before = _resident_gib("VmRSS")
    step: Callable[[], Found | None] | None = None
    asked = ""
    for line in sys.stdin:
        if line != asked:
            step = None
            num_queries, num_candidates = map(int, line.split())
            step, asked = prepared(arm, queries[:num_queries], candidates[:num_candidates], k), line
        # A 5 sets the high-water mark back to what is resident now; proc(5).
        Path("/proc/self/clear_refs").write_text("5")
        assert step is not None
        start, cpu = time.perf_counter(), time.process_time()
        found = step()
        told = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
        told["above_inputs_gib"] = _resident_gib("VmHWM") - before
        if found is not None:
            np.savez(folder / f"{arm}.npz", scores=found[0], indices=found[1])
        print(json.dumps(told), flush=True)


def _resident_gib(what: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Worker:
    """An arm in a process of its own."""

    def __init__(self, arm: str, folder: Path, given: argparse.Namespace) -> None:
        command = [sys.executable, "-m", "benchmarks.search", "--serve", arm, "--folder", str(folder)]
        command += ["--k", str(given.k), "--threads", str(given.threads)]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT, env=environment
        )

    def run(self, queries: int, candidates: int) -> dict[str, float]:
        """One run; its seconds and memory."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(queries, candidates, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("an arm ended before its answer; its message stands above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(folder: Path) -> dict[str, dict[str, float]]:
    """Of each rival: the share of places where it names another candidate, and the largest difference of scores."""
    ours = np.load(folder / "ours.npz")
    found = {}
    for arm in RIVALS:
        theirs = np.load(folder / f"{arm}.npz")
        found[arm] = {
            "other_candidate_frac": float((theirs["indices"] != ours["indices"]).mean()),
            "largest_score_difference": float(np.abs(theirs["scores"] - ours["scores"]).max()),
        }
        if found[arm]["largest_score_difference"] > 1e-5:
            raise SystemExit(f"{arm} and ours disagree: {found[arm]}")
    return found


def measure(folder: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """All arms at all sizes."""
    workers = {arm: Worker(arm, folder, given) for arm in (*ARMS, RANKS, MATMUL)}
    shuffle, order, sizes = random.Random(0), list(workers), []
    try:
        with tqdm(total=sum(given.rounds) * len(workers), unit="run", disable=None) as bar:
            for candidates, rounds in zip(given.candidates, given.rounds, strict=True):
                runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in workers}
                load = [os.getloadavg()[0]]
                for _ in range(rounds):
                    shuffle.shuffle(order)
                    for arm in order:
                        queries = given.queries if arm in ARMS else given.rank_queries
                        runs[arm].append(workers[arm].run(queries, candidates))
                        bar.update()
                    load.append(os.getloadavg()[0])
                sizes.append({"candidates": candidates, "load": load, "runs": runs, "agreement": compare(folder)})
                print(table(sizes[-1], given), flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    return sizes


def ratio(runs: dict[str, list[dict[str, float]]], upper: str, lower: str, what: str) -> dict[str, float]:
    """Median, least and most over rounds of one arm's seconds over another's."""
    pairs = [one[what] / other[what] for one, other in zip(runs[upper], runs[lower], strict=True)]
    return {"median": statistics.median(pairs), "low": min(pairs), "high": max(pairs)}


def median(runs: dict[str, list[dict[str, float]]], arm: str, what: str) -> float:
    """Of an arm's rounds."""
    return statistics.median(run[what] for run in runs[arm])


def bars(size: dict[str, Any]) -> list[dict[str, Any]]:
    """What ours may cost, and what it did."""
    runs = size["runs"]
    peer = min(("faiss", "st"), key=lambda arm: median(runs, arm, "wall_s"))
    found = []
    for arm, target in (("bare", BARE_TARGET), (peer, PEER_TARGET)):
        wall, cpu = (ratio(runs, "ours", arm, what) for what in ("wall_s", "cpu_s"))
        met = wall["median"] <= target
        found.append({"what": f"ours / {arm}", "target": target, "wall": wall, "cpu": cpu, "met": met})
    return found


def slope(sizes: Sequence[dict[str, Any]], what: str) -> float:
    """Exponent of the cost of ours in the number of candidates, from the smallest size to the largest: 1 is linear."""
    small, large = (median(size["runs"], "ours", what) for size in (sizes[0], sizes[-1]))
    return float(np.log(large / small) / np.log(sizes[-1]["candidates"] / sizes[0]["candidates"]))


def table(size: dict[str, Any], given: argparse.Namespace) -> str:
    """One size as text."""
    runs, load = size["runs"], size["load"]
    lines = [
        f"\n{given.queries:,} queries x {size['candidates']:,} candidates x {given.dims}, k {given.k}, "
        f"{given.threads} threads: {len(runs['ours'])} rounds, load {min(load):.1f} to {max(load):.1f}",
        f"  {'arm':8}{'wall s':>9}{'CPU s':>9}{'GFLOP/s':>9}{'GiB above':>11}   of another candidate, scores differ by",
    ]
    for arm in runs:
        queries = given.queries if arm in ARMS else given.rank_queries
        wall, cpu = (median(runs, arm, what) for what in ("wall_s", "cpu_s"))
        speed = 2e-9 * queries * size["candidates"] * given.dims / wall
        memory = max(run["above_inputs_gib"] for run in runs[arm])
        agrees = size["agreement"].get(arm)
        text = agrees and f"{agrees['other_candidate_frac']:.1e}, {agrees['largest_score_difference']:.1e}"
        lines.append(f"  {arm:8}{wall:9.2f}{cpu:9.2f}{speed:9.0f}{memory:11.2f}   {text or ''}")
    for bar in bars(size):
        verdict = "met" if bar["met"] else "MISSED"
        lines.append(f"  bar: {bar['what']:13} <= {bar['target']:g}  {_spread(bar['wall'], bar['cpu'])}: {verdict}")
    most = max(run["above_inputs_gib"] for run in runs["ours"])
    verdict = "met" if most < MEMORY_TARGET_GIB else "MISSED"
    lines.append(f"  bar: memory above the inputs < {MEMORY_TARGET_GIB:g} GiB, got {most:.2f}: {verdict}")
    spread = _spread(*(ratio(runs, RANKS, MATMUL, what) for what in ("wall_s", "cpu_s")))
    return "\n".join([*lines, f"  ranks / matmul, {given.rank_queries:,} queries: {spread}"])


def _spread(wall: dict[str, float], cpu: dict[str, float]) -> str:
    named = (("wall", wall), ("CPU", cpu))
    return ", ".join(f"{name} {got['median']:.2f} [{got['low']:.2f}, {got['high']:.2f}]" for name, got in named)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, nargs="+", default=[100_000, 300_000, 1_000_000], metavar="N")
    parser.add_argument("--rounds", type=int, nargs="+", default=[3], help="one number, or one for each size")
    parser.add_argument("--rank-queries", type=int, default=1000, help="queries of ranks and matmul")
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, help="where the inputs are written; a temporary one if not given")
    parser.add_argument("--serve", choices=(*ARMS, RANKS, MATMUL), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        serve(given.serve, given.folder, given.k, given.threads)
        return
    given.rounds = given.rounds * len(given.candidates) if len(given.rounds) == 1 else given.rounds
    if len(given.rounds) != len(given.candidates):
        parser.error(f"--rounds: {len(given.rounds)} numbers for {len(given.candidates)} sizes")
    made_at = commit()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        make_inputs(Path(name), max(given.queries, given.rank_queries), max(given.candidates), given.dims)
        sizes = measure(Path(name), given)
    exponents = {what: slope(sizes, what) for what in ("wall_s", "cpu_s")} if len(sizes) > 1 else {}
    if exponents:
        print(f"\ncost ~ candidates^{exponents['wall_s']:.2f} (wall), ^{exponents['cpu_s']:.2f} (CPU)")
    asked = {name: value for name, value in vars(given).items() if name not in ("out", "folder", "serve")}
    found = [{**size, "bars": bars(size)} for size in sizes]
    made = {"machine": machine(), "commit": made_at, "asked": asked, "cost_exponent": exponents, "sizes": found}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"written: {given.out}")


if __name__ == "__main__":
    main()
