"""Handbags and backpacks, seen from the front."""

from __future__ import annotations

from catalog.demo.easel import Easel
from catalog.demo.look import BRASS, DARK, STEEL, Look, smooth
from catalog.demo.outlines import band, box, curve, ellipse, mirrored
from catalog.demo.textures import scaled


def _metal(look: Look) -> tuple[int, int, int]:
    return BRASS if look.vary(0, 1) < 0.6 else STEEL


def draw_handbag(easel: Easel, look: Look) -> None:
    width, height = (
        look.size(0.24, 0.31, 0.39) * look.vary(0.9, 1.08),
        look.size(0.26, 0.36, 0.47) * look.vary(0.82, 1.1),
    )
    bottom, taper = 0.92, look.vary(0.78, 1.12)
    top, metal = bottom - height, _metal(look)
    corner = look.vary(0.02, 0.09)
    handle_h = look.vary(0.16, 0.26)
    kind = look.get("handle")
    if kind == "chain strap":
        path = curve(
            [
                (0.5 - width * taper + 0.02, top + 0.03),
                (0.5 - width * 0.7, top - handle_h),
                (0.5 + look.sway(0.05), top - handle_h * 1.5),
                (0.5 + width * 0.7, top - handle_h),
                (0.5 + width * taper - 0.02, top + 0.03),
            ],
            closed=False,
            steps=6,
        )
        for x, y in path:
            easel.part(ellipse(x, y, 0.019, 0.015), smooth(metal, 0.95), puff=0.006, contact=0.1)
    else:
        inner = width * look.vary(0.42, 0.62)
        offsets = ((0.0, 0.0),) if kind == "top handle" else ((-0.025, -0.02), (0.025, 0.015))
        for dx, dy in offsets:
            arc = curve(
                [
                    (0.5 + dx - inner, top + 0.06),
                    (0.5 + dx - inner * 0.85, top - handle_h * 0.75 + dy),
                    (0.5 + dx, top - handle_h + dy),
                    (0.5 + dx + inner * 0.85, top - handle_h * 0.75 + dy),
                    (0.5 + dx + inner, top + 0.06),
                ],
                closed=False,
            )
            easel.part(
                band(arc, look.vary(0.028, 0.045)),
                look.trim if look.has("contrast stitching") else look.plain,
                puff=0.016,
                contact=0.15,
            )
    body = mirrored(
        [
            (0.5, top),
            (0.5 + width * taper - corner * 0.6, top),
            (0.5 + width * taper, top + corner * 0.6),
            *curve(
                [
                    (0.5 + width, bottom - corner),
                    (0.5 + width - corner * 0.3, bottom - corner * 0.3),
                    (0.5 + width - corner, bottom),
                ],
                closed=False,
            ),
            (0.5, bottom + 0.006),
        ]
    )
    easel.part(body, look.main, puff=0.05, folds=4)
    easel.stitch([(0.5 - width + 0.03, bottom - 0.03), (0.5 + width - 0.03, bottom - 0.03)], look.stitch_ink, 0.008)
    if look.has("front pocket"):
        easel.part(
            box(0.5 - width * 0.6, top + height * 0.45, 0.5 + width * 0.6, bottom - 0.05, 0.03),
            look.plain,
            puff=0.02,
            lift=0.04,
        )
        easel.stitch(
            [(0.5 - width * 0.55, top + height * 0.5), (0.5 + width * 0.55, top + height * 0.5)], look.stitch_ink, 0.007
        )
    closure = look.get("closure")
    if closure == "flap":
        drop, point = height * look.vary(0.42, 0.62), look.vary(0.0, 0.09)
        w = width * taper + 0.008
        flap = mirrored(
            [
                (0.5, top - 0.008),
                (0.5 + w - 0.02, top - 0.008),
                (0.5 + w, top + 0.02),
                *curve(
                    [(0.5 + w * 0.97, top + drop * 0.8), (0.5 + w * 0.8, top + drop), (0.5, top + drop + point)],
                    closed=False,
                ),
            ]
        )
        easel.part(flap, look.plain if look.get("pattern") != "solid" else look.main, puff=0.03, lift=0.05)
        easel.stitch([(0.5 + (x - 0.5) * 0.93, y - 0.018) for x, y in flap[2:-2]], look.stitch_ink, 0.007)
        easel.part(
            box(0.465, top + drop + point - 0.06, 0.535, top + drop + point + 0.02, 0.012),
            smooth(metal, 0.95),
            puff=0.01,
            lift=0.08,
        )
    elif closure == "zip":
        easel.part(
            box(0.5 - width * taper * 0.9, top + 0.012, 0.5 + width * taper * 0.9, top + 0.04),
            smooth(DARK),
            puff=0.006,
            lift=0.03,
        )
        easel.stitch(
            [(0.5 - width * taper * 0.88, top + 0.026), (0.5 + width * taper * 0.88, top + 0.026)], metal, 0.013
        )
        x = 0.5 + width * 0.5
        easel.part(box(x, top + 0.02, x + 0.022, top + 0.085, 0.008), smooth(metal, 0.95), puff=0.006, lift=0.05)
    else:
        easel.part(
            box(0.5 - width * taper, top - 0.015, 0.5 + width * taper, top + 0.022, 0.014),
            smooth(metal, 0.95),
            puff=0.01,
            lift=0.04,
        )
        for x in (0.482, 0.518):
            easel.part(ellipse(x, top - 0.022, 0.022, 0.022), smooth(metal, 0.95), form="ball", lift=0.04)
    if look.has("tassel"):
        x = 0.5 + width * 0.62
        easel.part(band([(x, top), (x, top + 0.06)], 0.012), look.trim, puff=0.005, lift=0.08)
        easel.part(
            [(x - 0.012, top + 0.06), (x + 0.012, top + 0.06), (x + 0.03, top + 0.19), (x - 0.03, top + 0.19)],
            look.trim,
            puff=0.012,
            lift=0.08,
        )
        for k in (-0.014, 0.0, 0.014):
            easel.line([(x + k * 0.5, top + 0.08), (x + k, top + 0.19)], scaled(look.accent, 0.6), 0.004)
    if look.has("charm"):
        x = 0.5 - width * 0.6
        easel.part(ellipse(x, top + 0.11, 0.04, 0.04), smooth(look.accent, 0.8), form="ball", lift=0.06)
        easel.line([(x, top + 0.02), (x, top + 0.08)], metal, 0.008)
    if look.has("metal feet"):
        for x in (0.5 - width * 0.75, 0.5 + width * 0.75):
            easel.part(ellipse(x, bottom + 0.008, 0.022, 0.016), smooth(metal, 0.95), puff=0.008)


