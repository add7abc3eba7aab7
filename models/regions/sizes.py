"""Which pictures a network of fixed patches can judge, and how large they are given to it."""

from __future__ import annotations

from PIL import Image

MAX_ASPECT = 40.0
"""A picture longer than this many times its width shows no product that these networks could find: their patches would
see less than one row of it. Qwen's own limit is 200; at 40 the shorter side of Grounding DINO's 1333 px is 33 px."""


def too_narrow(image: Image.Image) -> bool:
    """Whether a picture is a stripe that no such network can judge."""
    return max(image.size) > MAX_ASPECT * min(image.size)


def shrunk(image: Image.Image, max_side_px: int) -> Image.Image:
    """`image` as RGB, its longer side at most `max_side_px`."""
    factor = min(max_side_px / max(image.size), 1.0)
    size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    rgb = image.convert("RGB")
    return rgb if size == rgb.size else rgb.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
