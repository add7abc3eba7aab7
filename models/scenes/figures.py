"""What stands before and behind products without being one: hangers, figures, hands, leaves, things, signs.

Each function draws on a layer of the picture's size, RGBA, at twice the size where edges need it.
"""

from __future__ import annotations

import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from catalog.demo import clutter
from models.scenes.fields import chance, colour, near

Box = tuple[float, float, float, float]

_SUPERSAMPLING = 2
_PHRASES = (
    "SALE", "-30%", "-50%", "NEW", "NEW ARRIVAL", "FREE SHIPPING", "2 FOR 1", "LIMITED", "Summer collection",
    "100% cotton", "$19.99", "BEST PRICE", "@my.shop", "2026", "Sold", "size M", "Official store",
)  # fmt: skip


def _layer(size_px: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    layer = Image.new("RGBA", (size_px[0] * _SUPERSAMPLING, size_px[1] * _SUPERSAMPLING))
    return layer, ImageDraw.Draw(layer)


def _ink(values: tuple[float, ...] | np.ndarray, factor: float = 1.0) -> tuple[int, int, int, int]:
    r, g, b = (int(min(max(value * factor, 0), 255)) for value in values)
    return r, g, b, 255


def hanger(rng: np.random.Generator, size_px: tuple[int, int], garment: Box, with_bar: bool) -> Image.Image:
    """A coat hanger whose shoulders lie behind the garment's upper edge and whose hook stands above it.

    Args:
        rng: Its source.
        size_px: Width and height of the picture.
        garment: Where the garment hangs, pixels.
        with_bar: A straight bar with clips, for trousers and skirts.
    """
    layer, pen = _layer(size_px)
    s = _SUPERSAMPLING
    x0, y0, x1, _ = garment
    cx, w = (x0 + x1) / 2, x1 - x0
    metal = chance(rng, 0.4)
    wood = near(rng, (120, 84, 52), 30) if chance(rng, 0.5) else colour(rng, 0.1, 0.9)
    tint = _ink((190, 192, 196) if metal else wood)
    thick = max(2, round(w * s * (0.008 if metal else 0.022)))
    half, slope = w * rng.uniform(0.28, 0.4), 0.0 if with_bar else w * rng.uniform(0.06, 0.12)
    neck = y0 - w * rng.uniform(0.0, 0.05)
    arms = [(cx - half, neck + slope), (cx, neck), (cx + half, neck + slope)]
    pen.line([(x * s, y * s) for x, y in arms], fill=tint, width=thick, joint="curve")
    steel, thin = _ink((170, 172, 178), rng.uniform(0.5, 1.1)), max(2, round(w * s * 0.01))
    if with_bar:
        for sign in (-1, 1):
            x = cx + sign * half * 0.85
            pen.rectangle([(x - w * 0.025) * s, neck * s, (x + w * 0.025) * s, (y0 + w * 0.04) * s], fill=steel)
    r = w * rng.uniform(0.03, 0.06)
    stem = neck - r * rng.uniform(1.2, 2.5)
    pen.line([cx * s, neck * s, cx * s, stem * s], fill=steel, width=thin)
    pen.arc([(cx - r) * s, (stem - 2 * r) * s, (cx + r) * s, stem * s], 160, 90, fill=steel, width=thin)
    if chance(rng, 0.4):
        y = stem - 2 * r
        rail = _ink(colour(rng, 0.3, 0.9))
        pen.line([0, y * s, layer.width, (y + rng.normal(0, 3)) * s], fill=rail, width=thick * 2)
    return layer.reduce(_SUPERSAMPLING)


def figure(rng: np.random.Generator, size_px: tuple[int, int], garment: Box) -> Image.Image:
    """Head, neck, arms and legs behind a top: a person or, without a face, a mannequin."""
    layer, pen = _layer(size_px)
    s = _SUPERSAMPLING
    x0, y0, x1, y1 = garment
    cx, w, h = (x0 + x1) / 2, x1 - x0, y1 - y0
    tones = clutter.SKINS
    doll = chance(rng, 0.35)
    tint = near(rng, (226, 222, 214) if doll else tones[rng.integers(len(tones))], 6)
    body = min(w, h * 0.75)

    def limb(points: list[tuple[float, float]], width: float, fill: tuple[int, int, int, int]) -> None:
        pen.line([(x * s, y * s) for x, y in points], fill=fill, width=max(2, round(width * s)), joint="curve")
        for x, y in points:
            r = width / 2
            pen.ellipse([(x - r) * s, (y - r) * s, (x + r) * s, (y + r) * s], fill=fill)

    _draw_head(rng, pen, (cx, y0, body * rng.uniform(0.15, 0.19)), tint, doll)
    head = body * 0.17
    limb([(cx, y0 + 0.12 * h), (cx, y0 - head * 0.5)], head, _ink(tint, 0.93))
    for sign in (-1, 1):
        shoulder = (cx + sign * w * 0.32, y0 + 0.14 * h)
        elbow = (cx + sign * w * rng.uniform(0.42, 0.56), y0 + h * rng.uniform(0.45, 0.6))
        hand = (cx + sign * w * rng.uniform(0.25, 0.55), y0 + h * rng.uniform(0.8, 1.05))
        limb([shoulder, elbow, hand], body * rng.uniform(0.1, 0.14), _ink(tint, rng.uniform(0.86, 1.0)))
    trousers = _ink(tint) if chance(rng, 0.3) else _ink(colour(rng, 0.1, 0.7))
    for sign in (-1, 1):
        hip = (cx + sign * w * 0.14, y1 - 0.08 * h)
        foot = (cx + sign * w * rng.uniform(0.12, 0.22), y1 + h * rng.uniform(0.7, 1.3))
        limb([hip, foot], body * rng.uniform(0.2, 0.28), trousers)
    return _rounded(layer.reduce(_SUPERSAMPLING))


def _draw_head(
    rng: np.random.Generator,
    pen: ImageDraw.ImageDraw,
    at: tuple[float, float, float],
    tint: tuple[float, float, float],
    doll: bool,
) -> None:
    """A head above the collar; `at` is the collar's x, y and half the head's width."""
    s = _SUPERSAMPLING
    cx, collar, head = at
    chin = collar - head * rng.uniform(0.25, 0.6)
    top = chin - 2.5 * head

    def oval(x: float, y0: float, half: float, y1: float, fill: tuple[int, int, int, int]) -> None:
        pen.ellipse([(x - half) * s, y0 * s, (x + half) * s, y1 * s], fill=fill)

    if not doll:
        fall = 1.2 if chance(rng, 0.5) else -0.9
        oval(cx, top - 0.25 * head, 1.2 * head, chin + fall * head, _ink(near(rng, (54, 38, 30), 26)))
    oval(cx, top, head, chin, _ink(tint))
    if not doll:
        for sign in (-1, 1):
            oval(cx + sign * 0.4 * head, top + 1.2 * head, 0.12 * head, top + 1.4 * head, _ink((60, 44, 40)))
        oval(cx, chin - 0.6 * head, 0.35 * head, chin - 0.45 * head, _ink((176, 84, 80)))


def _rounded(layer: Image.Image) -> Image.Image:
    """Shade flat shapes towards their rims."""
    alpha = layer.getchannel("A")
    soft = np.asarray(alpha.filter(ImageFilter.GaussianBlur(max(layer.size) / 50)), np.float32) / 255
    pixels = np.array(layer, np.float32)
    pixels[..., :3] *= (0.62 + 0.38 * np.clip(soft, 0, 1))[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def hand(rng: np.random.Generator, size_px: tuple[int, int], target: tuple[float, float]) -> Image.Image:
    """A hand that reaches in from below to `target`, pixels."""
    side = max(size_px)
    drawn = clutter.hand(random.Random(int(rng.integers(2**62))), side, (target[0] / side, target[1] / side))
    return drawn.crop((0, 0, *size_px))


def leaf(rng: np.random.Generator, size_px: tuple[int, int], target: tuple[float, float], reach: float) -> Image.Image:
    """A plant's leaves from outside towards `target`, `reach` pixels long."""
    layer, pen = _layer(size_px)
    s = _SUPERSAMPLING
    green = near(rng, (62, 112, 62), 22)
    base = rng.uniform(0, 2 * math.pi)
    for k in range(int(rng.integers(1, 4))):
        a = base + (k - 1) * rng.uniform(0.25, 0.5)
        tip = np.array(target) + rng.normal(0, reach * 0.1, 2)
        root = tip + reach * np.array([math.cos(a), math.sin(a)]) * rng.uniform(0.8, 1.3)
        across = np.array([-math.sin(a), math.cos(a)]) * reach * rng.uniform(0.08, 0.2)
        t = np.linspace(0, 1, 14)[:, None]
        spine = tip + (root - tip) * t
        width = np.sin(np.pi * t**0.8)
        edge = np.concatenate([spine + across * width, (spine - across * width)[::-1]]) * s
        pen.polygon([(float(x), float(y)) for x, y in edge], fill=_ink(green, rng.uniform(0.7, 1.2)))
        pen.line([*(float(v) for v in tip * s), *(float(v) for v in root * s)], fill=_ink(green, 0.6), width=s)
    return _rounded(layer.reduce(_SUPERSAMPLING))


def prop(rng: np.random.Generator, size_px: tuple[int, int]) -> Image.Image:
    """A thing that lies about at the rim: plant, book, cup, ball, phone, card, pebbles, candle."""
    side = max(size_px)
    drawn = clutter.prop(random.Random(int(rng.integers(2**62))), side)
    return drawn.resize(size_px, Image.Resampling.BILINEAR) if chance(rng, 0.5) else drawn.crop((0, 0, *size_px))


def sign(rng: np.random.Generator, size_px: tuple[int, int], product: Box | None) -> Image.Image:
    """A promotion text, a badge or a watermark at the picture's rim; empty where it would lie over the product.

    Args:
        rng: Its source.
        size_px: Width and height of the picture.
        product: The core's box, pixels: at most a tenth of it may lie under the sign.
    """
    w, h = size_px
    text = str(rng.choice(_PHRASES))
    size = max(9, round(min(w, h) * rng.uniform(0.035, 0.1)))
    x, y = (
        w * rng.uniform(0.02, 0.7),
        h * (rng.uniform(0.01, 0.12) if chance(rng, 0.5) else rng.uniform(0.82, 0.93)),
    )
    fill, style = colour(rng), rng.random()
    ink = (20, 20, 22) if sum(fill) > 400 else (250, 250, 250)
    plain = style >= 0.7
    if plain:
        ink = (255, 255, 255) if chance(rng, 0.6) else (20, 20, 20)
    # Transparent ink rather than black, or the letters' soft edges would be dark.
    layer = Image.new("RGBA", size_px, (*(ink if plain else _ink(fill)[:3]), 0))
    pen = ImageDraw.Draw(layer)
    box = pen.textbbox((x, y), text, font_size=size)
    pad = size * 0.35
    around = (box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad)
    if style < 0.2:
        r = (box[2] - box[0]) / 2 + pad
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        around = (cx - r, cy - r, cx + r, cy + r)
    elif 0.6 <= style < 0.7:
        around = (0, around[1], w, around[3])
    if product is not None and _shared(around, product) > 0.1 * _area(product):
        return layer
    if style < 0.2:
        pen.ellipse(around, fill=_ink(fill))
    elif style < 0.6:
        pen.rounded_rectangle(around, radius=size * rng.uniform(0, 0.6), fill=_ink(fill))
    elif style < 0.7:
        pen.rectangle(around, fill=(*_ink(fill)[:3], 190))
    pen.text((x, y), text, fill=(*ink, 255), font_size=size)
    return layer


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(first: Box, second: Box) -> float:
    """Area that two boxes have in common."""
    across = min(first[2], second[2]) - max(first[0], second[0])
    return max(across, 0.0) * max(min(first[3], second[3]) - max(first[1], second[1]), 0.0)
