"""Watches, sunglasses and caps."""

from __future__ import annotations

import math

from catalog.demo.easel import Easel
from catalog.demo.look import BRASS, CREAM, DARK, STEEL, Look, smooth
from catalog.demo.outlines import Outline, band, box, curve, ellipse, flipped
from catalog.demo.palette import Rgb
from catalog.demo.textures import scaled


def draw_watch(easel: Easel, look: Look) -> None:
    radius = look.size(0.15, 0.185, 0.22) * look.vary(0.95, 1.05)
    strap = radius * look.vary(0.9, 1.15)
    metal: Rgb = BRASS if look.vary(0, 1) < 0.45 else STEEL
    steel_band = look.get("material") == "metal"
    for sign in (-1, 1):
        end = 0.5 + sign * 0.46
        outline = [(0.5 - strap / 2, 0.5), (0.5 + strap / 2, 0.5), (0.5 + strap * 0.38, end), (0.5 - strap * 0.38, end)]
        easel.part(outline, look.paint(look.base, material="metal") if steel_band else look.plain, puff=0.02)
        if steel_band:
            for i in range(1, 9):
                y = 0.5 + sign * (radius * 0.9 + i * (0.46 - radius * 0.9) / 9)
                easel.line([(0.5 - strap / 2, y), (0.5 + strap / 2, y)], scaled(look.base, 0.5), 0.009, sunk=0.012)
        elif look.get("material") == "leather":
            for edge in (-1, 1):
                easel.stitch(
                    [(0.5 + edge * strap * 0.4, 0.5), (0.5 + edge * strap * 0.29, end)], scaled(look.base, 1.35), 0.007
                )
        elif sign > 0:
            for i in range(4):
                easel.mark([ellipse(0.5, 0.5 + radius + 0.06 + i * 0.05, 0.014, 0.009)], DARK)
    easel.part(box(0.5 + radius - 0.01, 0.475, 0.5 + radius + 0.04, 0.525, 0.01), smooth(metal, 0.95), puff=0.01)
    corner = {"square": 0.12, "cushion": 0.62}.get(look.get("shape"))

    def case(r: float) -> Outline:
        return ellipse(0.5, 0.5, r, r) if corner is None else box(0.5 - r, 0.5 - r, 0.5 + r, 0.5 + r, corner * r)

    easel.part(case(radius), smooth(metal, 0.95), puff=0.02, lift=0.03)
    if look.has("coloured bezel"):
        easel.part(case(radius * 0.92), smooth(look.accent, 0.7), puff=0.008, lift=0.045)
    light = look.vary(0, 1) < 0.5
    dial: Rgb = CREAM if light else scaled(look.base, 0.55) if look.vary(0, 1) < 0.5 else (30, 32, 38)
    ink: Rgb = DARK if sum(dial) > 380 else CREAM
    face = radius * (0.76 if look.has("coloured bezel") else 0.84)
    easel.part(case(face), smooth(dial, 0.5), form="flat", lift=0.045, contact=0.0)
    for hour in range(12):
        c, s = math.cos(math.radians(30 * hour)), math.sin(math.radians(30 * hour))
        stretch = 1.0 if corner is None else 1 / max(abs(c), abs(s)) ** 0.6
        at, r = 0.8 * face * stretch, face
        if look.get("dial") == "bar markers":
            easel.mark(
                [band([(0.5 + c * at * 0.84, 0.5 + s * at * 0.84), (0.5 + c * at * 1.05, 0.5 + s * at * 1.05)], 0.014)],
                ink,
            )
        elif look.get("dial") == "dots":
            easel.mark([ellipse(0.5 + c * at, 0.5 + s * at, 0.055 * r + 0.004, 0.055 * r + 0.004)], ink)
        elif look.get("dial") == "numerals" and hour % 3 == 0:
            easel.mark([box(0.5 + c * at - 0.012, 0.5 + s * at - 0.02, 0.5 + c * at + 0.012, 0.5 + s * at + 0.02)], ink)
    small = face * 0.22
    if look.has("chronograph"):
        for dx, dy in ((-0.42, 0), (0.42, 0), (0, 0.42)):
            easel.part(
                ellipse(0.5 + dx * face, 0.5 + dy * face, small, small),
                smooth(scaled(look.accent, 0.9), 0.4),
                form="flat",
                lift=0.045,
                contact=0.0,
            )
            easel.line(
                [(0.5 + dx * face, 0.5 + dy * face), (0.5 + dx * face, 0.5 + dy * face - small * 0.8)], CREAM, 0.006
            )
    if look.has("moon phase"):
        easel.mark([ellipse(0.5, 0.5 + 0.4 * face, 0.3 * face, 0.3 * face, 180, 360)], (34, 48, 110))
        easel.mark([ellipse(0.5, 0.5 + 0.32 * face, 0.11 * face, 0.11 * face)], (244, 216, 120))
    if look.has("date window"):
        easel.mark([box(0.5 + 0.5 * face, 0.478, 0.5 + 0.76 * face, 0.522)], CREAM if sum(dial) < 380 else look.accent)
    hands = ((look.vary(0, 6.28), 0.5, 0.02), (look.vary(0, 6.28), 0.76, 0.014))
    for angle, reach, width in hands:
        tip = (0.5 + reach * face * math.cos(angle), 0.5 + reach * face * math.sin(angle))
        easel.mark([band([(0.5, 0.5), tip], width, width * 0.5)], ink)
    easel.mark([ellipse(0.5, 0.5, 0.016, 0.016)], look.accent)


