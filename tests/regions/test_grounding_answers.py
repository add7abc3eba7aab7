from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import Box
from models.regions.grounding_answers import (
    COORDINATES_OF,
    MAX_ANSWER_CHARS,
    Coordinates,
    Grounded,
    Refused,
    box_spans,
    parse_answer,
)

_SIZE, _RESIZED = (400, 200), (280, 140)
PIXELS, RELATIVE = Coordinates.RESIZED_PIXELS, Coordinates.RELATIVE_1000


def _parse(answer: str, coordinates: Coordinates = RELATIVE) -> Grounded | Refused:
    return parse_answer(answer, _SIZE, _RESIZED, coordinates)


def _boxes(answer: str, coordinates: Coordinates = RELATIVE) -> list[Box]:
    read = _parse(answer, coordinates)
    assert isinstance(read, Grounded), read
    return list(read.boxes)


_GOOD = '[{"bbox_2d": [100, 200, 500, 900], "label": "mug"}]'


def test_thousandths_count_width_and_height() -> None:
    assert _boxes(_GOOD) == [(40.0, 40.0, 200.0, 180.0)]


def test_pixels_of_the_resized_picture_are_scaled_back() -> None:
    assert _boxes('[{"bbox_2d": [28, 14, 140, 70], "label": "mug"}]', PIXELS) == [(40.0, 20.0, 200.0, 100.0)]


@pytest.mark.parametrize(
    "answer",
    [
        f"```json\n{_GOOD}\n```",
        f"```\n{_GOOD}\n```",
        f"  \n{_GOOD}\n ",
        f"```json\r\n{_GOOD}\r\n```\n",
        '{"bbox_2d": [100, 200, 500, 900], "label": "mug"}',
        '[{"bbox_2d": [100, 200, 500, 900]}]',
        '[{"label": "красная кружка 马克杯", "bbox_2d": [100.0, 2e2, 500, 900]}]',
    ],
)
def test_these_ways_to_say_it_are_read(answer: str) -> None:
    assert _boxes(answer) == [(40.0, 40.0, 200.0, 180.0)]


def test_several_boxes_keep_their_order() -> None:
    answer = json.dumps([{"bbox_2d": [500, 0, 1000, 500]}, {"bbox_2d": [0, 0, 500, 500]}])
    assert _boxes(answer) == [(200.0, 0.0, 400.0, 100.0), (0.0, 0.0, 200.0, 100.0)]


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ([-100, 200, 500, 900], (0.0, 40.0, 200.0, 180.0)),
        ([500, 200, 1200, 1000], (200.0, 40.0, 400.0, 200.0)),
        ([-3, -3, 1003, 1003], (0.0, 0.0, 400.0, 200.0)),
    ],
)
def test_a_box_that_runs_over_the_edge_is_cut_with_a_note(box: list[int], kept: Box) -> None:
    read = _parse(json.dumps([{"bbox_2d": box}]))
    assert isinstance(read, Grounded)
    assert read.boxes == (kept,)
    assert "cut at the picture's edge" in read.notes[0]


def test_a_box_inside_has_no_note() -> None:
    read = _parse(_GOOD)
    assert isinstance(read, Grounded)
    assert read.notes == ()


def _one(box: object) -> str:
    return json.dumps([{"bbox_2d": box, "label": "mug"}])


