"""A sheet of scenes to look at, with their boxes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from PIL import Image, ImageDraw

from catalog import StorageError
from models.scenes.scene import Scene

_COLOURS = {"product": (0, 220, 60), "distractor": (255, 140, 0)}


def scene_sheet(scenes: Sequence[Scene], columns: int = 8, thumb_px: int = 180, draw_boxes: bool = True) -> Image.Image:
    """Scenes in rows, the product's box green and those of distractors orange.

    Args:
        scenes: As many as shall be seen.
        columns: Scenes a row.
        thumb_px: Longer side of each, pixels.
        draw_boxes: Outline the boxes.
    """
    rows = -(-len(scenes) // columns)
    sheet = Image.new("RGB", (columns * (thumb_px + 4), max(rows, 1) * (thumb_px + 4)), (235, 235, 235))
    for number, scene in enumerate(scenes):
        factor = thumb_px / max(scene.image.size)
        size = (max(1, round(scene.image.width * factor)), max(1, round(scene.image.height * factor)))
        thumb = scene.image.resize(size, Image.Resampling.LANCZOS)
        pen = ImageDraw.Draw(thumb)
        for item in reversed(scene.boxes if draw_boxes else ()):
            x0, y0, x1, y1 = (value * factor for value in item.box)
            pen.rectangle([x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)], outline=_COLOURS[item.role], width=2)
        sheet.paste(thumb, (number % columns * (thumb_px + 4), number // columns * (thumb_px + 4)))
    return sheet


def write_scene_sheet(scenes: Sequence[Scene], path: str, columns: int = 8, thumb_px: int = 180) -> None:
    """Write a sheet of scenes as PNG.

    Raises:
        StorageError: The file cannot be written.
    """
    partial = f"{path}.part"
    try:
        scene_sheet(scenes, columns, thumb_px).save(partial, "PNG")
        os.replace(partial, path)
    except OSError as error:
        raise StorageError("the sheet of scenes cannot be written", where=path, got=str(error)) from error
    finally:
        with suppress(OSError):
            os.unlink(partial)
