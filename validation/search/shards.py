"""Vectors on disk by key: small files that are written once, checked when read, and dropped oldest first."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.embedder import check_vectors
from catalog.errors import ModelError, StorageError

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_KEY_BYTES = 32
_VECTORS, _INDEX, _PARTIAL = ".npy", ".parquet", ".partial"
_DAMAGE = (OSError, ValueError, EOFError, pa.ArrowException, ModelError)
"""What reading a damaged file raises, and what its vectors may be refused with."""


@dataclass(frozen=True)
class _Shard:
    stem: Path
    sha256: str
    count: int


class VectorShards:
    """Vectors of one encoder: pairs of files, NAME.npy and the keys of its rows, NAME.parquet.

    A shard has a name of its own and is complete once its index stands there, so that processes which write at the
    same time need no lock; two may keep the same key, and then either row is right. What a killed process leaves is
    never read, and goes with the oldest.

    Args:
        root: All encoders' shards; the limit counts them together.
        encoder: Whose vectors; names the folder.
        dims: Width of its vectors.
        max_bytes: Most disk that everything under `root` may take.
    """

    def __init__(self, root: Path, encoder: str, dims: int, max_bytes: int) -> None:
        self._root, self._dims, self._max_bytes = root, dims, max_bytes
        self.folder = root / hashlib.sha256(encoder.encode()).hexdigest()[:32]
        self._shards: list[_Shard] = []
        self._known: set[str] = set()
        self._sound: set[str] = set()
        self._keys = np.empty(0, dtype=f"S{_KEY_BYTES}")
        self._places = np.empty((0, 2), dtype=np.int64)

    def read(self, keys: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Find the vectors of keys of 32 bytes.

        Returns:
            found: (N,) bool.
            vectors: (N, D) float32; zeros where none was found.
        """
        self._look()
        wanted = np.array(keys, dtype=f"S{_KEY_BYTES}")
        vectors = np.zeros((len(keys), self._dims), dtype=np.float32)
        found = np.zeros(len(keys), dtype=bool)
        # Again without the shards that turn out damaged: another may hold the same keys.
        while True:
            at = np.searchsorted(self._keys, wanted)
            there = np.zeros(len(keys), dtype=bool)
            inside = at < len(self._keys)
            there[inside] = self._keys[at[inside]] == wanted[inside]
            open_rows = np.flatnonzero(there & ~found)
            if not len(open_rows):
                return found, vectors
            places = self._places[at[open_rows]]
            for number in np.unique(places[:, 0]):
                of_shard = places[:, 0] == number
                rows = self._rows(self._shards[number], places[of_shard, 1])
                if rows is None:
                    self._forget(int(number))
                else:
                    vectors[open_rows[of_shard]] = rows
                    found[open_rows[of_shard]] = True

    def append(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep vectors, (N, D) float32, as one shard; make room first.

        Raises:
            StorageError: It cannot be written, or is larger than the limit.
        """
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)
        data = buffer.getvalue()
        with self._told():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(data) + 64 * len(keys) + 4096)
            stem = self.folder / uuid.uuid4().hex
            partial = stem.with_suffix(_VECTORS + _PARTIAL)
            partial.write_bytes(data)
            os.replace(partial, stem.with_suffix(_VECTORS))
            told = {"schema_version": str(SCHEMA_VERSION), "sha256": hashlib.sha256(data).hexdigest()}
            column = pa.array(list(keys), type=pa.binary(_KEY_BYTES))
            partial = stem.with_suffix(_INDEX + _PARTIAL)
            pq.write_table(pa.table({"key": column}).replace_schema_metadata(told), partial)
            os.replace(partial, stem.with_suffix(_INDEX))

    def _look(self) -> None:
        """Read the index of shards that are new, and forget those that are gone."""
        with self._told():
            there = {path.stem: path for path in self.folder.glob("*" + _INDEX)}
        gone = [number for number, shard in enumerate(self._shards) if shard.count and shard.stem.name not in there]
        for number in gone:
            self._shards[number] = _Shard(self._shards[number].stem, "", 0)
        keys, places = [self._keys], [self._places]
        for name in sorted(there.keys() - self._known):
            self._known.add(name)
            try:
                table = pq.read_table(there[name])
                told = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
                if told.get("schema_version") != str(SCHEMA_VERSION):
                    raise ValueError(f"schema version {told.get('schema_version')}, this code reads {SCHEMA_VERSION}")
                column = table.column("key").to_pylist()
                shard = _Shard(there[name].with_suffix(""), told["sha256"], len(column))
                new = np.array(column, dtype=f"S{_KEY_BYTES}")
            except FileNotFoundError:
                continue
            except (*_DAMAGE, KeyError) as error:
                self._discard(there[name].with_suffix(""), error)
                continue
            keys.append(new)
            places.append(np.stack([np.full(len(new), len(self._shards)), np.arange(len(new))], axis=1))
            self._shards.append(shard)
        if gone or len(keys) > 1:
            self._sort(np.concatenate(keys), np.concatenate(places))

    def _sort(self, keys: np.ndarray, places: np.ndarray) -> None:
        kept = np.array([shard.count > 0 for shard in self._shards], dtype=bool)[places[:, 0]]
        keys, places = keys[kept], places[kept]
        order = np.argsort(keys, kind="stable")
        self._keys, self._places = keys[order], places[order]

    def _forget(self, number: int) -> None:
        self._shards[number] = _Shard(self._shards[number].stem, "", 0)
        self._sort(self._keys, self._places)

    def _rows(self, shard: _Shard, rows: np.ndarray) -> np.ndarray | None:
        """Rows of a shard; None where it is gone or not what was written."""
        path = shard.stem.with_suffix(_VECTORS)
        try:
            if shard.stem.name not in self._sound:
                self._check(path, shard)
                self._sound.add(shard.stem.name)
            return np.load(path, mmap_mode="r", allow_pickle=False)[rows]
        except FileNotFoundError:
            # Dropped by another process that made room.
            self._remove(shard.stem)
            return None
        except _DAMAGE as error:
            self._discard(shard.stem, error)
            return None

    def _check(self, path: Path, shard: _Shard) -> None:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != shard.sha256:
            raise ValueError("its bytes are not those that were written")
        vectors = np.load(io.BytesIO(data), allow_pickle=False)
        if vectors.dtype != np.float32:
            raise ValueError(f"holds {vectors.dtype}, not float32")
        check_vectors(vectors, [f"row {row}" for row in range(shard.count)], self._dims, path.name)

    def _make_room(self, needed: int) -> None:
        if needed > self._max_bytes:
            raise StorageError(
                "one batch of vectors is larger than the whole cache may be",
                where=str(self._root),
                got=f"{needed:,} bytes",
                allowed=f"{self._max_bytes:,} bytes",
                fix="allow the cache more, or judge without one",
            )
        sizes: dict[Path, tuple[float, int]] = {}
        for path in self._root.glob("*/*"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            stem = path.with_name(path.name.partition(".")[0])
            written, size = sizes.get(stem, (0.0, 0))
            sizes[stem] = (max(written, stat.st_mtime), size + stat.st_size)
        total = sum(size for _, size in sizes.values())
        for stem, (_, size) in sorted(sizes.items(), key=lambda item: item[1][0]):
            if total + needed <= self._max_bytes:
                return
            self._remove(stem)
            logger.info("the vector cache is full: dropped its oldest shard, %s", stem.name)
            total -= size

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                "the vector cache cannot be used",
                where=str(self.folder),
                got=f"{type(error).__name__}: {error}",
                fix=f"make room or give rights there, name another folder, or clear it: rm -r {self._root}",
            ) from None

    def _discard(self, stem: Path, error: Exception) -> None:
        logger.warning("cached vectors are damaged and will be computed again: %s: %s", stem, error)
        self._remove(stem)

    def _remove(self, stem: Path) -> None:
        # The index first: without it a shard is none.
        with self._told():
            for suffix in (_INDEX, _VECTORS, _INDEX + _PARTIAL, _VECTORS + _PARTIAL):
                stem.with_name(stem.name + suffix).unlink(missing_ok=True)
