"""Trousers and skirts, laid flat."""

from __future__ import annotations

from catalog.demo.easel import Easel
from catalog.demo.look import BRASS, CREAM, DARK, Look, smooth
from catalog.demo.outlines import band, box, curve, ellipse, flipped, mirrored
from catalog.demo.textures import scaled


def draw_trousers(easel: Easel, look: Look) -> None:
    end = {"cropped": look.vary(0.68, 0.76), "shorts": look.vary(0.42, 0.5)}.get(look.get("length"), 0.94)
    waist = look.vary(0.125, 0.155)
    hem = {"skinny": look.vary(0.048, 0.06), "wide leg": look.vary(0.12, 0.15)}.get(
        look.get("fit"), look.vary(0.078, 0.095)
    )
    if look.get("length") == "shorts":
        hem = max(hem, 0.1)
    gap, crotch = look.vary(0.012, 0.05), look.vary(0.27, 0.31)
    for mirror in (False, True):
        x_end = 0.5 + gap + hem + look.sway(0.012) + 0.02
        knee = (0.5 + waist + 0.035 + x_end + hem) / 2
        leg = [
            (0.5, 0.06),
            (0.5 + waist, 0.06),
            *curve(
                [(0.5 + waist, 0.06), (0.5 + waist + 0.035, 0.22), (knee, (0.25 + end) / 2), (x_end + hem, end)],
                closed=False,
            ),
            (x_end - hem, end + 0.006),
            (0.5 + gap / 2, crotch + 0.03),
            (0.5, crotch),
        ]
        easel.part(flipped(leg) if mirror else leg, look.main, form="puff", puff=0.04, folds=8, contact=0.2)
        crease = [(x_end, end), (0.5 + waist * 0.72, crotch)]
        if look.has("side stripe"):
            stripe = band(
                [
                    (0.5 + waist - 0.012, 0.1),
                    (0.5 + waist + 0.018, 0.24),
                    (knee - 0.022, (0.25 + end) / 2),
                    (x_end + hem - 0.02, end),
                ],
                0.026,
            )
            easel.mark([flipped(stripe) if mirror else stripe], look.accent)
        elif look.get("material") == "cotton":
            easel.line(flipped(crease) if mirror else crease, look.ink, 0.005, 0.5, sunk=-0.008)
        seam = [(0.5 + waist * 0.45, 0.105), (0.5 + waist * 0.75, 0.175), (0.5 + waist + 0.02, 0.2)]
        easel.stitch(
            flipped(seam) if mirror else seam, look.stitch_ink, 0.007 if look.has("contrast stitching") else 0.005
        )
        if look.has("contrast stitching"):
            long_seam = [(x_end + hem * 0.75, end), (0.5 + waist * 0.97, 0.24)]
            easel.stitch(flipped(long_seam) if mirror else long_seam, look.accent, 0.007)
        if look.has("cargo pockets") and end > 0.55:
            x, y, w = x_end + hem * 0.1, 0.46, look.vary(0.065, 0.085)
            pocket, flap = box(x, y, x + w, y + 0.11, 0.01), box(x - 0.006, y, x + w + 0.006, y + 0.035, 0.008)
            easel.part(flipped(pocket) if mirror else pocket, look.plain, puff=0.01, lift=0.03)
            easel.part(flipped(flap) if mirror else flap, look.plain, puff=0.008, lift=0.045)
        if look.has("knee patches") and end > 0.6:
            patch = box(x_end - hem * 0.75, 0.52, x_end + hem * 0.6, 0.66, 0.015)
            easel.part(flipped(patch) if mirror else patch, look.trim, puff=0.008, lift=0.03)
        if look.has("rolled hem"):
            roll = band([(x_end - hem - 0.006, end + 0.004), (x_end + hem + 0.006, end - 0.004)], 0.045)
            paint = smooth(scaled(look.base, 1.35 if sum(look.base) < 560 else 0.85))
            easel.part(flipped(roll) if mirror else roll, paint, puff=0.014, lift=0.02)
    easel.line([(0.5, 0.1), (0.5, crotch)], look.ink, 0.006, 0.7, sunk=0.01)
    band_height = look.vary(0.035, 0.05)
    easel.part(
        box(0.5 - waist - 0.004, 0.05, 0.5 + waist + 0.004, 0.05 + band_height), look.plain, puff=0.008, lift=0.03
    )
    easel.stitch([(0.5 - waist, 0.05 + band_height), (0.5 + waist, 0.05 + band_height)], look.stitch_ink, 0.005)
    if look.get("closure") == "button":
        easel.part(ellipse(0.5, 0.073, 0.013, 0.013), smooth(BRASS, 0.9), puff=0.006, lift=0.05)
        for x in (-0.7, -0.35, 0.35, 0.7):
            easel.part(
                box(0.5 + x * waist - 0.006, 0.043, 0.5 + x * waist + 0.006, 0.055 + band_height),
                look.plain,
                puff=0.004,
                lift=0.04,
            )
    else:
        for x in (0.485, 0.515):
            cord = curve([(x, 0.075), (x + look.sway(0.02), 0.13), (x + look.sway(0.03), 0.2)], closed=False)
            easel.part(band(cord, 0.012), smooth(CREAM if sum(look.base) < 520 else DARK), puff=0.005, lift=0.05)


