"""Pumps, seen from the side with the toe to the right."""

from __future__ import annotations

from catalog.demo.easel import Easel
from catalog.demo.look import BRASS, DARK, GUM, STEEL, Look, smooth
from catalog.demo.outlines import band, box, curve, ellipse
from catalog.demo.textures import scaled


def draw_pump(easel: Easel, look: Look) -> None:
    kind = look.get("heel")
    rise = {"stiletto": look.vary(0.36, 0.42), "block": look.vary(0.24, 0.32), "kitten": look.vary(0.13, 0.17)}.get(
        kind, look.vary(0.26, 0.34)
    )
    floor, back = 0.8, 0.12
    lift = look.vary(0.05, 0.07) if look.has("platform") else 0.018
    ground = floor - lift
    heel_top = floor - rise
    pointed = look.get("toe") == "pointed"
    toe_x = 0.93 if pointed else 0.86
    toe_h = 0.07 if pointed else 0.1
    depth = look.vary(0.1, 0.15)
    if kind == "wedge":
        easel.part(
            curve(
                [
                    (back, heel_top + 0.03),
                    (back + 0.02, floor),
                    (back + 0.02, floor),
                    (0.72, floor),
                    (0.72, floor),
                    (0.62, ground - 0.02),
                    (0.4, heel_top + 0.12),
                ]
            ),
            look.paint(GUM, material="straw"),
            puff=0.02,
        )
    elif kind == "block":
        w = look.vary(0.1, 0.14)
        easel.part(
            [
                (back + 0.005, heel_top + 0.02),
                (back + 0.17, heel_top + 0.08),
                (back + w + 0.02, floor),
                (back + 0.02, floor),
            ],
            look.trim if look.vary(0, 1) < 0.3 else look.plain,
            puff=0.02,
        )
    else:
        tip = back + (0.05 if kind == "stiletto" else 0.06)
        easel.part(
            curve(
                [
                    (back, heel_top + 0.02),
                    (tip, floor - rise * 0.4),
                    (tip + 0.006, floor),
                    (tip + 0.006, floor),
                    (tip + 0.028, floor),
                    (tip + 0.028, floor),
                    (tip + 0.05, floor - rise * 0.5),
                    (back + 0.16, heel_top + 0.09),
                ]
            ),
            look.plain,
            puff=0.012,
        )
    easel.part(
        curve(
            [
                (back + 0.02, heel_top - 0.01),
                (0.3, heel_top + 0.04),
                (0.5, ground - 0.14),
                (0.62, ground - toe_h - 0.02),
                (0.6, ground - 0.03),
                (0.4, heel_top + 0.12),
                (back + 0.05, heel_top + 0.06),
            ]
        ),
        smooth(scaled(look.accent, 0.8) if look.vary(0, 1) < 0.4 else (206, 178, 148)),
        puff=0.02,
    )
    easel.part(
        curve(
            [
                (back - 0.01, heel_top - 0.13),
                (back - 0.01, heel_top - 0.13),
                (back + 0.05, heel_top - 0.11),
                (0.26, heel_top + 0.035 - depth * 0.35),
                (0.44, ground - 0.2 + (rise - 0.25) * -0.35),
                (0.62, ground - toe_h - 0.055),
                (0.66, ground - toe_h - 0.075),
                (0.76, ground - toe_h),
                (toe_x, ground - 0.025),
                (toe_x - 0.01, ground + 0.002),
                (0.64, ground),
                (0.46, ground - 0.06 - (rise - 0.2) * 0.2),
                (0.28, heel_top + 0.1),
                (back, heel_top + 0.05),
                (back - 0.025, heel_top - 0.04),
            ]
        ),
        look.main,
        puff=0.045,
    )
    easel.part(
        band(
            curve(
                [
                    (back + 0.02, heel_top + 0.075),
                    (0.3, heel_top + 0.12),
                    (0.47, ground - 0.045 - (rise - 0.2) * 0.2),
                    (0.64, ground + 0.004),
                    (toe_x - 0.01, ground + 0.004),
                ],
                closed=False,
            ),
            0.018,
        ),
        smooth(DARK, 0.3),
        puff=0.006,
    )
    if look.has("platform"):
        easel.part(
            curve(
                [(0.52, ground - 0.02), (0.7, ground), (toe_x, ground - 0.005), (toe_x - 0.02, floor), (0.56, floor)]
            ),
            look.trim,
            puff=0.015,
            lift=0.01,
        )
    if look.has("toe cap"):
        easel.part(
            curve(
                [
                    (0.77, ground),
                    (0.775, ground - toe_h),
                    (toe_x - 0.04, ground - 0.05),
                    (toe_x - 0.004, ground - 0.004),
                ]
            ),
            look.trim,
            puff=0.03,
            lift=0.015,
        )
    if look.get("closure") == "ankle strap":
        y = heel_top - look.vary(0.15, 0.2)
        easel.part(
            ellipse(back + 0.1, y, 0.12, 0.045) + ellipse(back + 0.1, y, 0.1, 0.028, 360, 0),
            look.plain,
            puff=0.008,
            lift=0.02,
        )
        easel.part(band([(back + 0.002, heel_top - 0.1), (back + 0.0, y)], 0.03), look.plain, puff=0.01)
        easel.part(ellipse(back + 0.2, y + 0.01, 0.018, 0.02), smooth(BRASS, 0.9), puff=0.006, lift=0.03)
    if look.get("closure") == "T-strap":
        easel.part(
            band(
                curve([(0.64, ground - toe_h - 0.06), (0.5, heel_top + 0.0), (0.34, heel_top - 0.1)], closed=False),
                0.026,
            ),
            look.plain,
            puff=0.01,
            lift=0.02,
        )
        easel.part(
            band(curve([(back, heel_top - 0.12), (0.2, heel_top - 0.14), (0.36, heel_top - 0.1)], closed=False), 0.028),
            look.plain,
            puff=0.01,
            lift=0.02,
        )
    if look.has("bow"):
        for s in (-1, 1):
            easel.part(
                curve(
                    [
                        (0.68, ground - toe_h - 0.055),
                        (0.68 + s * 0.08, ground - toe_h - 0.1),
                        (0.68 + s * 0.085, ground - toe_h - 0.015),
                    ]
                ),
                look.trim,
                puff=0.014,
                lift=0.03,
            )
        easel.part(ellipse(0.68, ground - toe_h - 0.055, 0.018, 0.022), look.trim, puff=0.01, lift=0.04)
    if look.has("buckle"):
        easel.part(
            box(0.66, ground - toe_h - 0.075, 0.75, ground - toe_h - 0.005, 0.008),
            smooth(BRASS if look.vary(0, 1) < 0.6 else STEEL, 0.95),
            puff=0.006,
            lift=0.03,
            holes=[box(0.682, ground - toe_h - 0.057, 0.728, ground - toe_h - 0.023)],
        )