MALFORMED = {
    "nothing": ("", "empty"),
    "spaces alone": (" \n\t ", "empty"),
    "prose alone": ("I cannot see a mug in this picture.", "prose"),
    "prose before": (f"Here is the box: {_GOOD}", "prose"),
    "prose after": (f"{_GOOD} I hope that helps.", "prose"),
    "prose around a fence": (f"Sure!\n```json\n{_GOOD}\n```", "prose"),
    "thoughts first": (f"<think>It is red.</think>{_GOOD}", "prose"),
    "marks of the older format": ("<|box_start|>(100,200),(500,900)<|box_end|>", "prose"),
    "two fences": (f"```json\n{_GOOD}\n```\n```json\n{_GOOD}\n```", "several blocks"),
    "two lists": (f"{_GOOD}\n{_GOOD}", "several blocks"),
    "one object a line": ('{"bbox_2d": [1, 2, 3, 4]}\n{"bbox_2d": [5, 6, 7, 8]}', "several blocks"),
    "a fence that never ends": (f"```json\n{_GOOD}", "truncated"),
    "cut in a number": ('[{"bbox_2d": [100, 200, 50', "truncated"),
    "cut in a label": ('[{"bbox_2d": [100, 200, 500, 900], "label": "mu', "truncated"),
    "cut after the box": ('[{"bbox_2d": [100, 200, 500, 900]', "truncated"),
    "trailing comma in the list": ('[{"bbox_2d": [100, 200, 500, 900]},]', "trailing comma"),
    "trailing comma in the box": ('[{"bbox_2d": [100, 200, 500, 900,]}]', "trailing comma"),
    "single quotes": ("[{'bbox_2d': [100, 200, 500, 900]}]", "no JSON"),
    "comments": ('[{"bbox_2d": [100, 200, 500, 900] /* the mug */}]', "no JSON"),
    "plus signs": ('[{"bbox_2d": [+100, 200, 500, 900]}]', "no JSON"),
    "full-width digits": ('[{"bbox_2d": [１００, 200, 500, 900]}]', "no JSON"),
    "an empty list": ("[]", "no object"),
    "an empty object": ("{}", "no object"),
    "numbers alone": ("[100, 200, 500, 900]", "no object with a box"),
    "a list of lists": ("[[100, 200, 500, 900]]", "no object with a box"),
    "null in the list": ("[null]", "no object with a box"),
    "another key": ('[{"bbox": [100, 200, 500, 900]}]', "no box"),
    "a point": ('[{"point_2d": [100, 200], "label": "mug"}]', "no box"),
    "a polygon": ('[{"polygon": [[1, 2], [3, 4], [5, 6]]}]', "no box"),
    "a box one level down": ('[{"object": {"bbox_2d": [100, 200, 500, 900]}}]', "no box"),
    "a dictionary of boxes": ('{"mug": [100, 200, 500, 900]}', "no box"),
    "a key too many": ('[{"bbox_2d": [100, 200, 500, 900], "point_2d": [1, 2]}]', "unknown key"),
    "a label that is no text": ('[{"bbox_2d": [100, 200, 500, 900], "label": 7}]', "label"),
    "a key twice": ('[{"bbox_2d": [1, 2, 3, 4], "bbox_2d": [100, 200, 500, 900]}]', "duplicate key"),
    "the box as text": (_one("100, 200, 500, 900"), "no list of numbers"),
    "the box as an object": (_one({"x1": 100, "y1": 200, "x2": 500, "y2": 900}), "no list of numbers"),
    "no box at all": (_one(None), "no list of numbers"),
    "three numbers": (_one([100, 200, 500]), "not four numbers"),
    "five numbers": (_one([100, 200, 500, 900, 1]), "not four numbers"),
    "no numbers": (_one([]), "not four numbers"),
    "corners as pairs": (_one([[100, 200], [500, 900]]), "not four numbers"),
    "numbers as text": (_one(["100", "200", "500", "900"]), "not numbers"),
    "booleans": (_one([True, False, True, True]), "not numbers"),
    "null for a number": (_one([100, None, 500, 900]), "not numbers"),
    "NaN": ('[{"bbox_2d": [NaN, 200, 500, 900]}]', "not finite"),
    "Infinity": ('[{"bbox_2d": [100, 200, Infinity, 900]}]', "not finite"),
    "minus Infinity": ('[{"bbox_2d": [-Infinity, 200, 500, 900]}]', "not finite"),
    "an exponent without end": ('[{"bbox_2d": [100, 200, 1e999, 900]}]', "not finite"),
    "a huge number": (_one([100, 200, 10**30, 900]), "huge number"),
    "a number above every float": (_one([100, 200, 10**400, 900]), "huge number"),
    "a number of 5,000 digits": ('[{"bbox_2d": [100, 200, ' + "9" * 5000 + ", 900]}]", "huge number"),
    "shares from 0 to 1": (_one([0.1, 0.2, 0.5, 0.9]), "fractions"),
    "the whole as shares": (_one([0, 0, 1, 1]), "fractions"),
    "no width": (_one([100, 200, 100, 900]), "empty box"),
    "no height": (_one([100, 200, 500, 200]), "empty box"),
    "left and right swapped": (_one([500, 200, 100, 900]), "swapped corners"),
    "top and bottom swapped": (_one([100, 900, 500, 200]), "swapped corners"),
    "width and height for the second corner": (_one([600, 700, 300, 200]), "swapped corners"),
    "wholly to the right": (_one([1100, 200, 1500, 900]), "outside"),
    "wholly above": (_one([100, -900, 500, -200]), "outside"),
    "mostly below": (_one([100, 900, 500, 1500]), "outside"),
    "one box good, one not": (json.dumps([{"bbox_2d": [1, 2, 30, 40]}, {"bbox_2d": [1, 2]}]), "not four numbers"),
    "fifty-one boxes": (json.dumps([{"bbox_2d": [1, 2, 30, 40]}] * 51), "too many boxes"),
    "five levels": ('[{"bbox_2d": [[[100]], 200, 500, 900]}]', "nested"),
    "a thousand levels": ("[" * 1000 + "]" * 1000, "nested"),
    "a megabyte": ("[" * 1_000_000, "too long"),
    "a megabyte of boxes": ("[" + ", ".join([_GOOD[1:-1]] * 20_000) + "]", "too long"),
    "non-Latin prose": ("图中没有马克杯。", "prose"),
    "a null byte": ("\x00" + _GOOD, "prose"),
    "a byte order mark": ("\ufeff" + _GOOD, "prose"),
    "a string": ('"100, 200, 500, 900"', "prose"),
    "null": ("null", "prose"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_answer_is_refused_with_its_reason(name: str) -> None:
    answer, kind = MALFORMED[name]
    for coordinates in Coordinates:
        size = (1000, 1000)  # the limits of both conventions are then the same
        read = parse_answer(answer, size, size, coordinates)
        assert isinstance(read, Refused), read
        assert read.kind == kind, read
        assert 10 < len(read.reason) < 200
        assert "\n" not in read.reason


def test_there_are_twenty_kinds_at_least() -> None:
    assert len({kind for _, kind in MALFORMED.values()}) >= 20


def test_a_number_in_a_label_is_no_box() -> None:
    answer = '[{"label": "bbox of [1, 2, 3, 4]", "bbox_2d": [100, 200, 500, 900]}]'
    assert _boxes(answer) == [(40.0, 40.0, 200.0, 180.0)]
    assert [answer[start:end] for start, end in box_spans(answer)] == ["[100, 200, 500, 900]"]


def test_the_conventions_are_those_of_the_models() -> None:
    assert COORDINATES_OF["qwen2_5_vl"] is PIXELS
    assert COORDINATES_OF["qwen3_vl"] is RELATIVE


_NUMBERS = st.one_of(
    st.integers(-2000, 2000),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
)
_BOXES = st.one_of(st.lists(_NUMBERS, max_size=6), st.lists(st.integers(-50, 1100), min_size=4, max_size=4), _NUMBERS)
_ENTRIES = st.one_of(
    st.fixed_dictionaries({"bbox_2d": _BOXES}, optional={"label": st.text(max_size=9), "other": _NUMBERS}), _BOXES
)
_JSON = st.builds(json.dumps, st.one_of(st.lists(_ENTRIES, max_size=4), _ENTRIES))
_CUT = st.builds(lambda text, end: text[: max(len(text) - end, 0)], _JSON, st.integers(0, 5))
_FENCED = st.builds(lambda text, mark: f"```{mark}\n{text}\n```", _JSON, st.sampled_from(["json", "", "python"]))


@given(
    answer=st.one_of(st.text(), _JSON, _CUT, _FENCED, st.text(alphabet='[]{}",:`0123456789.eE-bbox_2d ')),
    size_px=st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    resized_px=st.tuples(st.integers(28, 4000), st.integers(28, 4000)),
    coordinates=st.sampled_from(Coordinates),
)
def test_any_text_gives_boxes_inside_the_picture_or_a_reason(
    answer: str, size_px: tuple[int, int], resized_px: tuple[int, int], coordinates: Coordinates
) -> None:
    read = parse_answer(answer, size_px, resized_px, coordinates)
    if isinstance(read, Refused):
        assert read.kind
        assert read.reason
        return
    assert read.boxes
    for x0, y0, x1, y1 in read.boxes:
        assert 0 <= x0 < x1 <= size_px[0]
        assert 0 <= y0 < y1 <= size_px[1]


@given(
    box=st.tuples(st.integers(0, 999), st.integers(0, 999), st.integers(1, 1000), st.integers(1, 1000)).filter(
        lambda box: box[0] < box[2] and box[1] < box[3] and max(box) > 1
    ),
    size_px=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
)
def test_a_right_answer_is_never_refused(box: tuple[int, int, int, int], size_px: tuple[int, int]) -> None:
    read = parse_answer(_one(list(box)), size_px, (28, 28), RELATIVE)
    assert isinstance(read, Grounded)
    wanted = (box[0] * size_px[0], box[1] * size_px[1], box[2] * size_px[0], box[3] * size_px[1])
    assert read.boxes[0] == pytest.approx([value / 1000 for value in wanted])
    assert not read.notes


def test_an_answer_of_the_longest_length_is_still_read() -> None:
    answer = '[{"bbox_2d": [100, 200, 500, 900], "label": "' + "m" * (MAX_ANSWER_CHARS - 48) + '"}]'
    assert len(answer) == MAX_ANSWER_CHARS
    assert _boxes(answer) == [(40.0, 40.0, 200.0, 180.0)]