def _lens(look: Look, cx: float, cy: float, w: float, h: float) -> Outline:
    shape = look.get("shape")
    if shape == "round":
        return ellipse(cx, cy, w, w)
    if shape == "square":
        return box(cx - w, cy - h * 0.85, cx + w, cy + h * 0.85, 0.035)
    if shape == "cat-eye":
        return curve(
            [
                (cx - w, cy - h * 0.5),
                (cx + w * 0.4, cy - h * 0.75),
                (cx + w * 1.18, cy - h * 1.2),
                (cx + w * 1.18, cy - h * 1.2),
                (cx + w * 0.92, cy + h * 0.25),
                (cx, cy + h * 0.8),
                (cx - w * 0.9, cy + h * 0.3),
            ]
        )
    return curve(
        [
            (cx - w, cy - h * 0.72),
            (cx, cy - h * 0.85),
            (cx + w, cy - h * 0.7),
            (cx + w * 0.88, cy + h * 0.4),
            (cx + w * 0.1, cy + h * 1.15),
            (cx - w * 0.75, cy + h * 0.6),
        ]
    )


def draw_sunglasses(easel: Easel, look: Look) -> None:
    w = look.size(0.135, 0.155, 0.175) * look.vary(0.95, 1.05)
    h = w * look.vary(0.8, 1.0)
    rim = (0.034 if look.get("material") == "plastic" else 0.014) * (1.45 if look.has("thick rim") else 1.0)
    frame = smooth(look.base, 0.85 if look.get("material") == "metal" else 0.6)
    gap = look.vary(0.03, 0.05)
    open_temples = look.vary(0.1, 0.2)
    temple = smooth(look.accent, 0.6) if look.has("contrast temples") else frame
    cy = 0.52
    for mirror in (False, True):
        arm = band(
            curve(
                [
                    (0.5 + gap + 2 * w + rim, cy - h * 0.55),
                    (0.5 + gap + 2 * w + rim + 0.045, cy - h * 0.6 - open_temples * 0.5),
                    (0.5 + gap + 1.6 * w, cy - h * 0.6 - open_temples),
                    (0.5 + gap + 1.5 * w, cy - h * 0.5 - open_temples),
                ],
                closed=False,
            ),
            max(0.02, rim * 0.8),
        )
        easel.part(flipped(arm) if mirror else arm, temple, puff=0.008)
    tint = {"dark": (34, 32, 40), "gradient": (60, 48, 56), "mirrored": look.accent}[look.get("lens") or "dark"]
    bridge = cy - h * 0.4
    easel.part(
        band(
            curve([(0.5 - gap - rim, bridge), (0.5, bridge - 0.03), (0.5 + gap + rim, bridge)], closed=False),
            max(0.016, rim * 0.8),
        ),
        frame,
        puff=0.008,
    )
    if look.has("double bridge"):
        easel.part(
            band([(0.5 - gap - w * 0.5, cy - h * 0.82), (0.5 + gap + w * 0.5, cy - h * 0.82)], max(0.016, rim * 0.6)),
            frame,
            puff=0.008,
        )
    for mirror in (False, True):
        cx = 0.5 + gap + w
        glass, grow = _lens(look, cx, cy, w, h), 1 + rim / w
        outer = [(cx + (x - cx) * grow, cy + (y - cy) * grow) for x, y in glass]
        if mirror:
            glass, outer = flipped(glass), flipped(outer)
        easel.part(outer, frame, puff=0.014, lift=0.01)
        easel.part(glass, smooth(tint, 1.0, 0.9), form="ball", contact=0.0)
        if look.get("lens") == "gradient":
            for k in range(8):
                xs, ys = [x for x, _ in glass], max(y for _, y in glass)
                easel.mark(
                    [box(min(xs) + 0.01, ys - 0.012 * (8 - k) - 0.004, max(xs) - 0.01, ys - 0.004)],
                    (214, 160, 110),
                    0.1,
                )
        if look.has("studs"):
            x = 0.5 + gap + 2 * w + rim * 0.4
            easel.mark([ellipse(1 - x if mirror else x, cy - h * 0.55 + k, 0.01, 0.01) for k in (-0.014, 0.014)], BRASS)