def draw_skirt(easel: Easel, look: Look) -> None:
    end = {"mini": look.vary(0.48, 0.55), "midi": look.vary(0.68, 0.76)}.get(look.get("length"), 0.93)
    waist = look.vary(0.115, 0.145) * (0.8 if end > 0.9 else 1.1)
    shape = look.get("silhouette")
    hem = {"pencil": look.vary(0.95, 1.15), "pleated": look.vary(1.8, 2.2)}.get(shape, look.vary(1.7, 2.5)) * waist
    top, hip = 0.1, waist * (1.3 if shape == "pencil" else 1.15)
    side = curve([(0.5 + waist, top), (0.5 + hip, top + 0.16), (0.5 + hem, end)], closed=False)
    scallops = 10 if shape == "pleated" else 6
    wave = [(0.5 + hem * (1 - i / scallops), end + (0.014 if i % 2 else 0.0)) for i in range(1, scallops + 1)]
    easel.part(mirrored([(0.5, top), *side, *wave]), look.main, puff=0.04, folds=4 if shape == "pleated" else 12)
    if shape == "pleated":
        num_pleats = int(look.vary(6, 11))
        for i in range(1 - num_pleats, num_pleats):
            t = i / num_pleats
            easel.line([(0.5 + waist * t, top), (0.5 + hem * t, end + 0.01)], look.ink, 0.008, 0.55, sunk=0.015)
    if look.has("side slit"):
        easel.mark(
            [[(0.5 + hem * 0.5, end - 0.2), (0.5 + hem * 0.62, end + 0.02), (0.5 + hem * 0.4, end + 0.02)]],
            scaled(look.base, 0.35),
        )
    if look.has("contrast trim"):
        easel.line([(0.5 - hem, end - 0.012), (0.5, end - 0.004), (0.5 + hem, end - 0.012)], look.accent, 0.03)
    if look.has("button front"):
        count = int(look.vary(4, 8))
        for i in range(count):
            y = top + 0.07 + i * (end - top - 0.09) / count
            easel.part(
                ellipse(0.5, y, 0.014, 0.014),
                smooth(BRASS if sum(look.base) < 480 else DARK, 0.7),
                puff=0.006,
                lift=0.05,
            )
    if look.has("patch pockets"):
        for s in (-1, 1):
            x = 0.5 + s * waist * 0.75
            easel.part(box(x - 0.045, top + 0.1, x + 0.045, top + 0.21, 0.012), look.trim, puff=0.01, lift=0.04)
    belt = look.has("belt")
    easel.part(
        box(0.5 - waist - 0.006, top - 0.035, 0.5 + waist + 0.006, top + 0.018),
        look.trim if belt else look.plain,
        puff=0.01,
        lift=0.03,
    )
    if belt:
        easel.part(
            box(0.47, top - 0.042, 0.53, top + 0.025, 0.008),
            smooth(BRASS, 0.9),
            puff=0.006,
            lift=0.05,
            holes=[box(0.482, top - 0.025, 0.518, top + 0.008)],
        )
