"""What a false-negative mask needs to know of a query or a candidate, as integers.

Strings stay on the machine that read them; codes travel to the GPU, into the queue's checkpoint and to other ranks.

Shape suffixes: N rows, A accepted products (padded), F photographs (padded).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from typing import Self

import torch

EMPTY = 0
"""Code of "nothing": no photograph, padding, a queue entry without a product. It equals nothing, not even itself."""


def code_of(text: str) -> int:
    """A number for a string, the same in every process, on every machine and in every run.

    Returns:
        63 bits of its SHA-256, so that it fits a signed int64; `EMPTY` for the empty string and for no other. Among ten
        million different strings the chance of any two sharing a code is about 5e-6.
    """
    if not text:
        return EMPTY
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1) or 1


def codes_of(texts: Iterable[str]) -> torch.Tensor:
    """Codes of strings; (N,) int64."""
    return torch.tensor([code_of(text) for text in texts], dtype=torch.int64)


def padded_codes(sets: Sequence[AbstractSet[str]]) -> torch.Tensor:
    """Codes of what each row lists, padded with `EMPTY`; (rows, length of the longest) int64."""
    rows = [sorted(code_of(text) for text in texts if text) for texts in sets]
    width = max((len(row) for row in rows), default=0)
    return torch.tensor([row + [EMPTY] * (width - len(row)) for row in rows], dtype=torch.int64).view(len(rows), width)


@dataclass(frozen=True)
class KeyCodes:
    """Codes that queries and candidates have alike; a query has those of the product that answered it."""

    product_N: torch.Tensor
    group_N: torch.Tensor
    """Variants of one article share it."""
    category_N: torch.Tensor
    """Down to the level at which negatives count as hard; `EMPTY` where unknown."""

    def __len__(self) -> int:
        return len(self.product_N)

    def to(self, device: torch.device | str) -> Self:
        """The same codes on another device."""
        return type(self)(**{name: value.to(device) for name, value in vars(self).items()})

    def table(self) -> torch.Tensor:
        """All columns side by side, lists last, so that padding on the right is padding of the lists."""
        *single, listed = vars(self).values()
        return torch.cat((torch.stack(single, dim=1), listed), dim=1)

    @classmethod
    def of_table(cls, table: torch.Tensor) -> Self:
        """The inverse of `table`."""
        names = [field.name for field in fields(cls)]
        num = len(names) - 1
        return cls(**dict(zip(names, (*table[:, :num].unbind(dim=1), table[:, num:]), strict=True)))

    def rows(self, index_N: torch.Tensor | slice) -> Self:
        """Some of the rows."""
        return type(self)(**{name: value[index_N] for name, value in vars(self).items()})


@dataclass(frozen=True)
class QueryCodes(KeyCodes):
    """What is known of N queries."""

    photo_N: torch.Tensor
    """The photograph that the query shows, or `EMPTY`."""
    accepted_NA: torch.Tensor
    """Every product that answers the query; padded with `EMPTY`."""


@dataclass(frozen=True)
class CandidateCodes(KeyCodes):
    """What is known of N candidates."""

    photos_NF: torch.Tensor
    """All photographs of the product, shown or not; padded with `EMPTY`."""

    def followed_by(self, other: CandidateCodes) -> CandidateCodes:
        """These rows, then the other ones."""
        width = max(self.photos_NF.shape[1], other.photos_NF.shape[1])
        return CandidateCodes(
            torch.cat((self.product_N, other.product_N)),
            torch.cat((self.group_N, other.group_N)),
            torch.cat((self.category_N, other.category_N)),
            torch.cat((widened(self.photos_NF, width), widened(other.photos_NF, width))),
        )


def widened(codes_NF: torch.Tensor, width: int) -> torch.Tensor:
    """Pad with `EMPTY` to `width` columns."""
    return torch.nn.functional.pad(codes_NF, (0, width - codes_NF.shape[1]), value=EMPTY)


def query_codes(
    product_ids: Sequence[str],
    groups: Sequence[str],
    categories: Sequence[str],
    photos: Sequence[str],
    accepted: Sequence[AbstractSet[str]],
) -> QueryCodes:
    """Codes of queries.

    Args:
        product_ids: The product that answered each.
        groups: Its group.
        categories: Its category key.
        photos: Digest of the photograph that the query shows; empty without one.
        accepted: All products that answer the query.
    """
    return QueryCodes(
        codes_of(product_ids), codes_of(groups), codes_of(categories), codes_of(photos), padded_codes(accepted)
    )


def candidate_codes(
    product_ids: Sequence[str], groups: Sequence[str], categories: Sequence[str], photos: Sequence[AbstractSet[str]]
) -> CandidateCodes:
    """Codes of candidates.

    Args:
        product_ids: Id of each.
        groups: Its group.
        categories: Its category key.
        photos: Digests of all its photographs.
    """
    return CandidateCodes(codes_of(product_ids), codes_of(groups), codes_of(categories), padded_codes(photos))
