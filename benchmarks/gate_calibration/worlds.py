"""Pairs of encoders on one evaluation set, made up so that their true scores are known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr, ndtri

SHARED_GROUP = 0.35
"""Share of a latent value's variance that is how hard a group is, for both encoders alike."""
SHARED_ITEM = 0.35
"""Share that is how hard an item is, for both."""
OWN_GROUP = 0.1
"""Share that is how one encoder alone takes a group; what is left of 1 is how it takes the item."""
POOL = 100
"""Products that a reciprocal rank is among."""
_NORMAL = NormalDist()
_GRID = ndtri((np.arange(200_000) + 0.5) / 200_000)

LAYOUTS: dict[str, tuple[int, ...]] = {
    "30 x 1": (1,) * 30,
    "8 x 4": (4,) * 8,
    "80 x 1": (1,) * 80,
    "20 x 4": (4,) * 20,
    "240 x 1": (1,) * 240,
    "60 x 4": (4,) * 60,
    "1000 x 1": (1,) * 1000,
    "250 x 4": (4,) * 250,
    "Luma, photos": (1,) * 28,
    "Luma, categories": (1,) * 9 + (3,) * 24,
    "demo, categories": (1,) * 40 + (2,) * 22 + (3,) * 8 + (4,) * 7,
    "demo, photos": tuple(
        size
        for size, times in ((2, 31), (3, 9), (4, 12), (5, 8), (6, 4), (7, 5), (8, 4), (9, 2), (10, 2))
        for _ in range(times)
    ),
}
"""Items of each group. Those of Luma and the demo are the test sides that docs/RESULTS.md was measured on."""


@dataclass(frozen=True)
class World:
    """An evaluation set and two encoders whose answers go together as those of real ones do.

    A latent value, standard normal, is the sum of what the group, the item, and the encoder by itself contribute. A hit
    is a value above a threshold; a reciprocal rank is a function of the value. So an encoder's true score is its
    marginal, the same for all groups, whatever the shares of variance are.
    """

    layout: str
    """Key of `LAYOUTS`."""
    kind: str = "hits"
    """`hits` or `ranks`, the latter reciprocal."""
    score: float = 0.7
    """True score of the better encoder; that of ranks is given by the pool."""
    own_group: tuple[float, float] = (OWN_GROUP, OWN_GROUP)
    """Ours, theirs. Where they differ the two are equally good and yet no two coins: the differences are skewed."""

    @property
    def sizes(self) -> np.ndarray:
        """(G,) items of each group."""
        return np.array(LAYOUTS[self.layout])

    @property
    def title(self) -> str:
        """What kind of values, and of how unlike a pair."""
        kind = f"hits, {self.score:g}" if self.kind == "hits" else "reciprocal ranks"
        ours, theirs = self.own_group
        return kind if ours == theirs else f"{kind}, own {ours:g}/{theirs:g}"

    def draw(self, num_pairs: int, drop: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Values of ours and theirs on fresh items, (pairs, n) each; ours is truly worse by `drop`."""
        groups = np.repeat(np.arange(len(self.sizes)), self.sizes)
        per_group, per_item = (num_pairs, len(self.sizes)), (num_pairs, len(groups))
        shared = math.sqrt(SHARED_GROUP) * generator.standard_normal(per_group)[:, groups]
        shared += math.sqrt(SHARED_ITEM) * generator.standard_normal(per_item)
        latent = []
        for own in self.own_group:
            left = 1.0 - SHARED_GROUP - SHARED_ITEM - own
            by_group = math.sqrt(own) * generator.standard_normal(per_group)[:, groups]
            latent.append(shared + by_group + math.sqrt(left) * generator.standard_normal(per_item))
        if self.kind == "hits":
            marks = (_NORMAL.inv_cdf(1.0 - self.score + loss) for loss in (drop, 0.0))
            ours, theirs = (value > mark for value, mark in zip(latent, marks, strict=True))
            return ours.astype(np.float64), theirs.astype(np.float64)
        return reciprocal_rank(latent[0] - shift_for(drop)), reciprocal_rank(latent[1])


def reciprocal_rank(latent: np.ndarray) -> np.ndarray:
    """1, 1/2, 1/3, .. 1/100 for a standard normal value; its mean is 0.24 and every tenth is a 1."""
    return np.asarray(1.0 / np.ceil(POOL * (1.0 - ndtr(latent)) ** 2 + 1e-12))


def shift_for(drop: float) -> float:
    """How far the latent value must move for the mean reciprocal rank to fall by `drop`; by halving."""
    if not drop:
        return 0.0
    wanted, low, high = float(reciprocal_rank(_GRID).mean()) - drop, 0.0, 5.0
    for _ in range(40):
        middle = (low + high) / 2.0
        enough = float(reciprocal_rank(_GRID - middle).mean()) <= wanted
        low, high = (low, middle) if enough else (middle, high)
    return high
