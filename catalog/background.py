"""Is a photograph taken before a plain background?"""

from __future__ import annotations

import numpy as np
from PIL import Image


def background_of(image: Image.Image) -> str:
    """`clean` where most of the border has one colour, else `cluttered`."""
    pixels = np.asarray(image.convert("RGB").resize((64, 64)), dtype=np.int64)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    near = np.abs(border - np.median(border, axis=0)).max(axis=1) < 24
    return "clean" if near.mean() > 0.7 else "cluttered"