def draw_backpack(easel: Easel, look: Look) -> None:
    width, height = (
        look.size(0.23, 0.27, 0.31) * look.vary(0.92, 1.08),
        look.size(0.55, 0.66, 0.76) * look.vary(0.94, 1.06),
    )
    bottom = 0.94
    top, dome = bottom - height, look.vary(0.08, 0.16)
    metal = _metal(look)
    for s in (-1, 1):
        strap = curve(
            [
                (0.5 + s * width * 0.5, top + 0.06),
                (0.5 + s * (width + 0.06), top + height * 0.3 + look.sway(0.02)),
                (0.5 + s * (width + 0.05), bottom - 0.2),
                (0.5 + s * width * 0.8, bottom - 0.04),
            ],
            closed=False,
        )
        easel.part(band(strap, 0.045), look.plain, puff=0.014)
        if look.has("side pockets"):
            easel.part(
                box(0.5 + s * width - 0.06, bottom - 0.27, 0.5 + s * width + 0.06, bottom - 0.03, 0.03),
                look.trim,
                puff=0.03,
            )
    if look.has("grab handle") or look.get("closure") != "roll top":
        easel.part(band(ellipse(0.5, top + 0.01, 0.07, look.vary(0.045, 0.075), 180, 360), 0.024), look.trim, puff=0.01)
    roll = look.get("closure") == "roll top"
    head = (
        [(0.5, top), (0.5 + width * 0.85, top)]
        if roll
        else curve([(0.5, top), (0.5 + width * 0.6, top + 0.02), (0.5 + width * 0.93, top + dome)], closed=False)
    )
    easel.part(
        mirrored(
            [
                *head,
                (0.5 + width, bottom - 0.1),
                *curve(
                    [(0.5 + width, bottom - 0.1), (0.5 + width * 0.96, bottom - 0.02), (0.5 + width * 0.8, bottom)],
                    closed=False,
                ),
                (0.5, bottom),
            ]
        ),
        look.main,
        puff=0.06,
        folds=5,
    )
    if look.has("front pocket"):
        y = bottom - height * look.vary(0.38, 0.46)
        easel.part(
            box(0.5 - width * 0.78, y, 0.5 + width * 0.78, bottom - 0.035, 0.05),
            look.trim if look.vary(0, 1) < 0.4 else look.plain,
            puff=0.03,
            lift=0.05,
        )
        easel.part(box(0.5 - width * 0.66, y + 0.03, 0.5 + width * 0.66, y + 0.05), smooth(DARK), puff=0.005, lift=0.07)
        easel.stitch([(0.5 - width * 0.64, y + 0.04), (0.5 + width * 0.64, y + 0.04)], metal, 0.008)
    if look.get("closure") == "zip":
        arc = curve(
            [
                (0.5 - width * 0.88, top + height * 0.42),
                (0.5 - width * 0.84, top + dome),
                (0.5, top + 0.05),
                (0.5 + width * 0.84, top + dome),
                (0.5 + width * 0.88, top + height * 0.42),
            ],
            closed=False,
        )
        easel.line(arc, DARK, 0.018, sunk=0.01)
        easel.stitch(arc, metal, 0.008)
    elif roll:
        for k in range(2):
            easel.part(
                box(0.5 - width * 0.9, top - 0.03 + 0.05 * k, 0.5 + width * 0.9, top + 0.03 + 0.05 * k, 0.03),
                look.plain,
                puff=0.025,
                lift=0.03,
            )
        easel.part(band([(0.5, top - 0.03), (0.5, top + height * 0.35)], 0.04), look.trim, puff=0.01, lift=0.07)
        easel.part(
            box(0.47, top + height * 0.2, 0.53, top + height * 0.2 + 0.05, 0.008),
            smooth(metal, 0.9),
            puff=0.006,
            lift=0.08,
        )
    else:
        drop = height * look.vary(0.36, 0.46)
        easel.part(
            mirrored(
                [
                    *curve(
                        [(0.5, top - 0.012), (0.5 + width * 0.7, top + 0.005), (0.5 + width * 0.97, top + 0.06)],
                        closed=False,
                    ),
                    *curve(
                        [
                            (0.5 + width * 0.98, top + drop * 0.8),
                            (0.5 + width * 0.8, top + drop),
                            (0.5, top + drop + 0.02),
                        ],
                        closed=False,
                    ),
                ]
            ),
            look.plain,
            puff=0.03,
            lift=0.05,
        )
        for x in (0.5 - width * 0.45, 0.5 + width * 0.45):
            easel.part(band([(x, top + drop * 0.5), (x, top + drop + 0.14)], 0.034), look.trim, puff=0.008, lift=0.08)
            easel.part(
                box(x - 0.03, top + drop + 0.02, x + 0.03, top + drop + 0.075, 0.006),
                smooth(metal, 0.95),
                puff=0.005,
                lift=0.09,
                holes=[box(x - 0.015, top + drop + 0.036, x + 0.015, top + drop + 0.06)],
            )
    if look.has("bungee cord"):
        y = top + height * 0.34
        for k in range(3):
            a, b = (0.5 - width * 0.45, y + 0.06 * k), (0.5 + width * 0.45, y + 0.06 * (k + 1))
            easel.line([a, b], look.accent, 0.01)
            easel.line([(1 - a[0], a[1]), (1 - b[0], b[1])], look.accent, 0.01)
    if look.get("motif"):
        easel.motif(look.get("motif"), 0.5, top + height * look.vary(0.4, 0.52), look.vary(0.07, 0.1), look.accent)
