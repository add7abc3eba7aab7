"""The colours that the demo shop sells things in."""

from __future__ import annotations

Rgb = tuple[int, int, int]

COLOURS: dict[str, Rgb] = {
    "black": (38, 38, 42),
    "white": (240, 239, 234),
    "grey": (140, 143, 148),
    "navy": (32, 44, 92),
    "blue": (44, 96, 190),
    "sky blue": (138, 190, 230),
    "teal": (20, 132, 130),
    "green": (50, 142, 72),
    "olive": (112, 114, 52),
    "yellow": (240, 200, 48),
    "orange": (236, 126, 38),
    "red": (206, 38, 44),
    "burgundy": (112, 24, 46),
    "pink": (240, 150, 178),
    "purple": (120, 66, 160),
    "beige": (214, 190, 152),
    "brown": (116, 72, 42),
}
"""Names of colours and what they look like in neutral light, sRGB."""
