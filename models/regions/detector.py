"""The detector interface: photographs in, candidate boxes out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from catalog import Box
from models.regions.wanted import Wanted

PRODUCT = "product"
GARMENT = "garment"
"""Label of what a person in the picture wears: taken before the person's own box."""


@dataclass(frozen=True)
class Candidate:
    """A box that may hold the product, and how sure the detector is."""

    box: Box
    """Pixels of the picture given to the detector, inside it."""
    score: float
    """0 to 1."""
    label: str = PRODUCT
    """What the box is of: a product, or the garment found on a person."""
    agreement: float | None = None
    """How well the crop agrees with the wanted title, -1 to 1, where an encoder was asked; None where none was."""


class Candidates(list[Candidate]):
    """Candidates with what the detector has to say beside them, such as why there are none.

    A plain list is one without a note: what wraps a detector may give either.
    """

    def __init__(self, candidates: Iterable[Candidate] = (), note: str = "") -> None:
        super().__init__(candidates)
        self.note = note


def note_of(candidates: Iterable[Candidate]) -> str:
    """What a detector said beside its candidates; empty where it said nothing."""
    return candidates.note if isinstance(candidates, Candidates) else ""


@runtime_checkable
class RegionDetector(Protocol):
    """Finds what may be the product in a photograph.

    Every backend keeps: one list of candidates a picture, in the order given, best first, at most K, boxes inside
    the picture; the same answer whatever else is in the call. It is picklable, so that worker processes can hold it.
    """

    digest: str
    """Changes whenever a candidate could change: parameters, weights, version of the algorithm."""

    def prompt(self, wanted: Wanted) -> str:
        """The words of `wanted` that change the answer, which is filed under them; empty where the picture decides."""
        ...

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]: ...


class NoDetector:
    """The backend `none`: no candidates, hence the whole picture."""

    def __init__(self) -> None:
        self.digest = settings_digest("none", 1, {})

    def prompt(self, wanted: Wanted) -> str:
        return ""

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        return [[] for _ in images]


def settings_digest(kind: str, version: int, settings: Mapping[str, Any]) -> str:
    """SHA-256, 64 hexadecimal characters, over a kind, its algorithm's version and everything that it depends on."""
    text = json.dumps({"kind": kind, "version": version, "settings": settings}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
