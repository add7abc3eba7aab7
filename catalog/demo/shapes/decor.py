"""Lamps, vases and cushions, seen from the front."""

from __future__ import annotations

import math

from catalog.demo.easel import Easel, Paint
from catalog.demo.look import BRASS, Look, smooth
from catalog.demo.outlines import band, box, curve, ellipse, flipped, mirrored, turned_body
from catalog.demo.textures import scaled


def draw_lamp(easel: Easel, look: Look) -> None:
    size = look.size(0.85, 1.0, 1.1)
    floor, top = 0.95, 0.95 - 0.8 * size * look.vary(0.94, 1.06)
    top = max(0.05, top)
    split = top + (floor - top) * look.vary(0.4, 0.5)
    foot_paint: Paint = smooth(BRASS, 0.95) if look.has("brass foot") else look.paint(look.accent)
    base_paint = look.paint(look.accent)
    easel.part(box(0.488, split - 0.05, 0.512, floor - 0.02), smooth(BRASS, 0.9), form="tube")
    kind = look.get("base")
    y0, y1 = split + 0.045, floor - 0.02
    if kind == "tripod":
        spread = look.vary(0.15, 0.21)
        for x in (-spread, 0.03, spread):
            easel.part(band([(0.5 + x * 0.1, y0 - 0.02), (0.5 + x, floor)], 0.03, 0.024), base_paint, puff=0.012)
    else:
        easel.part(box(0.5 - 0.13 * size, floor - 0.035, 0.5 + 0.13 * size, floor, 0.014), foot_paint, form="tube")
        if kind == "column":
            w = look.vary(0.028, 0.055)
            easel.part(box(0.5 - w, y0, 0.5 + w, y1), base_paint, form="tube")
        elif kind == "stacked balls":
            count = int(look.vary(2, 4.99))
            r = (y1 - y0) / count / 2
            for i in range(count):
                easel.part(ellipse(0.5, y0 + r * (2 * i + 1), min(r * 1.15, 0.12), r * 1.04), base_paint, form="ball")
        else:
            belly = look.vary(0.1, 0.15)
            low = y0 + (y1 - y0) * look.vary(0.5, 0.7)
            easel.part(
                turned_body(
                    [
                        (0.522, y0),
                        (0.53, y0 + 0.04),
                        (0.5 + belly, low),
                        (0.5 + belly * 0.55, y1),
                        (0.5 + belly * 0.5, y1),
                    ]
                ),
                base_paint,
                form="tube",
            )
    w = look.vary(0.22, 0.28) * size
    cloth = look.paint(look.base, look.get("pattern"), material="linen")
    shape = look.get("shade")
    narrow = w * {"cone": look.vary(0.3, 0.5), "drum": look.vary(0.85, 1.0)}.get(shape, 0.6)
    if shape == "globe":
        r = min((split + 0.05 - top) / 2, 0.25)
        easel.part(ellipse(0.5, split + 0.05 - r, r, r), cloth, form="ball")
        rim_y, rim_w = split + 0.04, r * 0.35
    elif shape == "dome":
        easel.part(
            mirrored(
                curve(
                    [(0.5, top), (0.5 + w * 0.62, top + 0.05), (0.5 + w * 0.95, split - 0.1), (0.5 + w, split + 0.05)],
                    closed=False,
                )
            ),
            cloth,
            form="tube",
        )
        rim_y, rim_w = split + 0.045, w
    else:
        easel.part(
            [(0.5 - narrow, top), (0.5 + narrow, top), (0.5 + w, split + 0.05), (0.5 - w, split + 0.05)],
            cloth,
            form="tube",
        )
        rim_y, rim_w = split + 0.045, w
    if look.has("contrast trim"):
        easel.mark([box(0.5 - rim_w, rim_y - 0.025, 0.5 + rim_w, rim_y + 0.01)], look.accent)
    if look.has("tassel fringe"):
        for i in range(15):
            x = 0.5 - rim_w * 0.96 + i * rim_w * 1.92 / 14
            easel.part(
                band([(x, rim_y), (x + look.sway(0.004), rim_y + 0.05)], 0.012),
                look.paint(look.accent),
                puff=0.004,
                contact=0.1,
            )
    if look.has("pull chain"):
        x = 0.5 + rim_w * 0.45
        for i in range(8):
            easel.part(ellipse(x, rim_y + 0.012 + i * 0.017, 0.007, 0.007), smooth(BRASS, 0.9), puff=0.004, contact=0.0)
        easel.part(ellipse(x, rim_y + 0.155, 0.015, 0.02), smooth(BRASS, 0.9), puff=0.008, contact=0.0)


