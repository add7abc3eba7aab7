"""Mugs, teapots, bottles, lamps, vases and cushions."""

from __future__ import annotations

import math

from catalog.demo.easel import Easel, Paint
from catalog.demo.look import BRASS, CREAM, DARK, STEEL, WOOD, Look, smooth
from catalog.demo.outlines import Outline, band, box, curve, ellipse, flipped, mirrored
from catalog.demo.textures import scaled


def _turned(half: list[tuple[float, float]]) -> Outline:
    """A turned body from its right profile, top to bottom."""
    return mirrored(curve(half, closed=False))


def draw_mug(easel: Easel, look: Look) -> None:
    width, height = (
        look.size(0.16, 0.2, 0.22) * look.vary(0.92, 1.08),
        look.size(0.3, 0.42, 0.6) * look.vary(0.92, 1.08),
    )
    bottom, cx = 0.9, 0.44
    top = bottom - height
    foot = width * {"tapered": look.vary(0.62, 0.75), "rounded": 0.7}.get(look.get("shape"), 1.0)
    belly = width * 1.12 if look.get("shape") == "rounded" else (width + foot) / 2
    contrast = smooth(look.accent, look.gloss)
    handle_paint = contrast if look.has("contrast handle") else look.plain
    y0, y1 = top + height * look.vary(0.14, 0.22), bottom - height * look.vary(0.16, 0.26)
    out = cx + width + look.vary(0.12, 0.17)
    thick = look.vary(0.034, 0.05)
    paths: dict[str, Outline] = {
        "square": [(cx + width * 0.9, y0), (out, y0), (out, y1), (cx + belly * 0.9, y1)],
        "ear": curve(
            [(cx + width * 0.9, y0 + 0.02), (out, y0 - 0.02), (out + 0.01, y0 + 0.08), (cx + belly * 0.93, y1)],
            closed=False,
        ),
    }
    path = paths.get(look.get("handle")) or curve(
        [
            (cx + width * 0.9, y0),
            (out - 0.02, y0 + 0.01),
            (out, (y0 + y1) / 2),
            (out - 0.03, y1),
            (cx + belly * 0.85, y1 + 0.01),
        ],
        closed=False,
    )
    easel.part(band(path, thick), handle_paint, puff=thick * 0.5)
    if look.has("spoon"):
        easel.part(
            band([(cx - width * 0.2, top + 0.04), (cx - width * 0.75, top - 0.2)], 0.016, 0.024),
            smooth(STEEL, 0.95),
            puff=0.008,
        )
    body = [
        (cx + x, y)
        for x, y in curve(
            [(width, top), (belly, (top + bottom) / 2), (foot, bottom - 0.03), (foot * 0.9, bottom)], closed=False
        )
    ]
    easel.part(
        [*body, *ellipse(cx, bottom, foot * 0.9, 0.02, 0, 180), *flipped(body[::-1], cx)], look.main, form="tube"
    )
    if look.has("bare clay base"):
        y = bottom - height * 0.16
        easel.mark(
            [
                [
                    (cx - width * 1.2, y),
                    (cx + width * 1.2, y),
                    (cx + width * 1.2, bottom + 0.04),
                    (cx - width * 1.2, bottom + 0.04),
                ]
            ],
            (188, 140, 104),
            0.92,
        )
    easel.part(
        ellipse(cx, top, width, width * 0.2),
        contrast if look.has("contrast rim") else look.plain,
        form="flat",
        lift=0.1,
        contact=0.0,
    )
    easel.part(
        ellipse(cx, top + 0.004, width * 0.9, width * 0.16), smooth(scaled(look.base, 0.6)), form="flat", contact=0.0
    )
    easel.part(ellipse(cx, top + 0.02, width * 0.78, width * 0.11), smooth((92, 56, 34), 0.5), form="flat", contact=0.0)
    if look.get("motif"):
        easel.motif(look.get("motif"), cx, (top + bottom) / 2 + 0.01, min(width * 0.6, height * 0.3), look.accent)


