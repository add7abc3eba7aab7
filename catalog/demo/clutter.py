"""What is in the picture but not for sale: props, hands, badges."""

from __future__ import annotations

import colorsys
import math
import random

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from catalog.demo.outlines import band, curve
from catalog.demo.palette import Rgb
from catalog.demo.textures import scaled

SKINS: tuple[Rgb, ...] = ((236, 190, 160), (214, 160, 124), (172, 118, 84), (116, 76, 54), (242, 206, 182))
BADGES = (
    "SALE",
    "-20%",
    "-30%",
    "-50%",
    "NEW",
    "NEW 2026",
    "TOP",
    "2 FOR 1",
    "ECO",
    "FREE SHIPPING",
    "BEST PRICE",
    "HOT",
)


SUPERSAMPLING = 2


def _layer(side: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    layer = Image.new("RGBA", (side, side))
    return layer, ImageDraw.Draw(layer)


def _shrunk(layer: Image.Image) -> Image.Image:
    return layer.reduce(SUPERSAMPLING)


def _shaded(layer: Image.Image, softness: float) -> Image.Image:
    """Round the flat shapes of `layer`: darker towards the lower right edge."""
    alpha = layer.getchannel("A")
    side = layer.width
    soft = alpha.filter(ImageFilter.GaussianBlur(softness * side))
    offset = max(1, int(softness * side))
    relief = np.asarray(soft, np.float32) - np.asarray(ImageChops.offset(soft, offset, offset), np.float32)
    pixels = np.array(layer, np.float32)
    pixels[..., :3] *= np.clip(0.95 + relief / 255 * 0.9, 0.5, 1.25)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGBA")


def _vivid(rng: random.Random) -> Rgb:
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.3, 0.85), rng.uniform(0.4, 0.95))
    return int(r * 255), int(g * 255), int(b * 255)


