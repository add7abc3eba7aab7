"""Codes of tokens: always the same, nearly orthogonal, and pooled they tell which words two texts share."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from models.codes import token_codes


def _splitmix(x: int) -> int:
    """The hash in plain integers, as its authors give it."""
    mask = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def test_codes_are_bits_of_the_published_hash() -> None:
    codes = token_codes(7, 9)
    for token in range(7):
        expected = [1 if _splitmix((token << 20) + place) >> 63 else -1 for place in range(9)]
        assert codes[token].tolist() == expected
    # First output of SplitMix64 seeded with 0, from its reference implementation.
    assert _splitmix(0) == 0xE220A8397B1DCDAF


def test_a_longer_code_and_a_larger_vocabulary_change_nothing_before_them() -> None:
    assert torch.equal(token_codes(400, 64)[:100, :16], token_codes(100, 16))
    assert token_codes(5, 0).shape == (5, 0)


def test_codes_are_balanced_and_nearly_orthogonal() -> None:
    codes_VC = token_codes(600, 256).float()
    assert abs(float(codes_VC.mean())) < 0.01
    cosines_VV = (codes_VC @ codes_VC.T) / 256 - torch.eye(600)
    # Of independent signs the cosine has deviation 1 / 16; among 180,000 pairs the largest lies near 4.8 of those.
    assert float(cosines_VV.std()) < 0.066
    assert float(cosines_VV.abs().max()) < 6.0 / 16


def test_pooled_codes_agree_as_far_as_texts_share_tokens() -> None:
    codes_VC = token_codes(4000, 256).float()
    draw = torch.Generator().manual_seed(0)
    for shared in (0, 3, 6, 9, 12):
        found = []
        for _ in range(40):
            tokens = torch.randperm(4000, generator=draw)[: 24 - shared]
            one, other = tokens[:12], torch.cat((tokens[:shared], tokens[12:]))
            found.append(F.cosine_similarity(codes_VC[one].mean(0), codes_VC[other].mean(0), dim=0))
        assert abs(float(torch.stack(found).mean()) - shared / 12) < 0.05
