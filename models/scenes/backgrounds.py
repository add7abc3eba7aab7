"""Backgrounds of scenes: drawn floors and walls, photographs, a studio; and the light that falls on them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from catalog import Catalog, ImageError, ImageLimits, ModelError, Photo, decode_image
from catalog.background import background_of
from catalog.demo.backdrops import SCENES, backdrop
from catalog.images import ALLOWED_FORMATS
from catalog.parallel import map_in_order
from models.scenes.fields import chance, colour, near, noise, quiet
from models.scenes.grounds import FLOORS, figured

_PHOTO_PX = 512
_MIN_PHOTO_PX = 32
"""A photograph narrower than this, once shrunk, shows nothing to lie on."""
_MAX_VISITED = 20
"""Photographs of a catalogue looked at for each that is wanted: most shops' are all before plain backgrounds."""


@dataclass(frozen=True)
class Backgrounds:
    """Photographs to make backgrounds of, decoded once."""

    photos: tuple[Image.Image, ...]
    """RGB, at most 512 pixels on the longer side and at least 32 on the shorter."""
    hide_content: bool = False
    """Blur them strongly or mirror small pieces, since they show products that no box tells of."""

    def __len__(self) -> int:
        return len(self.photos)


def read_backgrounds(
    folder: str, limits: ImageLimits = ImageLimits(), *, max_photos: int = 500, hide_content: bool = False
) -> Backgrounds:
    """The photographs of a folder and those below it, the first `max_photos` by name; others are passed over.

    Args:
        folder: Of rooms, floors and streets without products, since whatever a photograph shows is called background.
        limits: What a picture may cost.
        max_photos: Read no more.
        hide_content: The photographs do show products: blur them, or mirror small pieces.

    Raises:
        ModelError: The folder holds no picture that can be read.
    """
    photos: list[Image.Image] = []
    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in ALLOWED_FORMATS}
    for path in sorted(Path(folder).rglob("*")):
        if len(photos) >= max_photos:
            break
        if path.suffix.lower() not in suffixes or not path.is_file():
            continue
        try:
            photo = _shrunk(decode_image(path.read_bytes(), str(path), limits))
        except (ImageError, OSError):
            continue
        if min(photo.size) >= _MIN_PHOTO_PX:
            photos.append(photo)
    if not photos:
        raise ModelError(
            "no background photograph can be read", where=folder, fix="name a folder with JPEG or PNG files"
        )
    return Backgrounds(tuple(photos), hide_content)


def catalog_backgrounds(
    catalog: Catalog, limits: ImageLimits = ImageLimits(), max_photos: int = 200, num_workers: int = 0
) -> Backgrounds:
    """Textures of the catalogue's own photographs that are not before a plain background; may be empty.

    Args:
        catalog: One side of the split, where another is judged by.
        limits: What a picture may cost.
        max_photos: Take so many; where such photographs are rare, stop after looking at 20 times as many.
        num_workers: Threads; 0 is one a core and one more.
    """
    photos: list[Image.Image] = []
    jobs = islice((photo for item in catalog.items() for photo in item.photos), _MAX_VISITED * max_photos)
    for found in map_in_order(partial(_cluttered, limits=limits), jobs, num_workers):
        if found is not None:
            photos.append(found)
        if len(photos) >= max_photos:
            break
    return Backgrounds(tuple(photos), hide_content=True)


def _cluttered(photo: Photo, limits: ImageLimits) -> Image.Image | None:
    try:
        image = photo.load(limits)
    except ImageError:
        return None
    small = _shrunk(image)
    return small if min(small.size) >= _MIN_PHOTO_PX and background_of(image) == "cluttered" else None


