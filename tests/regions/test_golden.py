"""A result that changes must change its version: caches, lineages and served models hang on the digests."""

from __future__ import annotations

import numpy as np
from PIL import Image

from models.regions import NOTHING_KNOWN, Candidate, RegionsConfig, Wanted, WornConfig, make_chooser, make_detector

_WHY = "the result changed: raise SALIENCY_VERSION (or RULE_VERSION), then pin the new values here"

_SALIENCY_DIGEST = "9303b5cb4dd1adf25d4eb47ae902addb460cfa00c6dd7333acf0d1879f7f7812"
_SALIENCY_BOXES = [
    (46.0, 56.0, 136.0, 144.0, 0.74),
    (46.0, 56.0, 184.0, 144.0, 0.68),
    (150.0, 60.0, 184.0, 140.0, 0.23),
]
_RULE_DIGEST = "c173d1eea05b6df578558c80b95168bec8d479f20586346b1b7f9bf812f94c0e"
_RULE_BOX = (57.6, 27.6, 182.4, 152.4)
_PAIR_BOX = (17.42, 57.42, 190.58, 152.58)


def _golden_picture() -> Image.Image:
    """A textured ground, a disc, a bar of two colours and a badge; from integer formulas alone."""
    y, x = np.mgrid[0:180, 0:240]
    pixels = np.stack([170 + (x * 7 + y * 3) % 23, 160 + (x * 5 + y * 11) % 19, 150 + x // 8], axis=-1)
    pixels[(x - 90) ** 2 + (y - 100) ** 2 < 45**2] = (40, 70, 150)
    pixels[60:140, 150:170] = (150, 30, 40)
    pixels[60:100, 170:185] = (20, 90, 50)
    pixels[4:24, 200:236] = (250, 220, 20)
    return Image.fromarray(pixels.astype(np.uint8))


def test_saliency_is_pinned() -> None:
    detector = make_detector(RegionsConfig(worn=WornConfig(enabled=False)))
    found = detector.detect([_golden_picture()], [NOTHING_KNOWN])[0]
    got = [(*(round(value, 1) for value in candidate.box), round(candidate.score, 2)) for candidate in found]
    assert detector.digest == _SALIENCY_DIGEST, _WHY
    assert got == _SALIENCY_BOXES, _WHY


def test_the_rule_is_pinned() -> None:
    chooser = make_chooser(RegionsConfig())
    candidates = [Candidate((10, 20, 60, 160), 0.7), Candidate((60, 30, 180, 150), 0.68), Candidate((0, 0, 9, 9), 0.9)]
    core = chooser.choose(candidates, (240, 180), Wanted("Blue plate", ("Kitchen", "Plates")))
    assert chooser.digest == _RULE_DIGEST, _WHY
    assert tuple(round(value, 2) for value in core.box) == _RULE_BOX, _WHY
    halves = [Candidate((20, 60, 100, 150), 0.7), Candidate((110, 64, 188, 150), 0.68)]
    pair = chooser.choose(halves, (240, 180), Wanted("Blue boots"))
    assert tuple(round(value, 2) for value in pair.box) == _PAIR_BOX, _WHY
