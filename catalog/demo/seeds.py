"""One seed for every thing that is drawn, so that order and number of processes cannot matter."""

from __future__ import annotations

import hashlib
import random

import numpy as np


def seed_of(*parts: object) -> int:
    """A 63-bit number that depends on `parts` alone, the same on every machine and Python."""
    text = "\x00".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def rng_of(*parts: object) -> random.Random:
    """Python's generator for choices."""
    return random.Random(seed_of(*parts))


def noise_of(*parts: object) -> np.random.Generator:
    """numpy's generator for whole fields of noise."""
    return np.random.default_rng(seed_of(*parts))