def draw_cap(easel: Easel, look: Look) -> None:
    crown = look.vary(0.36, 0.44)
    base_y = 0.62
    front, back = 0.62, 0.1
    dome = curve(
        [
            (back, base_y),
            (back + 0.02, base_y - crown * 0.6),
            (back + 0.16, base_y - crown * 0.96),
            (0.38, base_y - crown),
            (front - 0.04, base_y - crown * 0.72),
            (front + 0.04, base_y - crown * 0.2),
            (front + 0.05, base_y),
        ],
        closed=False,
    )
    easel.part([*dome, (0.5, base_y + 0.03), (0.25, base_y + 0.028)], look.main, puff=0.09, folds=3)
    if look.has("mesh back"):
        net = curve(
            [
                (back + 0.004, base_y + 0.005),
                (back + 0.024, base_y - crown * 0.58),
                (back + 0.14, base_y - crown * 0.9),
                (0.29, base_y - crown * 0.93),
                (0.24, base_y - crown * 0.5),
                (0.26, base_y + 0.02),
            ]
        )
        easel.part(net, look.paint(look.accent, material="mesh"), puff=0.05, contact=0.1)
    for x in (0.24, 0.42):
        easel.stitch(
            curve([(0.36, base_y - crown), (x, base_y - crown * 0.6), (x - 0.02, base_y + 0.02)], closed=False),
            look.stitch_ink,
            0.008 if look.has("contrast stitching") else 0.005,
        )
        easel.mark([ellipse(x + 0.07, base_y - crown * 0.62, 0.009, 0.009)], scaled(look.base, 0.5))
    reach, curl = look.vary(0.28, 0.34), 0.11 if look.get("brim") == "curved" else 0.015
    brim = curve(
        [
            (front - 0.22, base_y + 0.015),
            (front + 0.03, base_y - 0.045),
            (front + reach - 0.05, base_y - 0.02 + curl * 0.5),
            (front + reach, base_y + 0.03 + curl),
            (front + reach * 0.6, base_y + 0.06 + curl * 0.45),
            (front - 0.05, base_y + 0.065),
        ]
    )
    easel.part(brim, look.trim if look.has("contrast brim") else look.plain, puff=0.025, lift=0.03)
    for k in (0.35, 0.6):
        easel.stitch(
            [
                (front - 0.1, base_y + 0.05),
                (front + reach * k, base_y + 0.03 + curl * 0.35),
                (front + reach * (k + 0.3), base_y + 0.02 + curl * 0.7),
            ],
            look.stitch_ink,
            0.006,
        )
    if look.has("top button"):
        easel.part(ellipse(0.37, base_y - crown - 0.004, 0.03, 0.018), look.trim, puff=0.012, lift=0.03)
    if look.get("motif"):
        easel.motif(look.get("motif"), front - 0.11, base_y - crown * 0.45, look.vary(0.07, 0.095), look.accent)
