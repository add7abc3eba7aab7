"""Sneakers and boots, seen from the side with the toe to the right."""

from __future__ import annotations

from catalog.demo.easel import Easel
from catalog.demo.look import BRASS, CREAM, DARK, GUM, STEEL, Look, smooth
from catalog.demo.outlines import band, box, curve, ellipse
from catalog.demo.textures import scaled


def draw_sneaker(easel: Easel, look: Look) -> None:
    high = look.get("height") == "high"
    chunky = {"chunky": look.vary(0.095, 0.12), "wedge": look.vary(0.06, 0.075)}.get(
        look.get("sole"), look.vary(0.045, 0.06)
    )
    floor = 0.72
    ground = floor - chunky
    heel_x, toe_x = 0.08, 0.92
    collar = ground - (look.vary(0.36, 0.42) if high else look.vary(0.2, 0.25))
    toe = look.vary(0.09, 0.125)
    open_x = heel_x + look.vary(0.22, 0.27)
    easel.part(
        curve(
            [
                (heel_x + 0.04, collar + 0.02),
                (open_x - 0.05, collar + 0.05),
                (open_x + 0.02, collar + 0.02),
                (open_x - 0.08, collar - 0.015),
            ]
        ),
        smooth(scaled(look.base, 0.4)),
        form="flat",
    )
    throat = look.vary(0.55, 0.62)
    upper = curve(
        [
            (heel_x + 0.015, ground + 0.01),
            (heel_x, ground - 0.1),
            (heel_x + 0.03, collar),
            (heel_x + 0.13, collar + 0.035),
            (open_x, collar + 0.005),
            (throat, ground - toe - 0.015),
            (0.8, ground - toe + 0.008),
            (toe_x - 0.02, ground - 0.05),
            (toe_x - 0.01, ground + 0.01),
        ],
        closed=False,
    )
    easel.part(upper, look.main, puff=0.06, folds=3)
    tongue = curve(
        [
            (open_x - 0.02, collar + 0.01),
            (open_x + 0.04, collar - 0.05),
            (open_x + 0.09, collar + 0.02),
            (open_x + 0.06, collar + 0.07),
        ]
    )
    easel.part(tongue, look.plain, puff=0.02, lift=0.01)
    if look.has("toe cap"):
        easel.part(
            curve(
                [(0.74, ground), (0.78, ground - toe + 0.005), (toe_x - 0.05, ground - 0.07), (toe_x - 0.012, ground)]
            ),
            smooth(CREAM if look.get("sole") == "flat" else look.accent, 0.4),
            puff=0.04,
            lift=0.02,
        )
    if look.has("heel tab"):
        easel.part(
            curve(
                [
                    (heel_x, ground - 0.02),
                    (heel_x - 0.004, ground - 0.1),
                    (heel_x + 0.028, collar),
                    (heel_x + 0.085, collar + 0.035),
                    (heel_x + 0.07, ground - 0.03),
                ]
            ),
            look.trim,
            puff=0.02,
            lift=0.02,
        )
    if look.has("side stripe"):
        lean, count = look.vary(0.05, 0.12), int(look.vary(1, 3.99))
        for i in range(count):
            x = 0.36 + 0.055 * i
            easel.mark(
                [band([(x, ground + 0.01), (x + lean, ground - 0.17)], 0.036 if count > 1 else 0.06)], look.accent
            )
    if look.has("side star"):
        easel.motif("star", 0.3, ground - 0.11, look.vary(0.05, 0.07), look.accent)
    for i in range(4):
        t = (i + 0.4) / 4
        x, y = open_x + 0.05 + t * (throat - open_x), collar + 0.05 + t * (ground - toe - collar - 0.03)
        if look.get("closure") == "laces":
            easel.part(
                band([(x - 0.045, y + 0.035), (x + 0.035, y - 0.028)], 0.018),
                smooth(CREAM if sum(look.base) < 600 else look.accent),
                puff=0.008,
                lift=0.03,
            )
        elif look.get("closure") == "straps" and i in (0, 2):
            easel.part(band([(x - 0.1, y + 0.11), (x + 0.05, y - 0.03)], 0.055), look.trim, puff=0.012, lift=0.03)
    if look.get("closure") == "slip-on":
        easel.mark(
            [[(open_x - 0.02, collar + 0.1), (open_x + 0.08, collar + 0.05), (open_x + 0.05, collar + 0.17)]],
            scaled(look.accent, 0.8),
        )
    sole = CREAM if look.vary(0, 1) < 0.6 else GUM if look.vary(0, 1) < 0.5 else DARK
    back = chunky * (1.9 if look.get("sole") == "wedge" else 1.0)
    easel.part(
        curve(
            [
                (heel_x - 0.015, floor - 0.02),
                (heel_x - 0.01, floor - back),
                (heel_x + 0.1, floor - back + 0.005),
                (0.5, ground),
                (toe_x - 0.03, ground - 0.012),
                (toe_x + 0.012, ground + 0.02),
                (toe_x - 0.02, floor - 0.012),
                (0.7, floor),
                (0.2, floor),
            ]
        ),
        smooth(sole, 0.15),
        puff=0.02,
        lift=0.02,
    )
    easel.line(
        [(heel_x, floor - chunky * 0.45), (toe_x - 0.02, floor - chunky * 0.45)],
        look.accent if look.has("side stripe") else scaled(sole, 0.75),
        0.012,
    )
    if look.get("sole") == "chunky":
        for i in range(9):
            x = heel_x + 0.03 + i * 0.095
            easel.mark(
                [[(x, floor + 0.01), (x + 0.02, floor - 0.03), (x + 0.045, floor - 0.03), (x + 0.06, floor + 0.01)]],
                scaled(sole, 0.6),
            )


