from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from catalog import Box
from models.regions import NOTHING_KNOWN, Candidate, RegionsConfig, SaliencyConfig, Wanted, box_iou, make_detector
from tests.regions.pictures import background, with_rectangle


def _find(image: Image.Image, **settings_: object) -> list[Candidate]:
    return make_detector(RegionsConfig(**settings_)).detect([image], [NOTHING_KNOWN])[0]


@pytest.mark.parametrize("kind", ["plain", "white", "gradient", "noise"])
@pytest.mark.parametrize(
    ("size_px", "box"),
    [
        ((320, 240), (60, 50, 200, 190)),
        ((240, 320), (100, 30, 180, 290)),
        ((160, 160), (20, 90, 140, 140)),
        ((900, 900), (300, 300, 620, 700)),
    ],
)
@pytest.mark.parametrize("colour", [(190, 30, 40), (20, 30, 120), (10, 90, 40)])
def test_a_rectangle_is_found(kind: str, size_px: tuple[int, int], box: Box, colour: tuple[int, int, int]) -> None:
    found = _find(with_rectangle(background(kind, size_px), box, colour))
    assert box_iou(found[0].box, box) >= 0.9


@pytest.mark.parametrize("value", [0, 90, 255])
@pytest.mark.parametrize("size_px", [(160, 160), (1, 1), (300, 40)])
def test_a_uniform_picture_has_no_candidate(value: int, size_px: tuple[int, int]) -> None:
    assert _find(Image.new("RGB", size_px, (value, value, value))) == []


def test_noise_alone_has_no_candidate() -> None:
    assert _find(background("noise", (200, 200))) == []


@pytest.mark.parametrize("size_px", [(20_000, 1), (1, 20_000), (20_000, 3), (3, 3), (7, 300), (8, 8)])
def test_extreme_sizes_are_handled(size_px: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size_px[1], size_px[0], 3), dtype=np.uint8)
    for candidate in _find(Image.fromarray(pixels)):
        _assert_inside(candidate.box, size_px)


def test_a_wide_banner_keeps_its_object() -> None:
    box = (1200.0, 20.0, 1700.0, 180.0)
    found = _find(with_rectangle(background("plain", (3000, 200)), box))
    assert box_iou(found[0].box, box) >= 0.7


def test_two_like_objects_come_as_parts_and_as_a_pair() -> None:
    left, right = (40.0, 80.0, 120.0, 200.0), (180.0, 80.0, 260.0, 200.0)
    image = with_rectangle(with_rectangle(background("plain", (300, 280)), left), right)
    found = [candidate.box for candidate in _find(image)]
    for wanted in (left, right, (40.0, 80.0, 260.0, 200.0)):
        assert max(box_iou(wanted, box) for box in found) >= 0.85
    assert box_iou(found[0], (40.0, 80.0, 260.0, 200.0)) >= 0.85, "the pair of shoes is one product"


def test_a_small_badge_does_not_win_over_the_product() -> None:
    product = (90.0, 70.0, 230.0, 280.0)
    image = with_rectangle(with_rectangle(background("plain", (320, 320)), product, (30, 60, 130)), (4, 4, 50, 30))
    assert box_iou(_find(image)[0].box, product) >= 0.8


def test_an_object_cut_by_the_frame_is_found() -> None:
    box = (60.0, 100.0, 180.0, 240.0)
    assert box_iou(_find(with_rectangle(background("plain", (240, 240)), box))[0].box, box) >= 0.85


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(8, 200), st.integers(8, 200), st.integers(1, 8))
def test_any_picture_gives_ordered_boxes_inside_it(seed: int, width: int, height: int, num_candidates: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (rng.integers(1, 6), rng.integers(1, 6), 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    found = _find(image, num_candidates=num_candidates)
    assert len(found) <= num_candidates
    assert [candidate.score for candidate in found] == sorted((c.score for c in found), reverse=True)
    for index, candidate in enumerate(found):
        assert 0.0 <= candidate.score <= 1.0
        _assert_inside(candidate.box, image.size)
        assert all(box_iou(candidate.box, other.box) < 0.85 for other in found[:index])


@settings(max_examples=15, deadline=None)
@given(st.integers(10, 120), st.integers(10, 120), st.integers(40, 100), st.integers(40, 100))
def test_a_mirrored_picture_gives_mirrored_boxes(x0: int, y0: int, width: int, height: int) -> None:
    box = (float(x0), float(y0), float(x0 + width), float(y0 + height))
    image = with_rectangle(background("noise", (240, 232)), box)
    plain, mirrored = _find(image)[0].box, _find(ImageOps.mirror(image))[0].box
    back = (image.width - mirrored[2], mirrored[1], image.width - mirrored[0], mirrored[3])
    assert box_iou(plain, back) >= 0.9


@settings(max_examples=15, deadline=None)
@given(st.integers(10, 90), st.integers(10, 90), st.integers(40, 100), st.integers(40, 100), st.floats(1.0, 6.0))
def test_an_enlarged_picture_gives_enlarged_boxes(x0: int, y0: int, width: int, height: int, factor: float) -> None:
    image = with_rectangle(background("gradient", (200, 210)), (x0, y0, x0 + width, y0 + height))
    large = image.resize((round(200 * factor), round(210 * factor)), Image.Resampling.BICUBIC)
    small_box, large_box = _find(image)[0].box, _find(large)[0].box
    # Boxes lie on the working grid: an edge between two of its lines falls to either, and enlarging blurs it besides.
    cell_px = 210 / (SaliencyConfig().side_px - 1)
    assert all(abs(a - b / factor) <= 1.5 * cell_px for a, b in zip(small_box, large_box, strict=True))


def test_the_answer_does_not_hang_on_the_batch() -> None:
    images = [with_rectangle(background("noise", (120, 100), seed), (30, 20, 80, 70)) for seed in range(4)]
    detector = make_detector(RegionsConfig())
    together = detector.detect(images, [NOTHING_KNOWN] * 4)
    assert together == [detector.detect([image], [Wanted("any title")])[0] for image in images]


def test_the_digest_follows_every_parameter() -> None:
    configs = [
        RegionsConfig(),
        RegionsConfig(num_candidates=4),
        RegionsConfig(saliency=SaliencyConfig(side_px=96)),
        RegionsConfig(saliency=SaliencyConfig(border_frac=0.05)),
    ]
    assert len({make_detector(cfg).digest for cfg in configs}) == len(configs)
    assert make_detector(RegionsConfig()).digest == make_detector(RegionsConfig()).digest


def _assert_inside(box: Box, size_px: tuple[int, int]) -> None:
    assert 0.0 <= box[0] < box[2] <= size_px[0]
    assert 0.0 <= box[1] < box[3] <= size_px[1]