def prop(rng: random.Random, side: int) -> Image.Image:
    """A thing beside the product, at the rim of the picture: RGBA of `side` pixels."""
    side *= SUPERSAMPLING
    layer, pen = _layer(side)
    angle = rng.uniform(0, 2 * math.pi)
    cx, cy = (0.5 + rng.uniform(0.36, 0.5) * f(angle) * 1.15 for f in (math.cos, math.sin))
    colour, r = _vivid(rng), rng.uniform(0.06, 0.13)

    def px(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x * side, y * side) for x, y in points]

    kind = rng.choice(("plant", "book", "cup", "ball", "phone", "card", "pebbles", "candle"))
    if kind == "plant":
        for k in range(rng.randint(4, 7)):
            a = angle + math.pi + (k - 3) * 0.42
            tip = (cx + 2.1 * r * math.cos(a), cy + 2.1 * r * math.sin(a))
            mid = ((cx + tip[0]) / 2, (cy + tip[1]) / 2)
            w = 0.32 * r
            leaf = curve(
                [
                    (cx, cy),
                    (mid[0] - w * math.sin(a), mid[1] + w * math.cos(a)),
                    tip,
                    (mid[0] + w * math.sin(a), mid[1] - w * math.cos(a)),
                ]
            )
            pen.polygon(px(leaf), fill=(*scaled((62, 118, 66), rng.uniform(0.7, 1.2)), 255))
    elif kind in ("book", "phone", "card"):
        tilt, h = rng.uniform(-0.5, 0.5), r * (1.9 if kind == "phone" else 1.4)
        corners = [(-r, -h), (r, -h), (r, h), (-r, h)]
        c, s = math.cos(tilt), math.sin(tilt)
        fill = (28, 28, 32) if kind == "phone" else colour
        for grow, shade in ((1.0, fill), (0.84, scaled(fill, 1.15 if kind != "book" else 0.9))):
            pen.polygon(
                px([(cx + grow * (c * x - s * y), cy + grow * (s * x + c * y)) for x, y in corners]), fill=(*shade, 255)
            )
        if kind == "card":
            for row in (-0.4, 0.0, 0.4):
                ends = [(cx + c * x - s * row * h, cy + s * x + c * row * h) for x in (-0.6 * r, 0.6 * r)]
                pen.line(px(ends), fill=(250, 250, 250, 255), width=max(1, side // 90))
    elif kind == "pebbles":
        for _ in range(rng.randint(3, 6)):
            x, y, q = cx + rng.uniform(-r, r), cy + rng.uniform(-r, r), r * rng.uniform(0.3, 0.55)
            tone = rng.randint(90, 200)
            pen.ellipse(
                [(x - q) * side, (y - q * 0.75) * side, (x + q) * side, (y + q * 0.75) * side],
                fill=(tone, tone, tone - 8, 255),
            )
    else:
        pen.ellipse([(cx - r) * side, (cy - r) * side, (cx + r) * side, (cy + r) * side], fill=(*colour, 255))
        inner = 0.72 * r if kind == "cup" else 0.35 * r
        if kind != "ball":
            fill = (96, 60, 38) if kind == "cup" else (250, 226, 150)
            pen.ellipse(
                [(cx - inner) * side, (cy - inner) * side, (cx + inner) * side, (cy + inner) * side], fill=(*fill, 255)
            )
    return _shaded(_shrunk(layer), 0.02)


def hand(rng: random.Random, side: int, target: tuple[float, float]) -> Image.Image:
    """A hand that reaches from the rim to `target` (fractions of the side): RGBA."""
    side *= SUPERSAMPLING
    layer, pen = _layer(side)
    skin = rng.choice(SKINS)
    angle = rng.uniform(0.15, 0.85) * math.pi
    tx, ty = target
    reach = rng.uniform(0.09, 0.13)

    def at(along: float, across: float) -> tuple[float, float]:
        x = tx + along * math.cos(angle) - across * math.sin(angle)
        y = ty + along * math.sin(angle) + across * math.cos(angle)
        return x * side, y * side

    def limb(points: list[tuple[float, float]], width: float) -> None:
        path = [at(*p) for p in points]
        pen.polygon(band(path, width * side, width * 0.85 * side), fill=(*skin, 255))
        for x, y in (path[0], path[-1]):
            r = width * 0.46 * side
            pen.ellipse([x - r, y - r, x + r, y + r], fill=(*skin, 255))

    limb([(1.2, 0.0), (reach * 1.6, 0.0)], 0.15)
    palm = [at(*p) for p in ((reach * 2.2, -0.075), (reach * 0.9, -0.085), (reach * 0.8, 0.085), (reach * 2.2, 0.075))]
    pen.polygon(palm, fill=(*skin, 255))
    for k, across in enumerate((-0.066, -0.022, 0.022, 0.066)):
        tip = -reach * (0.15, 0.45, 0.4, 0.1)[k]
        limb([(reach, across), (reach * 0.4, across * 1.05), (tip, across * 0.95)], 0.04)
        x, y = at(tip - 0.004, across * 0.95)
        r = 0.011 * side
        pen.ellipse([x - r, y - r, x + r, y + r], fill=(*scaled(skin, 1.25), 255))
    limb([(reach * 1.5, 0.08), (reach * 0.9, 0.13), (reach * 0.2, 0.12)], 0.045)
    return _shaded(_shrunk(layer), 0.014)


def badge(rng: random.Random, side: int) -> Image.Image:
    """A promotion badge with words in a corner: RGBA."""
    side *= SUPERSAMPLING
    layer, pen = _layer(side)
    text = rng.choice(BADGES)
    fill = rng.choice(((214, 30, 40), (20, 20, 24), (244, 196, 20), (24, 128, 84), (30, 90, 200), (236, 80, 140)))
    ink = (20, 20, 20) if sum(fill) > 430 else (255, 255, 255)
    font = ImageFont.load_default(size=max(8, round(side * (0.075 if len(text) < 6 else 0.055))))
    x0, y0, x1, y1 = pen.textbbox((0, 0), text, font=font)
    w, h = x1 - x0, y1 - y0
    left, top = rng.random() < 0.5, rng.random() < 0.75
    if len(text) < 6:
        r = max(w, h) * 0.72
        cx, cy = (r + side * 0.03 if left else side * 0.97 - r), (r + side * 0.03 if top else side * 0.97 - r)
        pen.ellipse([cx - r, cy - r, cx + r, cy + r], fill=(*fill, 255))
    else:
        cx, cy = (w / 2 + side * 0.03 if left else side * 0.97 - w / 2), (h + side * 0.02 if top else side * 0.96 - h)
        pen.rectangle([cx - w * 0.56 - side * 0.01, cy - h, cx + w * 0.56 + side * 0.01, cy + h], fill=(*fill, 255))
    pen.text((cx - w / 2 - x0, cy - h / 2 - y0), text, font=font, fill=(*ink, 255))
    return _shrunk(layer)
