"""Judge an encoder by name, with its progress shown; the same for `moon evaluate` and `moon leaderboard`."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from catalog.embedder import check_vectors
from catalog.errors import StorageError
from moon.encoders import LINEAGE, MAJORITY, EncoderOptions, resolve_encoder, size_of
from moon.evaluation_data import EvalData

if TYPE_CHECKING:
    from catalog import Embedder, ProductItem, QueryItem
    from validation.rivals.leaderboard import Entry

Say = Callable[[str], None]
Item = TypeVar("Item")
BLOCK = 64
"""Items embedded between two looks at the clock."""
EVERY_S = 10.0


def judge_named(
    model: str,
    data: EvalData,
    options: EncoderOptions,
    say: Say,
    *,
    known: Callable[[str], Entry | None] | None = None,
    cache: Path | None = None,
) -> Entry:
    """Resolve, judge, and keep what it weighs.

    Args:
        model: Name on the command line.
        data: What to judge on.
        options: Device, numbers, and what is allowed.
        say: Told of progress.
        known: Given the encoder's digest, an entry made before that still holds, if there is one.
        cache: Folder of vectors computed before; what is read from there costs no time, so the entry tells none.

    Raises:
        ConfigError, ModelError, BenchmarkError: See `resolve_encoder` and `judge`.
    """
    from validation.benchmark import judge
    from validation.rivals import RandomVectors, judge_majority
    from validation.rivals.leaderboard import Entry

    settings = data.benchmark.model_dump_json()
    if model == MAJORITY:
        record, outcomes = judge_majority(data.eval_set, data.benchmark)
        return Entry(model, record, settings, outcomes)
    encoder = resolve_encoder(model, data.products, options)
    for warning in lineage_warnings(model, data.split):
        say(f"{model}: {warning}")
    before = known(encoder.digest) if known else None
    if before is not None:
        say(f"{model}: scored before, taken over")
        return before
    if cache is None:
        record, outcomes = judge(Watched(encoder, model, say), data.eval_set, data.benchmark)
        return Entry(model, record, settings, outcomes)
    from validation.search import CachedVectors

    kept = CachedVectors(encoder, cache, by_id=isinstance(encoder, RandomVectors))
    record, outcomes = judge(Watched(kept, model, say, size_of(encoder)), data.eval_set, data.benchmark)
    say(f"{model}: {kept.hits} vectors from {cache} or asked twice, {kept.misses} computed; no times are told")
    timings = {"total_s": record.timings["total_s"]}
    return Entry(model, replace(record, timings=timings), settings, outcomes)


def lineage_warnings(model: str, split: str | None) -> list[str]:
    """Why a MOON folder may have trained on what it is now asked, as far as its lineage tells."""
    path = Path(model.partition(":")[2] if model.startswith("moon:") else model) / LINEAGE
    if split is None or not path.is_file():
        return []
    trained = json.loads(path.read_text(encoding="utf-8")).get("split")
    if trained is None or json.loads(trained) == json.loads(split):
        return []
    return ["trained under another split: it may have seen products of this side"]


class Watched:
    """An encoder whose progress is told: items a second, in blocks; its vectors are the encoder's own."""

    def __init__(
        self, encoder: Embedder, label: str, say: Say, size: tuple[int | None, int | None] | None = None
    ) -> None:
        self._encoder, self._label, self._say = encoder, label, say
        self.name, self.digest = encoder.name, encoder.digest
        self.dims, self.modalities = encoder.dims, encoder.modalities
        self.num_parameters, self.num_bytes = size_of(encoder) if size is None else size
        self._told = time.monotonic()

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        hidden = f" without {', '.join(sorted(hide))}" if hide else ""
        return self._in_blocks(items, lambda block: self._encoder.embed_products(block, hide), f"products{hidden}")

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        return self._in_blocks(items, self._encoder.embed_queries, "queries")

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        return self._in_blocks(texts, self._encoder.embed_labels, "labels")

    def _in_blocks(self, items: Iterable[Item], embed: Callable[[list[Item]], np.ndarray], what: str) -> np.ndarray:
        everything = list(items)
        started, done = time.monotonic(), 0
        parts: list[np.ndarray] = []
        for block in _blocks(everything):
            # Block by block: a wrong number of vectors would shift all that follow, and a NaN is told before the end.
            parts.append(
                check_vectors(np.asarray(embed(block)), [_id_of(item) for item in block], self.dims, self.name)
            )
            done, now = done + len(block), time.monotonic()
            if done < len(everything) and now - self._told > EVERY_S:
                self._told = now
                left = (now - started) / done * (len(everything) - done)
                self._say(f"{self._label}: {done} of {len(everything)} {what}, {left:.0f} s left")
        return np.concatenate(parts) if parts else np.zeros((0, self.dims), np.float32)


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place and move it there: whole or not at all.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(partial, 0o644)
            os.replace(partial, path)
        except OSError:
            os.unlink(partial)
            raise
    except OSError as error:
        raise StorageError("file cannot be written", where=str(path), got=str(error)) from None


def _id_of(item: Any) -> str:
    """What a product, a query or a label is called in a message."""
    return getattr(item, "query_id", None) or getattr(getattr(item, "product", None), "product_id", None) or str(item)


def _blocks(items: list[Item]) -> Iterator[list[Item]]:
    stream = iter(items)
    while block := list(islice(stream, BLOCK)):
        yield block