def draw_teapot(easel: Easel, look: Look) -> None:
    tall = look.get("shape")
    rx = {"tall": look.vary(0.19, 0.21), "squat": look.vary(0.28, 0.31)}.get(tall, look.vary(0.235, 0.265))
    ry = {"tall": look.vary(0.25, 0.29), "squat": look.vary(0.15, 0.18)}.get(tall, look.vary(0.2, 0.23))
    cx, cy = 0.49, 0.62
    top = cy - ry
    thick = look.vary(0.03, 0.042)
    spout_y = top - look.vary(-0.03, 0.05)
    spout = curve(
        [
            (cx + rx * 0.75, cy + ry * 0.35),
            (cx + rx + 0.09, cy + 0.0),
            (cx + rx + 0.12, spout_y + 0.04),
            (cx + rx + 0.17, spout_y),
        ],
        closed=False,
    )
    easel.part(band(spout, look.vary(0.09, 0.12), 0.04), look.plain, puff=0.03)
    if look.get("handle") == "side handle":
        side = curve(
            [
                (cx - rx * 0.8, cy - ry * 0.5),
                (cx - rx - 0.13, cy - ry * 0.55),
                (cx - rx - 0.14, cy + ry * 0.1),
                (cx - rx * 0.9, cy + ry * 0.5),
            ],
            closed=False,
        )
        easel.part(band(side, thick), look.plain, puff=thick * 0.5)
    else:
        arc = ellipse(cx, top + 0.07, rx * look.vary(0.75, 0.9), look.vary(0.25, 0.3), 180, 360)
        easel.part(
            band(arc, thick),
            look.paint(WOOD, material="wood") if look.vary(0, 1) < 0.5 else look.plain,
            puff=thick * 0.5,
        )
    if look.has("feet"):
        for x in (-0.55, 0.0, 0.55):
            easel.part(ellipse(cx + x * rx, cy + ry, 0.032, 0.035), look.plain, form="ball")
    body = curve(
        [
            (cx, top),
            (cx + rx * 0.62, top + ry * 0.16),
            (cx + rx, cy),
            (cx + rx * 0.72, cy + ry * 0.85),
            (cx + rx * 0.5, cy + ry),
        ],
        closed=False,
    )
    easel.part([*body, *flipped(body[::-1], cx)], look.main, form="ball")
    lid = smooth(look.accent, look.gloss) if look.has("contrast lid") else look.plain
    w = rx * look.vary(0.45, 0.58)
    easel.part(
        curve(
            [
                (cx - w, top + 0.045),
                (cx - w * 0.6, top - 0.012),
                (cx, top - 0.032),
                (cx + w * 0.6, top - 0.012),
                (cx + w, top + 0.045),
                (cx, top + 0.068),
            ]
        ),
        lid,
        puff=0.025,
        lift=0.12,
    )
    knob = look.vary(0.024, 0.038)
    easel.part(
        ellipse(cx, top - 0.032 - knob * 0.7, knob, knob),
        look.paint(WOOD, material="wood") if look.has("wooden knob") else lid,
        form="ball",
        lift=0.1,
    )
    if look.has("infuser ring"):
        easel.part(
            band(
                curve(
                    [(cx - rx * 0.93, cy - ry * 0.3), (cx, cy - ry * 0.16), (cx + rx * 0.93, cy - ry * 0.3)],
                    closed=False,
                ),
                0.026,
            ),
            smooth(STEEL, 0.95),
            puff=0.01,
            lift=0.17,
            contact=0.2,
        )


def draw_bottle(easel: Easel, look: Look) -> None:
    width, height = (
        look.size(0.15, 0.14, 0.15) * look.vary(0.9, 1.1),
        look.size(0.5, 0.64, 0.74) * look.vary(0.97, 1.03),
    )
    bottom = 0.95
    top = bottom - height
    glass = look.get("material") == "glass"
    neck, shoulder = width * look.vary(0.45, 0.85), look.vary(0.05, 0.15)
    half = [
        (0.5 + neck, top),
        (0.5 + neck, top + 0.03),
        (0.5 + width, top + 0.03 + shoulder),
        (0.5 + width, bottom - 0.04),
        (0.5 + width * 0.9, bottom),
    ]
    if glass:
        easel.part(_turned(half), smooth((222, 232, 232), 1.0, 0.5), form="tube")
        fill = [
            (0.5 + width * 0.93, top + 0.05 + shoulder),
            (0.5 + width * 0.93, bottom - 0.04),
            (0.5 + width * 0.84, bottom - 0.012),
        ]
        main = look.paint(look.base, look.get("pattern"), opacity=0.82)
        easel.part(mirrored(fill), main, form="tube", contact=0.0)
    else:
        easel.part(_turned(half), look.main, form="tube")
    if look.has("silicone sleeve"):
        y = bottom - height * look.vary(0.34, 0.46)
        easel.part(
            box(0.5 - width - 0.008, y, 0.5 + width + 0.008, bottom - 0.06, 0.01),
            smooth(look.accent, 0.15),
            form="tube",
            lift=0.01,
        )
    if look.has("contrast base"):
        easel.part(
            box(0.5 - width - 0.003, bottom - 0.1, 0.5 + width + 0.003, bottom, 0.02),
            smooth(look.accent, 0.5),
            form="tube",
        )
    if look.has("scale marks"):
        for i in range(6):
            y = bottom - 0.14 - i * 0.06
            easel.mark(
                [box(0.5 + width * 0.3, y, 0.5 + width * (0.75 if i % 2 else 0.6), y + 0.008)],
                CREAM if sum(look.base) < 430 else DARK,
            )
    lid = smooth(look.accent if look.vary(0, 1) < 0.4 else DARK if sum(look.base) > 250 else STEEL, 0.4)
    cap = look.vary(0.06, 0.085)
    easel.part(box(0.5 - neck - 0.012, top - cap, 0.5 + neck + 0.012, top + 0.012, 0.012), lid, form="tube", lift=0.01)
    for k in range(1, 4):
        easel.line(
            [(0.5 - neck - 0.012, top - cap + k * cap / 4), (0.5 + neck + 0.012, top - cap + k * cap / 4)],
            scaled(lid.colour, 0.7),
            0.005,
        )
    if look.get("closure") == "flip straw":
        easel.part(
            band(
                curve(
                    [
                        (0.5 - neck * 0.3, top - cap),
                        (0.5 - neck * 0.3, top - cap - 0.08),
                        (0.5 + neck * 0.9, top - cap - 0.1),
                    ],
                    closed=False,
                ),
                0.035,
            ),
            lid,
            puff=0.016,
        )
    elif look.get("closure") == "loop cap":
        easel.part(band(ellipse(0.5, top - cap, neck * 0.8, 0.085, 180, 360), 0.03), lid, puff=0.013)
    if look.has("carry strap"):
        strap = curve(
            [
                (0.5 + neck, top),
                (0.5 + width + 0.1, top + 0.06 + look.sway(0.02)),
                (0.5 + width + 0.07, top + 0.3),
                (0.5 + width * 0.98, top + 0.36),
            ],
            closed=False,
        )
        easel.part(band(strap, 0.03), look.trim, puff=0.01, lift=0.02)
    if look.get("motif"):
        easel.motif(look.get("motif"), 0.5, top + height * look.vary(0.42, 0.52), width * 0.62, look.accent)


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
                _turned(
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
    easel.part([*_turned(half)], paint, form="tube")
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
