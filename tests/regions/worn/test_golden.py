"""Boxes of the worn stage, pinned: the cache of candidates hangs on its version."""

from __future__ import annotations

from catalog.demo.palette import COLOURS
from models.regions import RegionsConfig, Wanted, make_detector
from tests.regions.worn.people import SKINS, standing

_WHY = "a box of the worn stage changed: raise WORN_VERSION in models/regions/worn/detector.py, then change this test"

_DIGEST = "1a263f6a7370e0d0f3564e984ebec4f2af032b288d930a996b0ff9510dc673c0"
_BOXES = [(90.0, 72.0, 210.0, 186.0, 0.98, "garment"), (114.0, 186.0, 186.0, 282.0, 0.98, "garment")]


def test_the_stage_is_pinned() -> None:
    person = standing(SKINS["medium"], COLOURS["blue"], COLOURS["grey"])
    detector = make_detector(RegionsConfig())
    found = [detector.detect([person.image], [wanted])[0][0] for wanted in (Wanted("Tee"), Wanted("Shorts"))]
    got = [(*(round(value, 1) for value in one.box), round(one.score, 2), one.label) for one in found]
    assert detector.digest == _DIGEST, _WHY
    assert got == _BOXES, _WHY