def _shrunk(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((_PHOTO_PX, _PHOTO_PX), Image.Resampling.LANCZOS)
    return small


def photo_ground(rng: np.random.Generator, height: int, width: int, backgrounds: Backgrounds) -> np.ndarray:
    """A piece of one of the photographs, (H, W, 3) float32."""
    photo = backgrounds.photos[rng.integers(len(backgrounds.photos))]
    if chance(rng, 0.5):
        photo = ImageOps.mirror(photo)
    if not backgrounds.hide_content:
        share = rng.uniform(0.6, 1.0)
        return np.asarray(_crop(rng, photo, height, width, share), np.float32)
    if chance(rng, 0.5):
        blurred = _crop(rng, photo, height // 4, width // 4, 1.0).filter(
            ImageFilter.GaussianBlur(max(height, width) / 4 / 14)
        )
        return np.asarray(blurred.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    # Small enough that no product stays whole; mirrored, so that the seams do not show.
    side = max(2, int(rng.uniform(0.12, 0.25) * min(photo.size)))
    piece = np.asarray(_crop(rng, photo, side, side, max(side / min(photo.size), 0.02)), np.float32)
    tile = np.concatenate([piece, piece[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    repeats = (math.ceil(height / len(tile)), math.ceil(width / len(tile)), 1)
    return np.tile(tile, repeats)[:height, :width]


def _crop(rng: np.random.Generator, photo: Image.Image, height: int, width: int, share: float) -> Image.Image:
    """A random window of `share` of the largest that has the aspect, resized."""
    fit = min(photo.width / width, photo.height / height) * share
    w, h = width * fit, height * fit
    x, y = rng.uniform(0, max(photo.width - w, 0)), rng.uniform(0, max(photo.height - h, 0))
    # Rounding may carry the far edges past the photograph's, which Pillow refuses.
    box = (x, y, min(x + w, photo.width), min(y + h, photo.height))
    return photo.resize((width, height), Image.Resampling.BILINEAR, box=box)


def studio(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """White mostly, light grey or one quiet colour else, with the fall of light of a studio."""
    base = (rng.uniform(236, 255),) * 3 if chance(rng, 0.65) else colour(rng, 0.7, 0.95, 0.05)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    fall = 1 - rng.uniform(0, 0.1) * np.clip(y - rng.uniform(-0.2, 0.6), 0, 1) - rng.uniform(0, 0.05) * (x**2 + y**2)
    return np.asarray(fall[..., None] * np.array(base, np.float32))


def wall(rng: np.random.Generator, height: int, width: int, bold: bool) -> np.ndarray:
    """What a garment hangs before: plaster, wallpaper, a door, a wardrobe or a curtain, perhaps down to the floor."""
    base = np.array(colour(rng, 0.4, 0.95) if bold else quiet(rng, 0.4), np.float32)
    sheet = np.broadcast_to(base, (height, width, 3)) * (1 + 0.02 * noise(rng, height, width, 200))[..., None]
    kind = rng.random()
    if kind < 0.25:
        sheet = _panels(rng, sheet, base)
    elif kind < 0.4:
        sheet = sheet * folds_downwards(rng, height, width)[..., None]
    elif kind < 0.5 or bold:
        sheet = figured(rng, height, width, (float(base[0]), float(base[1]), float(base[2])))
    if chance(rng, 0.35):
        cut = int(rng.uniform(0.68, 0.94) * height)
        floor, _ = FLOORS[rng.integers(3)]
        sheet = np.array(sheet)
        sheet[cut:] = floor(rng, height, width, False)[cut:]
        skirting = max(2, int(rng.uniform(0.015, 0.05) * height))
        sheet[max(cut - skirting, 0) : cut] = np.array(near(rng, (225, 222, 216), 14), np.float32)
        sheet[cut : cut + 2] *= 0.6
    return np.asarray(sheet)


def _panels(rng: np.random.Generator, sheet: np.ndarray, base: np.ndarray) -> np.ndarray:
    height, width = sheet.shape[:2]
    image = Image.fromarray(np.clip(sheet, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    dark, light = (tuple(int(min(255, value * k)) for value in base) for k in (0.8, 1.1))
    left = rng.uniform(-0.3, 0.4) * width
    door = rng.uniform(0.45, 1.0) * width
    for x in (left, left + door):
        pen.line([x, 0, x, height], fill=dark, width=max(1, width // 90))
    top = rng.uniform(-0.3, 0.1) * height
    while top < height:
        tall = rng.uniform(0.25, 0.7) * height
        inset = [left + 0.16 * door, top, left + 0.84 * door, top + tall]
        pen.rectangle(inset, outline=dark, width=max(1, width // 110))
        pen.rectangle([inset[0] + 3, inset[1] + 3, inset[2] - 3, inset[3] - 3], outline=light, width=1)
        top += tall + 0.08 * height
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float32)


def folds_downwards(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Light on a curtain: (H, W) around 1."""
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :] + 0.03 * noise(rng, height, width, 3)
    waves = rng.uniform(4, 14) * math.pi
    return np.asarray(1 + rng.uniform(0.08, 0.25) * np.sin(x * waves + 2 * np.sin(x * waves * 0.37)))


def demo_ground(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One of the demo shop's scenes, cut to the picture's form."""
    side = max(height, width)
    drawn = backdrop(SCENES[rng.integers(len(SCENES))], random.Random(int(rng.integers(2**62))), side)
    return np.asarray(drawn[(side - height) // 2 :][:height, (side - width) // 2 :][:, :width])


def make_ground(
    rng: np.random.Generator, height: int, width: int, *, bold: bool, upright: bool, photos: Backgrounds | None
) -> np.ndarray:
    """A background before its light.

    Args:
        rng: Its source.
        height: H.
        width: W.
        bold: Strong patterns and colours.
        upright: A wall rather than a floor.
        photos: Take one of these instead of drawing.

    Returns:
        (H, W, 3) float32, sRGB levels.
    """
    if photos:
        return photo_ground(rng, height, width, photos)
    if chance(rng, 0.75 if upright else 0.12):
        return wall(rng, height, width, bold)
    if not bold and chance(rng, 0.12):
        return demo_ground(rng, height, width)
    if chance(rng, 0.05):
        first, second = np.array(colour(rng), np.float32), np.array(colour(rng), np.float32)
        t = np.clip(0.5 + noise(rng, height, width, 2), 0, 1)[..., None]
        return np.asarray(first * (1 - t) + second * t)
    weights = np.array([weight for _, weight in FLOORS])
    chosen, _ = FLOORS[rng.choice(len(FLOORS), p=weights / weights.sum())]
    return chosen(rng, height, width, bold)


def lit(rng: np.random.Generator, ground: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Uneven light: a lamp's gradient, a vignette, a shadow that something outside the picture casts."""
    height, width = ground.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    turn = rng.uniform(0, 2 * math.pi)
    light = 1 + strength * rng.uniform(0, 0.25) * (x * math.cos(turn) + y * math.sin(turn)) / 1.4
    light = light - strength * rng.uniform(0, 0.22) * (x**2 + y**2) / 2
    if chance(rng, 0.3 * strength):
        turn = rng.uniform(0, 2 * math.pi)
        edge = x * math.cos(turn) + y * math.sin(turn) + 0.3 * noise(rng, height, width, 3) - rng.uniform(-0.2, 0.7)
        light = light * (1 - rng.uniform(0.12, 0.45) * (0.5 + 0.5 * np.tanh(edge / rng.uniform(0.04, 0.4))))
    return np.asarray(ground * light[..., None])


def mean_colour(ground: np.ndarray) -> np.ndarray:
    """Median colour, (3,)."""
    return np.asarray(np.median(ground[::8, ::8].reshape(-1, 3), axis=0))
