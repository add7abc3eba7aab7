"""Mugs, teapots and bottles, seen from the front."""

from __future__ import annotations

from catalog.demo.easel import Easel
from catalog.demo.look import CREAM, DARK, STEEL, WOOD, Look, smooth
from catalog.demo.outlines import Outline, band, box, curve, ellipse, flipped, mirrored, turned_body
from catalog.demo.textures import scaled


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
        easel.part(turned_body(half), smooth((222, 232, 232), 1.0, 0.5), form="tube")
        fill = [
            (0.5 + width * 0.93, top + 0.05 + shoulder),
            (0.5 + width * 0.93, bottom - 0.04),
            (0.5 + width * 0.84, bottom - 0.012),
        ]
        main = look.paint(look.base, look.get("pattern"), opacity=0.82)
        easel.part(mirrored(fill), main, form="tube", contact=0.0)
    else:
        easel.part(turned_body(half), look.main, form="tube")
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
