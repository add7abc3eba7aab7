"""Fingerprints know a picture again after rescaling and recompression, and tell different ones apart."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from catalog import likeness
from catalog.likeness import Fingerprint, colour_grid, fingerprint, near_identical_pairs, perceptual_hash


def scene(seed):
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (200, 160), tuple(int(v) for v in rng.integers(120, 255, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = (int(v) for v in rng.integers(0, 150, 4))
        draw.ellipse((x, y, x + w + 10, y + h + 10), fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
    return image


def resaved(image):
    buffer = io.BytesIO()
    image.resize((int(image.width * 0.7), int(image.height * 0.7))).save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


def brute_force(prints, max_bits_frac, max_levels):
    return {
        (i, j)
        for i, one in enumerate(prints)
        for j, other in enumerate(prints)
        if i < j
        and np.sum(one.bits != other.bits) <= int(max_bits_frac * 256)
        and np.mean(np.abs(one.colours.astype(float) - other.colours.astype(float))) <= max_levels
    }


def pairs_of(prints, *limits):
    found = [(int(a), int(b)) for i, j in near_identical_pairs(prints, *limits) for a, b in zip(i, j, strict=True)]
    assert len(found) == len(set(found))
    return set(found)


def test_copies_are_found_and_nothing_else():
    originals = [scene(seed) for seed in range(30)]
    prints = [fingerprint(image) for image in (*originals, *map(resaved, originals))]
    assert pairs_of(prints) == {(n, n + 30) for n in range(30)}


@pytest.mark.parametrize("block", [(1, 1), (3, 5), (256, 4096)])
def test_blocks_equal_brute_force(monkeypatch, block):
    monkeypatch.setattr(likeness, "_BLOCK_ROWS", block[0])
    monkeypatch.setattr(likeness, "_BLOCK_COLUMNS", block[1])
    rng = np.random.default_rng(0)
    base = rng.random((6, 256)) < 0.5
    prints = [
        Fingerprint(base[n % 6] ^ (rng.random(256) < 0.03), rng.integers(100, 104, 192).astype(np.uint8))
        for n in range(40)
    ]
    expected = brute_force(prints, 0.06, 1.25)
    assert 0 < len(expected) < 40 * 39 / 2
    assert pairs_of(prints, 0.06, 1.25) == expected


def test_recoloured_silhouette_is_another_picture():
    red, blue = (Image.new("RGB", (90, 90), "white") for _ in range(2))
    ImageDraw.Draw(red).rectangle((20, 20, 60, 80), fill=(200, 40, 40))
    ImageDraw.Draw(blue).rectangle((20, 20, 60, 80), fill=(40, 40, 200))
    assert np.mean(perceptual_hash(red) != perceptual_hash(blue)) <= 0.06
    assert pairs_of([fingerprint(red), fingerprint(blue)]) == set()


def test_shapes_and_flat_noise():
    noisy = Image.fromarray((250 + np.random.default_rng(0).integers(0, 2, (160, 160, 3))).astype(np.uint8))
    assert not perceptual_hash(noisy).any()
    assert perceptual_hash(noisy).shape == (256,)
    assert colour_grid(noisy.convert("L")).shape == (192,)
    assert list(near_identical_pairs([])) == []
    assert pairs_of([fingerprint(noisy)]) == set()
