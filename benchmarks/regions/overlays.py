"""Sheets of photographs with boxes over them, to be looked through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from catalog import Box, StorageError

_CELL_PX, _COLUMNS, _ROWS, _LINE_PX = 190, 10, 6, 16
_FOUND, _TRUE = (214, 39, 40), (31, 160, 60)


@dataclass(frozen=True)
class Overlay:
    """A photograph with what was found in it."""

    image: Image.Image
    found: Box
    caption: str
    true: Box | None = None


def write_sheets(overlays: Sequence[Overlay], folder: Path, name: str) -> list[Path]:
    """Write numbered PNG sheets of sixty photographs: red the box found, green the one drawn by eye.

    Raises:
        StorageError: The folder cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, part in enumerate(_parts(overlays, _COLUMNS * _ROWS)):
            path = folder / f"{name}_{number:02d}.png"
            _sheet(part).save(path)
            paths.append(path)
    except OSError as error:
        raise StorageError("overlays cannot be written", where=str(folder), got=str(error)) from None
    return paths


def _parts(overlays: Sequence[Overlay], size: int) -> Iterator[Sequence[Overlay]]:
    for start in range(0, len(overlays), size):
        yield overlays[start : start + size]


def _sheet(part: Sequence[Overlay]) -> Image.Image:
    rows = -(-len(part) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _CELL_PX, rows * (_CELL_PX + _LINE_PX)), "white")
    font = ImageFont.load_default(size=11)
    for place, one in enumerate(part):
        left, top = place % _COLUMNS * _CELL_PX, place // _COLUMNS * (_CELL_PX + _LINE_PX)
        factor = (_CELL_PX - 4) / max(one.image.size)
        size = (max(round(one.image.width * factor), 1), max(round(one.image.height * factor), 1))
        small = one.image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        pen = ImageDraw.Draw(small)
        for box, colour in ((one.true, _TRUE), (one.found, _FOUND)):
            if box is not None:
                x0, y0, x1, y1 = (value * factor for value in box)
                pen.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=colour, width=2)
        sheet.paste(small, (left, top))
        ImageDraw.Draw(sheet).text((left, top + _CELL_PX - 2), one.caption[:34], fill="black", font=font)
    return sheet