def draw_vase(easel: Easel, look: Look) -> None:
    height, width = look.size(0.46, 0.6, 0.72) * look.vary(0.94, 1.06), look.vary(0.15, 0.2)
    bottom = 0.95
    top = bottom - height
    mouth = width * look.vary(0.4, 0.62)

    def at(x: float, t: float) -> tuple[float, float]:
        return 0.5 + x * width, top + t * height

    m = mouth / width
    profiles = {
        "bottle": [at(m * 0.8, 0), at(m * 0.55, 0.14), at(m * 0.6, 0.34), at(1.05, 0.68), at(0.95, 0.9), at(0.62, 1)],
        "urn": [at(m * 1.2, 0), at(m, 0.09), at(1.15, 0.32), at(0.9, 0.62), at(0.5, 0.92), at(0.6, 1)],
        "cylinder": [at(0.85, 0), at(0.88, 0.03), at(0.88, 0.5), at(0.88, 0.95), at(0.84, 1)],
        "sphere": [at(m, 0), at(m * 0.9, 0.08), at(1.35, 0.42), at(1.4, 0.6), at(0.9, 0.93), at(0.6, 1)],
        "hourglass": [at(1.0, 0), at(0.8, 0.2), at(0.5, 0.48), at(0.95, 0.78), at(0.8, 1)],
    }
    half = profiles[look.get("silhouette") or "urn"]
    glass = look.get("material") == "glass"
    if look.has("dried stems"):
        for i in range(5):
            x, y = 0.5 + (i - 2) * 0.055 + look.sway(0.02), top - look.pose.uniform(0.1, 0.2)
            y = max(0.04, y)
            easel.part(
                band([(0.5 + (i - 2) * mouth * 0.25, top + 0.05), (x, y)], 0.009), smooth((150, 122, 76)), puff=0.004
            )
            easel.part(
                curve([(x, y - 0.03), (x + 0.018, y + 0.02), (x, y + 0.075), (x - 0.018, y + 0.02)]),
                smooth((212, 184, 130)),
                puff=0.012,
            )
    if look.has("two handles"):
        reach = look.vary(0.07, 0.11)
        for mirror in (False, True):
            arc = curve(
                [
                    at(m * 1.0, 0.1),
                    (0.5 + width + reach, top + 0.12 * height),
                    (0.5 + width * 1.05 + reach * 0.7, top + 0.3 * height),
                    at(0.95, 0.42),
                ],
                closed=False,
            )
            easel.part(band(flipped(arc) if mirror else arc, 0.028), look.plain, puff=0.012)
    rim = half[0][0] - 0.5
    easel.part(ellipse(0.5, top, rim, rim * 0.22), smooth(scaled(look.base, 0.5)), form="flat")
    paint = look.paint(look.base, look.get("pattern"), opacity=0.72) if glass else look.main
    easel.part([*turned_body(half)], paint, form="tube")
    easel.part(
        ellipse(0.5, top, rim, rim * 0.2),
        look.trim if look.has("contrast rim") else look.plain,
        form="flat",
        lift=0.08,
        contact=0,
    )
    easel.part(
        ellipse(0.5, top + 0.004, rim * 0.86, rim * 0.15), smooth(scaled(look.base, 0.35)), form="flat", contact=0
    )
    if look.has("contrast rim"):
        easel.mark(
            [
                [
                    (0.5 - rim * 1.1, top + 0.012),
                    (0.5 + rim * 1.1, top + 0.012),
                    (0.5 + rim * 1.1, top + 0.05),
                    (0.5 - rim * 1.1, top + 0.05),
                ]
            ],
            look.accent,
        )
        easel.part(
            ellipse(0.5, top + 0.004, rim * 0.86, rim * 0.15), smooth(scaled(look.base, 0.35)), form="flat", contact=0
        )
    if look.has("ribbed"):
        for i in range(-5, 6):
            x = math.sin(i / 5.5 * math.pi / 2)
            easel.line([(0.5 + x * (px - 0.5), py) for px, py in half[1:]], look.ink, 0.007, 0.5, sunk=0.012)


