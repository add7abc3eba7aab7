"""One rule by which every rival with towers makes a vector of words and photographs."""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from PIL import Image

from catalog.embedder import check_vectors
from catalog.errors import ModelError
from catalog.images import Photo
from catalog.items import ProductItem, QueryItem, hide_fields
from validation.rivals.product_text import product_sentence

logger = logging.getLogger(__name__)

MAX_KEPT = 1 << 17
"""Vectors remembered of texts, and of photographs: an evaluation embeds the same products under many hide sets."""
_RULE = "late-fusion-1"

Key = TypeVar("Key", bound=Hashable)
Side = Literal["product", "query"]


def fuse(text: np.ndarray | None, photos: Sequence[np.ndarray], nowhere: np.ndarray) -> np.ndarray:
    """Normalised sum of the text's unit vector and the unit mean of the photos' unit vectors.

    Words and pictures weigh the same, however many photos there are; one that is missing leaves the other alone; with
    neither, `nowhere`.

    Args:
        text: (D,) unit vector, or none.
        photos: (D,) unit vectors.
        nowhere: (D,) unit vector.

    Source: our choice. Dual towers are trained on one text and one picture, and say nothing of products with several
        photos; their order does not matter here.
    """
    seen = unit(np.sum(np.sort(np.stack(photos), axis=0), axis=0)) if len(photos) else None
    parts = [part for part in (text, seen) if part is not None]
    total = unit(np.sum(parts, axis=0)) if parts else None
    return nowhere if total is None else total


class LateFusion(ABC):
    """An `Embedder` of a text tower, an image tower, or both.

    A subclass sets `name`, `digest`, `dims` and `modalities`, and gives raw vectors of texts and pictures.
    """

    name: str
    digest: str
    dims: int
    modalities: frozenset[str]
    num_parameters: int | None = None
    num_bytes: int | None = None
    batch_size: int = 32
    label_prompt: str = "{}"
    two_sided: bool = False
    """Whether vectors depend on the side, by a prompt for queries and another for documents."""

    def __init__(self) -> None:
        self._told = False
        read: dict[str, np.ndarray | None] = {}
        self._texts: dict[Side, dict[str, np.ndarray | None]] = {
            "product": read,
            "query": {} if self.two_sided else read,
        }
        seen: dict[str, np.ndarray | None] = {}
        self._photos: dict[Side, dict[str, np.ndarray | None]] = {
            "product": seen,
            "query": {} if self.two_sided else seen,
        }

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        """(N, dims) float32, L2-normalised: see `fuse`; what is hidden is neither read nor seen."""
        shown = [hide_fields(item, hide) for item in items]
        return self._fused(
            [item.product.product_id for item in shown],
            [product_sentence(item.product) for item in shown],
            [item.photos for item in shown],
            "product",
        )

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        """(N, dims) float32, L2-normalised, by the same rule."""
        asked = list(items)
        return self._fused(
            [item.query_id for item in asked],
            [item.text or "" for item in asked],
            [(item.photo,) if item.photo else () for item in asked],
            "query",
        )

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        """(N, dims) float32, L2-normalised, each label in the prompt.

        Raises:
            ModelError: The encoder reads no text.
        """
        if "text" not in self.modalities:
            raise ModelError(f"{self.name} reads no text", where="embed_labels", allowed="photographs")
        labels = list(texts)
        return self._fused(labels, [self.label_prompt.format(text) for text in labels], [()] * len(labels), "query")

    @abstractmethod
    def read_texts(self, texts: Sequence[str], side: Side = "query") -> np.ndarray:
        """(N, dims) of one batch of texts that are not empty; of any length, 0 where it can make nothing of a text.

        Args:
            texts: N >= 1.
            side: Which prompt an encoder with two of them uses; the others pay no heed. Labels are queries.
        """

    @abstractmethod
    def see_images(self, images: Sequence[Image.Image], side: Side = "query") -> np.ndarray:
        """(N, dims) of one batch of RGB pictures; of any length."""

    def _fused(
        self, ids: Sequence[str], texts: Sequence[str], photos: Sequence[Sequence[Photo]], side: Side
    ) -> np.ndarray:
        reads, sees = "text" in self.modalities, "image" in self.modalities
        asked = {text: text for text in texts if text} if reads else {}
        words = self._remembered(self._texts[side], asked, partial(self.read_texts, side=side))
        shown = {photo_key(photo): photo for own in photos for photo in own} if sees else {}
        seen = self._remembered(self._photos[side], shown, partial(self._see, side=side))
        nowhere = self.nowhere(side)
        rows = [
            fuse(words.get(text), [one for photo in own if (one := seen.get(photo_key(photo))) is not None], nowhere)
            for text, own in zip(texts, photos, strict=True)
        ]
        vectors = np.asarray(rows, dtype=np.float32).reshape(len(rows), self.dims)
        return check_vectors(vectors, ids, self.dims, self.name)

    def _see(self, photos: Sequence[Photo], side: Side) -> np.ndarray:
        return self.see_images([photo.load() for photo in photos], side)

    def _remembered(
        self, kept: dict[str, np.ndarray | None], asked: dict[str, Key], make: Callable[[Sequence[Key]], np.ndarray]
    ) -> dict[str, np.ndarray | None]:
        """Unit vectors by key, None for zero; those not seen before are made in batches, long ones together."""
        found = {key: kept[key] for key in asked if key in kept}
        new = sorted((key for key in asked if key not in kept), key=lambda key: (len(key), key))
        for start in range(0, len(new), self.batch_size):
            keys = new[start : start + self.batch_size]
            for key, row in zip(keys, make([asked[key] for key in keys]), strict=True):
                found[key] = unit(np.asarray(row, dtype=np.float64))
                if found[key] is None:
                    self._tell_zero()
                if len(kept) < MAX_KEPT:
                    kept[key] = found[key]
        return found

    def _tell_zero(self) -> None:
        if not self._told:
            self._told = True
            logger.warning("%s gave a zero vector, which has no direction: it counts as none (said once)", self.name)

    def nowhere(self, side: Side) -> np.ndarray:
        """Where an item with nothing to read lies: an arbitrary direction that depends on the side alone."""
        state = hashlib.sha256(f"nowhere:{side}:{self.dims}".encode()).digest()
        row = np.random.default_rng(int.from_bytes(state[:16])).standard_normal(self.dims)
        return np.asarray(row / np.linalg.norm(row))


def digest_of(*parts: object) -> str:
    """Digest of an encoder from all that its vectors depend on; the rule of fusion included."""
    return hashlib.sha256("\x00".join(map(str, (_RULE, *parts))).encode()).hexdigest()


class CutTexts:
    """Counts the texts that a token limit cuts, and tells the user once."""

    def __init__(self, who: str, max_tokens: int) -> None:
        self._who, self._max_tokens, self._told = who, max_tokens, False

    def look(self, num_tokens: Iterable[int]) -> None:
        """Warn at the first batch that holds a text of more tokens than the limit."""
        cut = sum(count > self._max_tokens for count in num_tokens)
        if cut and not self._told:
            self._told = True
            logger.warning(
                "%s reads %d tokens of a text: longer ones lose their end (said once; %d in this batch)",
                self._who,
                self._max_tokens,
                cut,
            )


def photo_key(photo: Photo) -> str:
    """What tells one photograph from another: the digest of its bytes."""
    return photo.digest or hashlib.sha256(photo.read_bytes()).hexdigest()


def unit(row: np.ndarray) -> np.ndarray | None:
    """The vector's direction; none where it is zero."""
    norm = float(np.linalg.norm(row))
    return None if norm == 0.0 else row / norm
