"""The cache of candidates: what a detector found in an image, by the image's digest. One Parquet file.

Boxes are in pixels of the whole decoded picture; the size is kept beside them, so that a picture that was resized
before it got here is noticed instead of cropped wrongly.
"""

from __future__ import annotations

import hashlib
import math
import os
import uuid
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog import ModelError, StorageError
from models.regions.detector import PRODUCT, Candidate, Candidates, RegionDetector, note_of
from models.regions.wanted import Wanted

SCHEMA_VERSION = 2
FILE_NAME = "regions.parquet"

_VERSION_KEY = b"moon.schema_version"
_DETECTOR_KEY = b"moon.detector_digest"
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("width_px", pa.int64()),
        ("height_px", pa.int64()),
        ("boxes", pa.list_(pa.list_(pa.float64()))),
        ("scores", pa.list_(pa.float64())),
        ("labels", pa.list_(pa.string())),
        ("agreements", pa.list_(pa.float64())),
        ("note", pa.string()),
    ]
)


def store_key(detector: RegionDetector, image_digest: str, wanted: Wanted) -> str:
    """What the candidates of an image are filed under: its digest, with that of the words that the detector reads."""
    prompt = detector.prompt(wanted)
    return f"{image_digest}:{hashlib.sha256(prompt.encode()).hexdigest()}" if prompt else image_digest


