"""Other colours, patterns and folds for a product, so that its shape and not its paint is learnt."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from models.scenes.fields import Rgb, chance, colour, folds, near, noise, to_image
from models.scenes.grounds import figured

_WORDS = ("TEAM", "87", "LOVE", "NEW YORK", "RUN", "1994", "hello", "PARIS", "no. 7", "ROCK", "surf", "MOON")


def fabric(rng: np.random.Generator, height: int, width: int, base: Rgb | None = None) -> np.ndarray:
    """Cloth without light: plain, heathered, patterned or blocked, (H, W, 3) float32.

    Args:
        rng: Its source.
        height: H.
        width: W.
        base: Its main colour; drawn where not given, often near black or white.
    """
    if base is None:
        draw = rng.random()
        base = (
            near(rng, (28, 28, 34), 12) if draw < 0.2 else near(rng, (236, 234, 230), 9) if draw < 0.35 else colour(rng)
        )
    kind = rng.random()
    sheet: np.ndarray = np.empty((height, width, 3), np.float32)
    sheet[:] = base
    if kind < 0.35:
        sheet = figured(rng, height, width, base)
    elif kind < 0.42:
        cut = int(rng.uniform(0.2, 0.8) * height)
        sheet[cut:] = colour(rng)
    elif kind < 0.5:
        # Washed denim: paler in the middle of each leg or panel.
        sheet *= (1 + 0.25 * noise(rng, height, width, 4))[..., None]
    grain = rng.uniform(0, 0.09) * noise(rng, height, width, rng.uniform(60, max(height, width)))
    return np.asarray(sheet * (1 + grain)[..., None])


def print_on(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """A word or a figure printed on the chest: where the middle of the product is."""
    w, h = image.size
    layer = image.copy()
    pen = ImageDraw.Draw(layer)
    ink = tuple(int(value) for value in colour(rng))
    x, y, r = w * rng.uniform(0.4, 0.6), h * rng.uniform(0.3, 0.5), min(w, h) * rng.uniform(0.06, 0.2)
    if chance(rng, 0.6):
        pen.text((x, y), str(rng.choice(_WORDS)), fill=(*ink, 255), font_size=max(8, round(r)), anchor="mm")
    else:
        points = [
            (x + r * k * np.cos(a), y + r * k * np.sin(a))
            for a, k in zip(np.linspace(0, 6.28, 12, endpoint=False), rng.uniform(0.4, 1.0, 12), strict=True)
        ]
        pen.polygon([(float(px), float(py)) for px, py in points], fill=(*ink, 255))
    layer.putalpha(image.getchannel("A"))
    return layer


def restyle(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """The cut-out in other colours: its light and details kept, its shape too.

    Args:
        rng: Its source.
        image: RGBA.
    """
    alpha = image.getchannel("A")
    pixels = np.asarray(image.convert("RGB"), np.float32)
    kind = rng.random()
    if kind < 0.4:
        # Another hue and lightness, the rest as it is.
        hue = image.convert("RGB").convert("HSV")
        h, s, v = hue.split()
        shift, gain = int(rng.integers(256)), rng.uniform(0.5, 1.3)
        table = [(value + shift) % 256 for value in range(256)]
        pixels = np.asarray(Image.merge("HSV", (h.point(table), s, v)).convert("RGB"), np.float32) * gain
    else:
        # New cloth, shaded by the old one's light: its lightness over its smooth surroundings.
        light = np.asarray(image.convert("L"), np.float32)
        smooth = np.asarray(to_image(light).filter(ImageFilter.GaussianBlur(max(image.size) / 12)), np.float32)
        shade = np.clip((light + 20) / (smooth + 20), 0.55, 1.5)
        pixels = fabric(rng, image.height, image.width) * shade[..., None]
    if chance(rng, 0.6):
        pixels = pixels * folds(rng, image.height, image.width, rng.uniform(0.2, 0.9))[..., None]
    done = to_image(pixels)
    done.putalpha(alpha)
    return print_on(rng, done) if chance(rng, 0.15) else done


def tinted(image: Image.Image, target: np.ndarray, share: float) -> Image.Image:
    """The cut-out with its mean colour moved by `share` of the way to `target`: nearly lost before its background."""
    alpha = image.getchannel("A")
    pixels = np.asarray(image.convert("RGB"), np.float32)
    weight = np.asarray(alpha, np.float32) / 255
    mean = (pixels * weight[..., None]).sum(axis=(0, 1)) / max(float(weight.sum()), 1.0)
    spread = 0.6 * (pixels - mean) + mean
    done = to_image(spread + share * (target - mean))
    done.putalpha(alpha)
    return done
