"""What a language model answered when asked for a box: boxes of the picture, or the reason why the answer is refused.

Strict on purpose. The answer is JSON, in one code fence at most, and every entry must hold: an answer that is wrong in
one place is not trusted in another. A refused answer gives no candidate, hence the whole picture, and its reason.

Source: QwenLM/Qwen3-VL, qwen-vl-finetune/tools/process_bbox.ipynb ("Qwen2.5-VL using the absolute coordinated for the
resized image") and evaluation/ODinW-13/run_odinw.py (absolute answers are divided by the resized size, relative ones by
1000, both multiplied by the original size); cookbooks/2d_grounding.ipynb ("default coordinate system has been changed
from the absolute coordinates used in Qwen2.5-VL to relative coordinates ranging from 0 to 1000"). Deviation: their
evaluation reads Python literals and skips entries that are wrong; here both are refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from catalog import Box
from models.regions.boxes import box_area, clip_box

MAX_ANSWER_CHARS = 20_000
MAX_DEPTH = 4
"""A list of objects with a list of numbers is three deep."""
MAX_BOXES = 50
MIN_INSIDE_FRAC = 0.5
"""A box that lies outside the picture with more than the rest is no box of this picture."""
_RELATIVE_SIDE = 1000.0
_MAX_COORDINATE = 1e6
_BOX, _LABEL = "bbox_2d", "label"
_FENCED = re.compile(r"```(?:json|JSON)?[ \t]*\r?\n?(.*?)```", re.DOTALL)
_TRAILING_COMMA = re.compile(r",\s*[\]}]")


class Coordinates(StrEnum):
    """What the numbers of an answer count."""

    RESIZED_PIXELS = "resized_pixels"
    """Pixels of the picture as the model saw it."""
    RELATIVE_1000 = "relative_1000"
    """Thousandths of width and height."""


COORDINATES_OF: Mapping[str, Coordinates] = {
    "qwen2_5_vl": Coordinates.RESIZED_PIXELS,
    "qwen3_vl": Coordinates.RELATIVE_1000,
    "qwen3_vl_moe": Coordinates.RELATIVE_1000,
}
"""By `model_type` of config.json."""


@dataclass(frozen=True)
class Grounded:
    """Boxes of an answer, in its order."""

    boxes: tuple[Box, ...]
    """Pixels of the original picture, inside it."""
    notes: tuple[str, ...] = ()
    """What was cut off, in words."""


@dataclass(frozen=True)
class Refused:
    """An answer that gives no box."""

    kind: str
    """One of a few, to be counted."""
    reason: str
    """In words, with what was found."""


class _RefusalError(Exception):
    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.refused = Refused(kind, reason)


def parse_answer(
    answer: str, size_px: tuple[int, int], resized_px: tuple[int, int], coordinates: Coordinates
) -> Grounded | Refused:
    """Read the boxes of an answer; a pure function that raises nothing, whatever the text.

    Args:
        answer: All that the model wrote, its end mark aside.
        size_px: Width and height of the original picture.
        resized_px: Width and height of the picture as the model saw it.
        coordinates: What the numbers count.

    Returns:
        One box at least, or the reason.
    """
    try:
        entries = _entries(_read(_without_fence(answer)))
        frame = (_RELATIVE_SIDE, _RELATIVE_SIDE)
        if coordinates is Coordinates.RESIZED_PIXELS:
            frame = (float(resized_px[0]), float(resized_px[1]))
        boxes: list[Box] = []
        notes: list[str] = []
        for number, entry in enumerate(entries):
            box, note = _place(_numbers(entry, number), number, size_px, frame)
            boxes.append(box)
            notes += [note] if note else []
        return Grounded(tuple(boxes), tuple(notes))
    except _RefusalError as refusal:
        return refusal.refused


def box_spans(answer: str) -> list[tuple[int, int]]:
    """Start and end of the list of numbers of every box, in characters of an answer that was accepted."""
    return [match.span(1) for match in re.finditer(rf'"{_BOX}"\s*:\s*(\[[^\]]*\])', answer)]


def _without_fence(answer: str) -> str:
    if len(answer) > MAX_ANSWER_CHARS:
        raise _RefusalError("too long", f"the answer has {len(answer)} characters, more than {MAX_ANSWER_CHARS}")
    text = answer.strip()
    if not text:
        raise _RefusalError("empty", "the answer is empty")
    if "```" not in text:
        return text
    blocks = _FENCED.findall(text)
    if len(blocks) > 1:
        raise _RefusalError("several blocks", f"the answer has {len(blocks)} code blocks")
    whole = _FENCED.fullmatch(text)
    if whole is None:
        if not blocks:
            raise _RefusalError("truncated", f"the code block never ends: {_shown(text)}")
        raise _RefusalError("prose", f"text around the code block: {_shown(text)}")
    return whole.group(1).strip()


def _read(text: str) -> Any:
    if text[:1] not in ("[", "{"):
        raise _RefusalError("prose", f"the answer does not begin with JSON: {_shown(text)}")
    depth = _depth(text)
    if depth > MAX_DEPTH:
        raise _RefusalError("nested", f"the JSON is {depth} deep, more than {MAX_DEPTH}")
    try:
        value, end = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_no_number).raw_decode(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated string"):
            raise _RefusalError("truncated", f"the JSON ends too early: {_shown(text[-40:])}") from None
        if _TRAILING_COMMA.search(text):
            raise _RefusalError("trailing comma", f"JSON with a trailing comma: {_shown(text)}") from None
        raise _RefusalError("no JSON", f"{error.msg} at character {error.pos}: {_shown(text)}") from None
    except ValueError:
        # Python reads whole numbers up to some thousand digits.
        raise _RefusalError("huge number", "a whole number with thousands of digits") from None
    rest = text[end:].strip()
    if rest[:1] in ("[", "{"):
        raise _RefusalError("several blocks", f"more JSON after the first: {_shown(rest)}")
    if rest:
        raise _RefusalError("prose", f"text after the JSON: {_shown(rest)}")
    return value


def _depth(text: str) -> int:
    depth = deepest = 0
    quoted = escaped = False
    for char in text:
        if quoted:
            quoted, escaped = escaped or char != '"', not escaped and char == "\\"
        elif char == '"':
            quoted = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusalError("duplicate key", f"the key {_shown(twice)} stands twice in one object")
    return value


def _no_number(text: str) -> NoReturn:
    raise _RefusalError("not finite", f"{text} is no coordinate")


def _entries(value: Any) -> list[dict[str, Any]]:
    # One box alone comes as a bare object too.
    entries = [value] if isinstance(value, dict) else value
    if not value:
        raise _RefusalError("no object", "the model sees no such product (an empty answer)")
    if len(entries) > MAX_BOXES:
        raise _RefusalError("too many boxes", f"{len(entries)} boxes, more than {MAX_BOXES}")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise _RefusalError("no object with a box", f"entry {number} is {_shown(entry)}, not an object with {_BOX}")
        if _BOX not in entry:
            raise _RefusalError("no box", f"entry {number} has no {_BOX} but {_shown(', '.join(entry))}")
        other = sorted(entry.keys() - {_BOX, _LABEL})
        if other:
            raise _RefusalError("unknown key", f"entry {number} also has {_shown(', '.join(other))}")
        if not isinstance(entry.get(_LABEL, ""), str):
            raise _RefusalError("label", f"entry {number} has the label {_shown(entry[_LABEL])}, not text")
    return entries


def _numbers(entry: dict[str, Any], number: int) -> Box:
    box = entry[_BOX]
    if not isinstance(box, list):
        raise _RefusalError("no list of numbers", f"{_BOX} of entry {number} is {_shown(box)}")
    if len(box) != 4:
        raise _RefusalError("not four numbers", f"{_BOX} of entry {number} has {len(box)} values: {_shown(box)}")
    for value in box:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _RefusalError("not numbers", f"{_BOX} of entry {number} holds {_shown(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise _RefusalError("not finite", f"{_BOX} of entry {number} holds {value}")
        if abs(value) > _MAX_COORDINATE:
            raise _RefusalError("huge number", f"{_BOX} of entry {number} holds a number above {_MAX_COORDINATE:.0f}")
    x0, y0, x1, y1 = (float(value) for value in box)
    if max(abs(x0), abs(y0), abs(x1), abs(y1)) <= 1.0:
        raise _RefusalError("fractions", f"{_BOX} of entry {number} looks like shares from 0 to 1: {_shown(box)}")
    if x0 == x1 or y0 == y1:
        raise _RefusalError("empty box", f"{_BOX} of entry {number} has no area: {_shown(box)}")
    if x0 > x1 or y0 > y1:
        raise _RefusalError("swapped corners", f"{_BOX} of entry {number} has its corners swapped: {_shown(box)}")
    return (x0, y0, x1, y1)


def _place(box: Box, number: int, size_px: tuple[int, int], frame: tuple[float, float]) -> tuple[Box, str]:
    """`box` of a picture of the size `frame` in pixels of one of `size_px`, and what was cut off."""
    width_px, height_px = size_px
    # Multiplied first, so that the far edge of the frame is that of the picture to the last bit.
    xs, ys = [x * width_px / frame[0] for x in box[::2]], [y * height_px / frame[1] for y in box[1::2]]
    scaled = (xs[0], ys[0], xs[1], ys[1])
    inside = clip_box(scaled, size_px)
    told = f"box {number} ({', '.join(f'{value:g}' for value in box)} of {frame[0]:g} x {frame[1]:g})"
    if inside is None:
        raise _RefusalError("outside", f"{told} lies outside the picture")
    kept = box_area(inside) / box_area(scaled)
    if kept < MIN_INSIDE_FRAC:
        raise _RefusalError("outside", f"{told} lies outside the picture with {1.0 - kept:.0%} of its area")
    return inside, f"{told} was cut at the picture's edge" if inside != scaled else ""


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."
