"""A fixed random code for every token: the raw signal that says which words stand in a text, and nothing more.

Embeddings of tokens lie where alike words lie close, which is what a search by meaning wants and what blurs one
product's rare word into another's. Random codes are nearly orthogonal, so the pooled codes of two texts agree as far as
the texts share tokens.

Shape suffixes: V tokens of the vocabulary, C code dimensions.
"""

from __future__ import annotations

import numpy as np
import torch

MAX_WIDTH = 256
_STREAM = 1 << 20


def token_codes(vocab_size: int, width: int) -> torch.Tensor:
    """(V, C) int8 of -1 and 1, the same on every machine and in every version: a hash, no random generator.

    Args:
        vocab_size: Entries of the tokenizer.
        width: Length of a code.

    Source: Achlioptas, Database-friendly random projections, 2003; the hash is SplitMix64 (Steele et al., 2014).
    """
    assert 0 <= width <= _STREAM
    places_VC = np.arange(vocab_size, dtype=np.uint64)[:, None] * np.uint64(_STREAM) + np.arange(width, dtype=np.uint64)
    bits_VC = _mixed(places_VC) >> np.uint64(63)
    return torch.from_numpy(bits_VC.astype(np.int8) * np.int8(2) - np.int8(1))


def _mixed(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