class RegionStore:
    """Candidates of one detector. Filled by `detect_catalog`, read while training, evaluating and serving.

    Args:
        detector_digest: Whose candidates these are; a store never mixes two detectors.
    """

    def __init__(self, detector_digest: str) -> None:
        self.detector_digest = detector_digest
        self._found: dict[str, tuple[tuple[int, int], tuple[Candidate, ...], str]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def get(self, key: str) -> list[Candidate] | None:
        """Candidates under `key` (see `store_key`), best first, with their note; None where never looked at."""
        found = self._found.get(key)
        return None if found is None else Candidates(found[1], found[2])

    def size_px(self, key: str) -> tuple[int, int]:
        """Width and height of the picture that the boxes of `key` belong to."""
        return self._found[key][0]

    def add(self, key: str, size_px: tuple[int, int], candidates: Sequence[Candidate]) -> None:
        """Keep what was found in an image of `size_px` (width, height)."""
        self._found[key] = (size_px, tuple(candidates), note_of(candidates))

    def take(self, other: RegionStore) -> None:
        """Keep what `other`, of the same detector, holds."""
        other.check_detector(self.detector_digest)
        self._found.update(other._found)

    def only(self, keys: Container[str]) -> RegionStore:
        """A store of what is known under `keys`."""
        part = RegionStore(self.detector_digest)
        part._found = {key: found for key, found in self._found.items() if key in keys}
        return part

    def check_detector(self, detector_digest: str, where: str = "") -> None:
        """Refuse a detector that did not fill this store.

        Raises:
            ModelError: The digests differ.
        """
        if self.detector_digest != detector_digest:
            raise ModelError(
                "stored regions are another detector's",
                where=where,
                got=self.detector_digest[:12],
                allowed=detector_digest[:12],
                fix="detect again: run the step detect_regions with this configuration",
            )

    def write(self, folder: str | Path) -> Path:
        """Write the store as `folder`/regions.parquet; the file appears whole or not at all.

        Rows are sorted, so that the same content gives the same bytes.

        Raises:
            StorageError: The folder cannot be written.
        """
        rows = [
            {
                "key": key,
                "width_px": size[0],
                "height_px": size[1],
                "boxes": [list(candidate.box) for candidate in candidates],
                "scores": [candidate.score for candidate in candidates],
                "labels": [candidate.label for candidate in candidates],
                "agreements": [candidate.agreement for candidate in candidates],
                "note": note,
            }
            for key, (size, candidates, note) in sorted(self._found.items())
        ]
        metadata = {_VERSION_KEY: str(SCHEMA_VERSION).encode(), _DETECTOR_KEY: self.detector_digest.encode()}
        target = Path(folder) / FILE_NAME
        partial = target.with_name(f".{FILE_NAME}.{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata(metadata)), partial)
                os.replace(partial, target)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                "regions cannot be written",
                where=str(folder),
                got=str(error),
                fix="free space or choose another folder",
            ) from None
        return target

    @classmethod
    def read(cls, folder: str | Path, detector_digest: str | None = None) -> RegionStore:
        """Read what `write` wrote.

        Args:
            folder: Holds regions.parquet.
            detector_digest: Refuse the regions of any other detector; None reads whatever is there.

        Raises:
            ModelError: No such file, a damaged one, another schema version, another detector's, or a row that is no
                list of boxes with a score each; names the file, and the row counted from 0.
        """
        path = Path(folder) / FILE_NAME
        again = "detect again: run the step detect_regions"
        if not path.is_file():
            raise ModelError("no stored regions", where=str(path), fix=again)
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise ModelError("stored regions are damaged", where=str(path), got=str(error), fix=again) from None
        metadata = table.schema.metadata or {}
        version = metadata.get(_VERSION_KEY, b"none").decode()
        if version == "1":
            table = _with_labels(table)
        elif version != str(SCHEMA_VERSION):
            raise ModelError(
                "stored regions have another schema version",
                where=str(path),
                got=version,
                allowed=str(SCHEMA_VERSION),
                fix=again,
            )
        if _DETECTOR_KEY not in metadata:
            raise ModelError("stored regions do not say whose they are", where=str(path), fix=again)
        store = cls(metadata[_DETECTOR_KEY].decode(errors="replace"))
        if detector_digest is not None:
            store.check_detector(detector_digest, str(path))
        if table.schema.names != _SCHEMA.names:
            raise ModelError(
                "stored regions have other columns",
                where=str(path),
                got=", ".join(table.schema.names),
                allowed=", ".join(_SCHEMA.names),
                fix=again,
            )
        try:
            table = table.cast(_SCHEMA)
        except pa.ArrowException as error:
            raise ModelError("stored regions are damaged", where=str(path), got=str(error), fix=again) from None
        for number, row in enumerate(table.to_pylist()):
            problem = _problem_of(row)
            if problem:
                raise ModelError(
                    "stored regions are damaged",
                    where=f"{path}, row {number} of key {row['key']}",
                    got=problem,
                    allowed="boxes of four finite numbers, a finite score and a label for each, and the picture's size",
                    fix=again,
                )
            columns = (row[name] for name in ("boxes", "scores", "labels", "agreements"))
            candidates = [
                Candidate((one[0], one[1], one[2], one[3]), *rest) for one, *rest in zip(*columns, strict=True)
            ]
            store.add(row["key"], (row["width_px"], row["height_px"]), Candidates(candidates, row["note"]))
        return store


def _with_labels(table: pa.Table) -> pa.Table:
    """A table of schema 1, which knew products only, as one of schema 2."""
    if "scores" not in table.schema.names or not pa.types.is_list(table.schema.field("scores").type):
        return table
    scores = table.column("scores").to_pylist()
    labels = [None if row is None else [PRODUCT] * len(row) for row in scores]
    agreements = [None if row is None else [None] * len(row) for row in scores]
    labelled = table.append_column(_SCHEMA.field("labels"), pa.array(labels, _SCHEMA.field("labels").type))
    known = labelled.append_column(_SCHEMA.field("agreements"), pa.array(agreements, _SCHEMA.field("agreements").type))
    notes = pa.array([""] * len(known), pa.string())
    return known.append_column(_SCHEMA.field("note"), notes).replace_schema_metadata(table.schema.metadata)


def _problem_of(row: dict[str, Any]) -> str:
    """What is wrong with a row whose columns have the right types; empty where nothing is."""
    absent = [name for name, value in row.items() if value is None]
    if absent:
        return f"no {', '.join(absent)}"
    boxes = row["boxes"]
    for name in ("scores", "labels", "agreements"):
        if len(boxes) != len(row[name]):
            return f"{len(boxes)} boxes and {len(row[name])} {name}"
    for box, score, label, agreement in zip(boxes, row["scores"], row["labels"], row["agreements"], strict=True):
        if box is None or len(box) != 4 or not all(_is_finite(one) for one in box):
            return f"the box {box}"
        if not _is_finite(score):
            return f"the score {score}"
        if not label:
            return f"the label {label}"
        if agreement is not None and not math.isfinite(agreement):
            return f"the agreement {agreement}"
    return ""


def _is_finite(number: float | None) -> bool:
    return number is not None and math.isfinite(number)
