"""What a composer gives: a picture with boxes that are exact."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image

from catalog import Box

Role = Literal["product", "distractor"]


@dataclass(frozen=True)
class SceneBox:
    """One product in a scene."""

    box: Box
    """Its visible extent: pixels, inside the picture."""
    role: Role
    """`product`: what the picture is of, one or none a scene; `distractor`: another product."""
    name: str
    """The cut-out's title, or the kind of a drawn product."""


@dataclass(frozen=True)
class Scene:
    """A composed picture."""

    image: Image.Image = field(repr=False)
    """RGB."""
    boxes: tuple[SceneBox, ...]
    """The product first; empty where the scene shows none."""
    masks: tuple[np.ndarray, ...] = field(default=(), repr=False, compare=False)
    """(H, W) bool each, in step with `boxes`: the pixels of which a box is the extent."""

    @property
    def core(self) -> SceneBox | None:
        """The product that the picture is of."""
        return self.boxes[0] if self.boxes and self.boxes[0].role == "product" else None
