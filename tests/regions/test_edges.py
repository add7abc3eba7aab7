from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from catalog import Box
from models.regions import NOTHING_KNOWN, Candidate, RegionsConfig, Wanted, box_iou, make_detector
from models.regions.config import EdgesConfig
from models.regions.edges import EdgeDetector, snap_box
from tests.regions.pictures import background, with_rectangle

_CFG = EdgesConfig()
_TRUE: Box = (60, 50, 150, 180)


class FixedDetector:
    """Gives the boxes it was made with."""

    digest = "fixed"

    def __init__(self, candidates: list[Candidate]) -> None:
        self.candidates = candidates

    def prompt(self, wanted: Wanted) -> str:
        return wanted.title or ""

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        return [list(self.candidates) for _ in images]


def _moved(box: Box, shares: Sequence[float]) -> Box:
    width, height = box[2] - box[0], box[3] - box[1]
    values = [edge + share * (width, height)[i % 2] for i, (edge, share) in enumerate(zip(box, shares, strict=True))]
    return (values[0], values[1], values[2], values[3])


@pytest.mark.parametrize("kind", ["plain", "white", "gradient", "noise"])
@given(outwards=st.lists(st.floats(-0.05, 0.09), min_size=4, max_size=4))
def test_edges_nearby_are_found_to_a_few_pixels(kind: str, outwards: list[float]) -> None:
    image = with_rectangle(background(kind, (240, 260)), _TRUE)
    shares = [-outwards[0], -outwards[1], outwards[2], outwards[3]]
    found = snap_box(image, _moved(_TRUE, shares), _CFG)
    assert np.abs(np.subtract(found, _TRUE)).max() <= 3.5


def test_an_edge_never_moves_farther_than_its_reach() -> None:
    image = with_rectangle(background("plain", (240, 260)), _TRUE)
    start = _moved(_TRUE, (0.0, 0.3, 0.0, 0.0))
    found = snap_box(image, start, EdgesConfig(reach_frac=0.1))
    assert abs(found[1] - start[1]) <= 0.1 * (start[3] - start[1])
    assert snap_box(image, start, EdgesConfig(reach_frac=0.0))[1] == start[1]


def test_a_picture_of_one_colour_moves_nothing_far() -> None:
    image = Image.new("RGB", (240, 260), (90, 90, 90))
    found = snap_box(image, _TRUE, _CFG)
    assert box_iou(found, _TRUE) > 0.7


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.05, 1), st.floats(0.05, 1)),
    st.integers(0, 9),
)
def test_any_box_stays_inside_and_is_not_empty(width: int, height: int, part: tuple[float, ...], seed: int) -> None:
    image = background("noise", (width, height), seed)
    box = (part[0] * width, part[1] * height, 0.0, 0.0)
    box = (box[0], box[1], box[0] + part[2] * (width - box[0]), box[1] + part[3] * (height - box[1]))
    found = snap_box(image, box, EdgesConfig(reach_frac=0.5))
    assert 0 <= found[0] < found[2] <= width
    assert 0 <= found[1] < found[3] <= height


def test_no_edge_ends_a_rounding_error_outside() -> None:
    # Scaled to 160 px and back, some of these widths come out larger by the last bit.
    for side in range(161, 700, 7):
        image = with_rectangle(background("white", (side, 64)), (side // 3, 8, side, 56))
        assert snap_box(image, (side / 3.2, 8.0, side - 1.0, 56.0), _CFG)[2] <= side


def test_a_banner_and_a_thread_are_survived() -> None:
    for size in ((20_000, 12), (12, 20_000), (500, 1), (1, 500)):
        image = Image.new("RGB", size, (200, 10, 10))
        box = (0.0, 0.0, float(size[0]), float(size[1]))
        assert snap_box(image, box, _CFG) == pytest.approx(box)


def test_order_scores_and_labels_are_the_bases() -> None:
    image = with_rectangle(background("plain", (240, 260)), _TRUE)
    near, unsure = _moved(_TRUE, (0.05, 0.05, -0.05, 0.05)), _moved(_TRUE, (-0.05, 0.05, 0.05, 0.0))
    base = FixedDetector([Candidate(near, 0.9, "garment", 0.3), Candidate(unsure, 0.3)])
    detector = EdgeDetector(base, _CFG)
    (first, second), *others = detector.detect([image, image], [NOTHING_KNOWN] * 2)
    assert (first.score, first.label, first.agreement) == (0.9, "garment", 0.3)
    assert box_iou(first.box, _TRUE) > 0.95 > box_iou(near, _TRUE)
    assert second == base.candidates[1], "no chooser takes one so much less sure"
    assert others == [[first, second]]
    assert detector.prompt(Wanted("mug")) == "mug"
    assert pickle.loads(pickle.dumps(detector)).detect([image], [NOTHING_KNOWN]) == [[first, second]]  # noqa: S301


def test_the_digest_follows_base_and_parameters() -> None:
    base, other = FixedDetector([]), FixedDetector([])
    other.digest = "other"
    digests = {EdgeDetector(one, cfg).digest for one in (base, other) for cfg in (_CFG, EdgesConfig(reach_frac=0.1))}
    assert len(digests) == 4
    assert EdgeDetector(base, EdgesConfig(enabled=False)).digest == EdgeDetector(base, _CFG).digest


def test_saliency_and_none_go_without() -> None:
    for backend in ("saliency", "none"):
        on, off = (
            make_detector(RegionsConfig.model_validate({"backend": backend, "edges": {"enabled": enabled}}))
            for enabled in (True, False)
        )
        assert on.digest == off.digest