def draw_boot(easel: Easel, look: Look) -> None:
    floor = 0.93
    heel = {"flat": 0.03, "block": look.vary(0.1, 0.13)}.get(look.get("heel"), look.vary(0.06, 0.075))
    top = {"low": look.vary(0.46, 0.5), "mid": look.vary(0.28, 0.34)}.get(look.get("height"), look.vary(0.05, 0.1))
    width = look.vary(0.2, 0.25)
    back, ankle = 0.22, floor - heel - look.vary(0.24, 0.28)
    ground = floor - 0.03
    pointed = look.get("toe") == "pointed"
    toe_x, toe_h = (0.86, 0.075) if pointed else (0.8, look.vary(0.12, 0.14))
    easel.part(
        ellipse(back + width / 2, top + 0.01, width / 2 + 0.01, 0.022), smooth(scaled(look.base, 0.4)), form="flat"
    )
    easel.part(
        curve(
            [
                (back + 0.01, ground - heel + 0.02),
                (back + 0.01, ground - heel + 0.02),
                (back - 0.012, ground - heel - 0.1),
                (back + 0.025, ankle),
                (back, (top + ankle) / 2),
                (back - 0.01, top),
                (back - 0.01, top),
                (back + width + 0.015, top + 0.015),
                (back + width + 0.015, top + 0.015),
                (back + width, (top + ankle) / 2 + 0.02),
                (back + width + 0.02, ankle + 0.02),
                (0.62, ground - toe_h - 0.05),
                (toe_x - 0.06, ground - toe_h),
                (toe_x, ground - (0.01 if pointed else 0.05)),
                (toe_x - 0.01, ground + 0.012),
                (toe_x - 0.01, ground + 0.012),
                (0.5, ground + 0.012),
                (0.42, ground - heel * 0.6),
            ]
        ),
        look.main,
        puff=0.06,
        folds=5,
    )
    if look.has("toe cap"):
        easel.part(
            curve(
                [
                    (toe_x - 0.16, ground),
                    (toe_x - 0.13, ground - toe_h - 0.005),
                    (toe_x - 0.03, ground - toe_h * 0.6),
                    (toe_x, ground),
                ]
            ),
            look.trim,
            puff=0.035,
            lift=0.02,
        )
    front = back + width
    if look.get("closure") == "laces":
        ink = CREAM if sum(look.base) < 430 else DARK
        for i in range(7):
            t = i / 6
            y = top + 0.06 + t * (ground - toe_h - top - 0.12)
            x = front - 0.015 + max(0.0, t - 0.55) * 0.38
            easel.part(band([(x - 0.06, y + 0.015), (x + 0.005, y - 0.012)], 0.016), smooth(ink), puff=0.006, lift=0.03)
    elif look.get("closure") == "zip":
        easel.part(
            band([(back + width * 0.5, top + 0.02), (back + width * 0.52, ground - heel - 0.06)], 0.022),
            smooth(STEEL, 0.8),
            puff=0.004,
            lift=0.02,
        )
        easel.stitch([(back + width * 0.5, top + 0.02), (back + width * 0.52, ground - heel - 0.06)], DARK, 0.01)
    elif look.get("closure") == "buckle":
        for y in (ankle + 0.03,) if look.get("height") == "low" else (ankle + 0.03, top + 0.07):
            easel.part(band([(back - 0.008, y + 0.01), (front + 0.03, y)], 0.04), look.trim, puff=0.01, lift=0.03)
            easel.part(
                box(front - 0.09, y - 0.03, front - 0.03, y + 0.035, 0.006),
                smooth(BRASS, 0.9),
                puff=0.005,
                lift=0.05,
                holes=[box(front - 0.076, y - 0.014, front - 0.044, y + 0.02)],
            )
    else:
        easel.mark(
            [[(back + 0.06, ankle - 0.13), (back + 0.16, ankle - 0.13), (back + 0.11, ankle + 0.06)]],
            scaled(look.accent, 0.85),
        )
    if look.has("contrast stitching"):
        easel.stitch(
            curve([(0.5, ground), (0.5, ground - 0.16), (0.62, ground - toe_h - 0.03)], closed=False),
            look.accent,
            0.009,
        )
        easel.stitch([(back, ground - heel + 0.01), (0.45, ground - 0.03), (toe_x, ground - 0.01)], look.accent, 0.009)
    if look.has("fur lining"):
        for i in range(12):
            easel.part(
                ellipse(back + (i + 0.3) * (width + 0.02) / 12, top + 0.005 + look.sway(0.01), 0.024, 0.028),
                smooth((236, 226, 206)),
                puff=0.014,
                lift=0.03,
                contact=0.1,
            )
    if look.has("pull tab"):
        easel.part(box(back - 0.012, top - 0.05, back + 0.025, top + 0.04, 0.012), look.trim, puff=0.006, lift=0.03)
    sole = DARK if look.vary(0, 1) < 0.65 else GUM
    easel.part(
        curve(
            [
                (0.4, ground - 0.01),
                (0.6, ground + 0.002),
                (toe_x, ground - 0.002),
                (toe_x + 0.012, floor - 0.012),
                (0.6, floor),
                (0.41, floor),
            ]
        ),
        smooth(sole, 0.2),
        puff=0.01,
        lift=0.02,
    )
    if look.get("heel") == "flat":
        easel.part(box(back - 0.015, ground - 0.008, 0.5, floor, 0.012), smooth(sole, 0.2), puff=0.01, lift=0.02)
    else:
        easel.part(
            [(back, floor - heel - 0.03), (0.43, ground - heel * 0.6 - 0.005), (0.41, floor), (back + 0.03, floor)],
            smooth(sole, 0.2),
            puff=0.012,
            lift=0.02,
        )