def draw_cushion(easel: Easel, look: Look) -> None:
    shape = look.get("shape")
    w, h = (0.4, look.vary(0.24, 0.29)) if shape == "rectangle" else (look.vary(0.36, 0.4),) * 2
    pinch = look.vary(0.02, 0.05)
    outline = (
        ellipse(0.5, 0.5, w, h)
        if shape == "round"
        else curve(
            [
                (0.5 - w, 0.5 - h),
                (0.5 - w, 0.5 - h),
                (0.5, 0.5 - h + pinch),
                (0.5 + w, 0.5 - h),
                (0.5 + w, 0.5 - h),
                (0.5 + w - pinch, 0.5),
                (0.5 + w, 0.5 + h),
                (0.5 + w, 0.5 + h),
                (0.5, 0.5 + h - pinch),
                (0.5 - w, 0.5 + h),
                (0.5 - w, 0.5 + h),
                (0.5 - w + pinch, 0.5),
            ]
        )
    )
    corners = [(0.5 + a * w, 0.5 + b * h) for a in (-1, 1) for b in (-1, 1)]
    if look.has("tassels"):
        for x, y in (
            [(0.5 + 0.74 * (cx - 0.5), 0.5 + 0.74 * (cy - 0.5)) for cx, cy in corners] if shape == "round" else corners
        ):
            dx, dy = math.copysign(0.05, x - 0.5), math.copysign(0.07, y - 0.5)
            easel.part(
                [(x - 0.012, y), (x + 0.012, y), (x + dx + 0.03, y + dy), (x + dx - 0.03, y + dy)],
                look.trim,
                puff=0.012,
            )
    if look.has("fringe"):
        for i in range(26):
            x = 0.5 - w * 0.97 + i * w * 1.94 / 25
            reach = h * math.sqrt(max(0.0, 1 - ((x - 0.5) / w) ** 2)) if shape == "round" else h - pinch * 0.6
            easel.part(
                band([(x, 0.5 - reach - 0.045), (x, 0.5 + reach + 0.045)], 0.012), look.trim, puff=0.004, contact=0.05
            )
    easel.part(outline, look.main, puff=0.12, folds=4)
    easel.part(outline, look.main, form="ball", folds=4, contact=0.0)
    if look.has("piping"):
        easel.line([*outline, outline[0]], look.accent, 0.032, sunk=-0.01)
    if look.has("buttons"):
        spots = (
            [(0.5 + a * w * 0.45, 0.5 + b * h * 0.45) for a in (-1, 1) for b in (-1, 1)]
            if not look.get("motif")
            else [(0.5, 0.5 + h * 0.78)]
        )
        for x, y in spots:
            easel.part(ellipse(x, y, 0.026, 0.026), look.trim, puff=0.012, lift=0.3, contact=0.5)
    if look.get("motif"):
        easel.motif(look.get("motif"), 0.5, 0.5, h * look.vary(0.4, 0.56), look.accent)
