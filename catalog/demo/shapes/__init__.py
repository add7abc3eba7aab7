"""Drawings of the demo shop's products, one function a leaf category; each paints on an `Easel` what a `Look` says."""

from __future__ import annotations

from collections.abc import Callable

from catalog.demo.easel import Easel
from catalog.demo.look import Look
from catalog.demo.shapes.bags import draw_backpack, draw_handbag
from catalog.demo.shapes.bottoms import draw_skirt, draw_trousers
from catalog.demo.shapes.decor import draw_cushion, draw_lamp, draw_vase
from catalog.demo.shapes.footwear import draw_boot, draw_sneaker
from catalog.demo.shapes.kitchen import draw_bottle, draw_mug, draw_teapot
from catalog.demo.shapes.pumps import draw_pump
from catalog.demo.shapes.tops import draw_dress, draw_hoodie, draw_shirt, draw_tshirt
from catalog.demo.shapes.worn import draw_cap, draw_sunglasses, draw_watch

DRAWINGS: dict[str, Callable[[Easel, Look], None]] = {
    "backpack": draw_backpack,
    "boot": draw_boot,
    "bottle": draw_bottle,
    "cap": draw_cap,
    "cushion": draw_cushion,
    "dress": draw_dress,
    "handbag": draw_handbag,
    "hoodie": draw_hoodie,
    "lamp": draw_lamp,
    "mug": draw_mug,
    "pump": draw_pump,
    "shirt": draw_shirt,
    "skirt": draw_skirt,
    "sneaker": draw_sneaker,
    "sunglasses": draw_sunglasses,
    "teapot": draw_teapot,
    "trousers": draw_trousers,
    "tshirt": draw_tshirt,
    "vase": draw_vase,
    "watch": draw_watch,
}
"""Drawing by the name that `Leaf.draw` gives."""
