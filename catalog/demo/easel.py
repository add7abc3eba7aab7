"""Where a product is painted: parts laid over each other, each with colour, relief and gloss.

The result is a `Sprite`, not a picture: light, background and camera come later, so that one article photographed
six times stays one article.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from catalog.demo.outlines import Outline, motif_outlines
from catalog.demo.palette import Rgb

Form = Literal["puff", "tube", "ball", "flat"]
"""How a part bulges: like filled cloth, like a standing cylinder, like a ball, or not."""


@dataclass(frozen=True)
class Paint:
    """What fills a part."""

    colour: Rgb
    texture: np.ndarray | None = None
    """`(side, side, 3)` float32, or None for the plain colour."""
    gloss: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Sprite:
    """A product without light: all of one size, cropped to the product."""

    colour: Image.Image
    """RGBa, premultiplied."""
    height: Image.Image
    """Mode F: relief as a fraction of the easel's side."""
    gloss: Image.Image
    """Mode L, 255 = mirror-like."""
    easel_px: int


class Easel:
    """A square of `side_px` pixels with coordinates from 0 to 1.

    Args:
        side_px: Side of the drawing; it is shrunk to about half in a photograph, which smooths its edges.
        fold_rng: Decides where cloth creases; another pose of the same product gives another one.
    """

    def __init__(self, side_px: int, fold_rng: random.Random) -> None:
        self.side_px = side_px
        self._fold_rng = fold_rng
        self._colour = np.zeros((side_px, side_px, 3), np.float32)
        self._alpha = np.zeros((side_px, side_px), np.float32)
        self._height = np.zeros((side_px, side_px), np.float32)
        self._gloss = np.zeros((side_px, side_px), np.float32)

    def part(
        self,
        outline: Outline,
        paint: Paint,
        *,
        form: Form = "puff",
        puff: float = 0.03,
        lift: float = 0.0,
        contact: float = 0.35,
        folds: int = 0,
        holes: Sequence[Outline] = (),
    ) -> None:
        """Lay a part over what is there.

        Args:
            outline: Its edge, in units of the easel.
            paint: Its filling.
            form: How it bulges.
            puff: Roundness of its edge, in units of the easel.
            lift: How far it stands above the parts below, in units of the easel.
            contact: Darkness of the soft shadow that it throws on the parts below, 0 to 1.
            folds: Number of creases, for cloth.
            holes: Outlines cut out of it.
        """
        mask = self._mask(outline, holes)
        bounds = mask.getbbox()
        if bounds is None:
            return
        side, pad = self.side_px, int(puff * self.side_px * 2) + 4
        x0, y0 = max(0, bounds[0] - pad), max(0, bounds[1] - pad)
        x1, y1 = min(side, bounds[2] + pad), min(side, bounds[3] + pad)
        window = (slice(y0, y1), slice(x0, x1))
        cut = mask.crop((x0, y0, x1, y1))
        inside = np.asarray(cut) > 127
        blur = np.asarray(cut.filter(ImageFilter.GaussianBlur(max(1.0, puff * side))), np.float32) / 255
        if contact > 0:
            self._colour[window] *= (1 - contact * np.clip(blur * 1.6, 0, 1) * ~inside)[..., None]
        relief = lift + self._relief(inside, blur, form, puff)
        if folds:
            relief = relief + self._folds(folds, x1 - x0, y1 - y0)
        filling = paint.texture[window] if paint.texture is not None else np.array(paint.colour, np.float32)
        if paint.opacity < 1:
            seen = self._alpha[window][inside][:, None]
            filling = np.broadcast_to(filling, (*inside.shape, 3))[inside]
            under = self._colour[window][inside]
            self._colour[window][inside] = np.where(seen > 0.05, under + (filling - under) * paint.opacity, filling)
            self._alpha[window][inside] = np.maximum(self._alpha[window][inside], paint.opacity)
        else:
            np.copyto(self._colour[window], filling, where=inside[..., None])
            self._alpha[window][inside] = 1.0
        np.copyto(self._height[window], relief.astype(np.float32), where=inside)
        self._gloss[window][inside] = paint.gloss

    def mark(self, outlines: Iterable[Outline], colour: Rgb, strength: float = 1.0, sunk: float = 0.0) -> None:
        """Print flat shapes on the product; what falls beside it is lost.

        Args:
            outlines: Shapes.
            colour: Ink.
            strength: Opacity of the ink.
            sunk: How deep the shape is pressed in, in units of the easel; negative stands out.
        """
        mask = Image.new("L", (self.side_px, self.side_px))
        pen = ImageDraw.Draw(mask)
        for outline in outlines:
            pen.polygon(self._pixels(outline), fill=255)
        self._ink(mask, colour, strength, sunk)

    def line(
        self,
        points: Sequence[tuple[float, float]],
        colour: Rgb,
        width: float = 0.006,
        strength: float = 1.0,
        sunk: float = 0.0,
    ) -> None:
        """Draw a seam, a crease or a cord on the product."""
        mask = Image.new("L", (self.side_px, self.side_px))
        ImageDraw.Draw(mask).line(self._pixels(points), fill=255, width=self._width(width), joint="curve")
        self._ink(mask, colour, strength, sunk)

    def stitch(self, points: Sequence[tuple[float, float]], colour: Rgb, width: float = 0.006) -> None:
        """Draw a dashed seam on the product."""
        mask = Image.new("L", (self.side_px, self.side_px))
        pen = ImageDraw.Draw(mask)
        path = np.asarray(points, float) * self.side_px
        steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        dash = 0.016 * self.side_px
        for start in np.arange(0, along[-1], dash * 1.7):
            at = np.array([start, min(start + dash, along[-1])])
            xs, ys = np.interp(at, along, path[:, 0]), np.interp(at, along, path[:, 1])
            pen.line([(xs[0], ys[0]), (xs[1], ys[1])], fill=255, width=self._width(width))
        self._ink(mask, colour, 0.9, 0.0)

    def motif(self, name: str, cx: float, cy: float, radius: float, colour: Rgb) -> None:
        """Print a motif of the taxonomy."""
        self.mark(motif_outlines(name, cx, cy, radius), colour)

    def sprite(self) -> Sprite:
        """What was painted, cropped to the product.

        Raises:
            ValueError: Nothing was painted; a drawing of ours is at fault.
        """
        rows, columns = np.where(self._alpha.any(axis=1))[0], np.where(self._alpha.any(axis=0))[0]
        if not len(rows):
            raise ValueError("nothing was painted on the easel")
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        alpha = self._alpha[window]
        colour = np.clip(self._colour[window], 0, 255) * alpha[..., None]
        rgba = np.concatenate([colour, alpha[..., None] * 255], axis=2).astype(np.uint8)
        return Sprite(
            Image.frombuffer("RGBa", (rgba.shape[1], rgba.shape[0]), rgba.tobytes(), "raw", "RGBa", 0, 1),
            Image.fromarray(np.ascontiguousarray(self._height[window])),
            Image.fromarray((np.clip(self._gloss[window], 0, 1) * 255).astype(np.uint8)),
            self.side_px,
        )

    def _ink(self, mask: Image.Image, colour: Rgb, strength: float, sunk: float) -> None:
        bounds = mask.getbbox()
        if bounds is None:
            return
        window = (slice(bounds[1], bounds[3]), slice(bounds[0], bounds[2]))
        weight = np.asarray(mask.crop(bounds), np.float32)[..., None] * (strength / 255)
        self._colour[window] += (np.array(colour, np.float32) - self._colour[window]) * weight
        if sunk:
            self._height[window] -= sunk * weight[..., 0]

    def _mask(self, outline: Outline, holes: Sequence[Outline]) -> Image.Image:
        mask = Image.new("L", (self.side_px, self.side_px))
        pen = ImageDraw.Draw(mask)
        pen.polygon(self._pixels(outline), fill=255)
        for hole in holes:
            pen.polygon(self._pixels(hole), fill=0)
        return mask

    def _relief(self, inside: np.ndarray, blur: np.ndarray, form: Form, puff: float) -> np.ndarray:
        if form == "flat":
            return np.zeros(inside.shape, np.float32)
        if form == "puff":
            return puff * np.sqrt(np.clip(2 * blur - 1, 0.0, 1))
        across, half_width = _across(inside)
        if form == "tube":
            return np.sqrt(np.clip(1 - across**2, 0.02, 1)) * half_width / self.side_px
        down, half_height = _across(inside.T)
        bulge = np.sqrt(np.clip(1 - across**2, 0.02, 1) * np.clip(1 - down.T**2, 0.02, 1))
        return bulge * max(float(half_width.max()), float(half_height.max())) / self.side_px

    def _folds(self, num_folds: int, width: int, height: int) -> np.ndarray:
        """Soft creases, mostly running downwards."""
        rng, small = self._fold_rng, 4
        sheet = Image.new("L", (max(2, width // small), max(2, height // small)), 128)
        pen = ImageDraw.Draw(sheet)
        w, h = sheet.size
        for _ in range(num_folds):
            x, y = rng.uniform(0, w), rng.uniform(-0.2, 0.8) * h
            dx, dy = rng.uniform(-0.25, 0.25) * w, rng.uniform(0.2, 0.7) * h
            pen.line([x, y, x + dx, y + dy], fill=rng.choice((40, 90, 190, 230)), width=max(1, int(0.02 * w)))
        soft = sheet.filter(ImageFilter.GaussianBlur(max(1.0, 0.012 * self.side_px)))
        return (np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC), np.float32) - 128) / 128 * 0.028

    def _pixels(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x * self.side_px, y * self.side_px) for x, y in points]

    def _width(self, width: float) -> int:
        return max(1, round(width * self.side_px))


def _smoothed(values: np.ndarray) -> np.ndarray:
    """A running mean over about a fortieth of the length."""
    reach = max(1, len(values) // 80)
    padded = np.pad(values, reach, mode="edge")
    return np.convolve(padded, np.full(2 * reach + 1, 1 / (2 * reach + 1)), mode="valid").astype(np.float32)


def _across(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel lies between the left and right edge of its row, -1 to 1, and half the row's width (px)."""
    columns = np.arange(inside.shape[1], dtype=np.float32)
    filled = inside.any(axis=1)
    left = np.where(filled, inside.argmax(axis=1), 0).astype(np.float32)
    right = np.where(filled, inside.shape[1] - inside[:, ::-1].argmax(axis=1), 1).astype(np.float32)
    # Edges move by whole pixels from row to row; unsmoothed, every step would show as a groove.
    left, right = _smoothed(left), _smoothed(right)
    half = np.maximum((right - left) / 2, 1.0)
    across = (columns[None, :] + 0.5 - ((left + right) / 2)[:, None]) / half[:, None]
    return np.clip(across, -1, 1), half[:, None]
