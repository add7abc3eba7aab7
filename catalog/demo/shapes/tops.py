"""T-shirts, shirts, hoodies and dresses, laid flat."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.demo.easel import Easel
from catalog.demo.look import CREAM, DARK, STEEL, Look, smooth
from catalog.demo.outlines import Outline, band, box, curve, ellipse, flipped, mirrored
from catalog.demo.textures import scaled


@dataclass(frozen=True)
class _Cut:
    """The measures of an upper body; x from the middle outwards, y downwards."""

    neck: float
    neck_drop: float
    shoulder: float
    top: float
    chest: float
    hem_y: float
    hem: float


def _sleeves(easel: Easel, look: Look, cut: _Cut, contrast: bool = False) -> None:
    sleeve = look.get("sleeve") or "long"
    if sleeve == "sleeveless":
        return
    long = sleeve == "long"
    length = look.vary(0.40, 0.50) if long else look.vary(0.15, 0.23)
    width = look.vary(0.085, 0.12) if long else look.vary(0.12, 0.17)
    spread = look.vary(0.10, 0.20) if long else look.vary(0.10, 0.17)
    paint = look.trim if contrast else look.main
    for side in (False, True):
        swing = look.sway(0.03)
        sx, sy = 0.5 + cut.shoulder, cut.top + 0.035
        ex, ey = sx + spread + swing, sy + length
        inner_y = cut.top + 0.23
        outline: Outline = [
            (sx - 0.06, sy - 0.02),
            (sx, sy),
            (sx + 0.55 * (ex - sx), sy + 0.42 * length),
            (ex, ey),
            (ex - width, ey + 0.02),
            (0.5 + cut.chest - 0.01, inner_y),
            (0.5 + cut.chest - 0.05, inner_y - 0.05),
        ]
        shape = curve(outline[:3], closed=False) + outline[3:]
        cuff = band([(ex, ey - 0.012), (ex - width, ey + 0.008)], 0.022)
        if side:
            shape, cuff = flipped(shape), flipped(cuff)
        easel.part(shape, paint, puff=0.03, folds=4 if long else 2)
        if look.has("contrast trim") or look.has("rolled cuffs"):
            easel.part(cuff, look.trim if look.has("contrast trim") else look.plain, puff=0.01, lift=0.012)
        else:
            easel.line(cuff[2:], look.ink, 0.004, 0.6)


def _body(easel: Easel, look: Look, cut: _Cut, folds: int = 7) -> None:
    y = cut.top
    v_neck = look.get("neckline") == "V-neck"
    neck: Outline = (
        [(0.5, y + cut.neck_drop), (0.5 + cut.neck, y)]
        if v_neck
        else curve(
            [(0.5, y + cut.neck_drop), (0.5 + 0.7 * cut.neck, y + 0.72 * cut.neck_drop), (0.5 + cut.neck, y)],
            closed=False,
        )
    )
    # Without sleeves the armhole cuts in; with them the sleeve covers it.
    bare = look.get("sleeve") == "sleeveless"
    strap, inset = (0.74, 0.66) if bare else (1.0, 0.94)
    side = curve(
        [
            (0.5 + strap * cut.shoulder, y + 0.035 * strap),
            (0.5 + inset * cut.shoulder, y + 0.12),
            (0.5 + cut.chest, y + 0.23),
            (0.5 + (cut.chest + cut.hem) / 2 - 0.012, (y + 0.23 + cut.hem_y) / 2),
            (0.5 + cut.hem, cut.hem_y),
        ],
        closed=False,
    )
    back = mirrored([(0.5, y + 0.012), (0.5 + cut.neck, y), (0.5 + cut.neck, y + 0.3), (0.5, y + 0.3)])
    easel.part(back, smooth(scaled(look.base, 0.55)), form="flat")
    half = [*neck, *side, (0.5 + 0.5 * cut.hem, cut.hem_y + 0.012), (0.5, cut.hem_y + 0.015)]
    easel.part(mirrored(half), look.main, puff=0.035, folds=folds)
    rib = band([(1 - x, yy) for x, yy in reversed(neck)] + neck[1:], 0.02)
    paint = look.trim if look.has("contrast trim") else look.plain
    if look.get("neckline") in ("V-neck", "crew neck", "scoop neck"):
        easel.part(rib, paint, puff=0.008, lift=0.008, contact=0.25)


def _cut(look: Look, top: float = 0.09) -> _Cut:
    fit = {"slim": 0.88, "oversized": 1.2}.get(look.get("fit"), 1.0)
    drop = {"scoop neck": 0.13, "V-neck": 0.16, "crew neck": 0.055}.get(look.get("neckline"), 0.05)
    shoulder = look.vary(0.2, 0.225) * fit
    chest = look.vary(0.195, 0.215) * fit
    return _Cut(
        neck=look.vary(0.075, 0.095),
        neck_drop=drop * look.vary(0.9, 1.15),
        shoulder=shoulder,
        top=top,
        chest=chest,
        hem_y=top + look.vary(0.55, 0.72),
        hem=chest * look.vary(0.94, 1.12),
    )


def _pocket(easel: Easel, look: Look, x: float, y: float, width: float) -> None:
    outline = [
        (x, y),
        (x + width, y),
        (x + width, y + 0.9 * width),
        (x + width / 2, y + 1.15 * width),
        (x, y + 0.9 * width),
    ]
    easel.part(outline, look.trim if look.has("contrast trim") else look.main, puff=0.008, lift=0.03)
    easel.stitch([*outline, outline[0]], look.ink, 0.004)


def draw_tshirt(easel: Easel, look: Look) -> None:
    cut = _cut(look)
    _sleeves(easel, look, cut)
    _body(easel, look, cut)
    easel.stitch([(0.5 - cut.hem, cut.hem_y - 0.02), (0.5 + cut.hem, cut.hem_y - 0.02)], look.ink, 0.004)
    if look.get("motif"):
        y = cut.top + look.vary(0.27, 0.32) + (0.1 if look.has("chest pocket") else 0.0)
        easel.motif(look.get("motif"), 0.5, y, look.vary(0.08, 0.115), look.accent)
    if look.has("chest pocket"):
        _pocket(easel, look, 0.5 + 0.055, cut.top + 0.16, look.vary(0.075, 0.095))
    if look.has("contrast trim"):
        easel.line([(0.5 - cut.hem, cut.hem_y), (0.5, cut.hem_y + 0.01), (0.5 + cut.hem, cut.hem_y)], look.accent, 0.02)
    if look.has("side vents"):
        for x in (0.5 - cut.hem + 0.012, 0.5 + cut.hem - 0.012):
            easel.line([(x, cut.hem_y - 0.07), (x, cut.hem_y + 0.01)], DARK, 0.012)


def draw_shirt(easel: Easel, look: Look) -> None:
    cut = _cut(look)
    _sleeves(easel, look, cut)
    _body(easel, look, cut, folds=9)
    trim = look.trim if look.has("contrast trim") else look.main
    top, width = cut.top, look.vary(0.022, 0.032)
    easel.part(box(0.5 - width, top + 0.045, 0.5 + width, cut.hem_y + 0.01), trim, puff=0.006, lift=0.03)
    if look.get("neckline") == "band collar":
        easel.part(
            mirrored(
                [(0.5, top + 0.03), (0.5 + cut.neck, top - 0.015), (0.5 + cut.neck, top + 0.02), (0.5, top + 0.065)]
            ),
            trim,
            puff=0.01,
            lift=0.03,
        )
    else:
        reach = look.vary(0.075, 0.11)
        for mirror in (False, True):
            wing: Outline = [
                (0.5, top + 0.045),
                (0.5 + cut.neck, top - 0.025),
                (0.5 + cut.neck + 0.02, top + 0.015),
                (0.5 + 0.6 * cut.neck + 0.02, top + reach),
            ]
            easel.part(flipped(wing) if mirror else wing, trim, puff=0.01, lift=0.035)
    if look.get("closure") == "buttons":
        colour = CREAM if sum(look.base) < 420 else scaled(look.accent, 0.8)
        step = look.vary(0.085, 0.12)
        for i in range(int((cut.hem_y - top - 0.1) / step) + 1):
            easel.part(ellipse(0.5, top + 0.085 + i * step, 0.011, 0.011), smooth(colour, 0.5), puff=0.005, lift=0.04)
    if look.has("chest pocket") or look.has("two pockets"):
        size = look.vary(0.075, 0.095)
        _pocket(easel, look, 0.5 + 0.045, top + 0.18, size)
        if look.has("two pockets"):
            _pocket(easel, look, 0.5 - 0.045 - size, top + 0.18, size)
    if look.has("shoulder straps"):
        for mirror in (False, True):
            strap = band([(0.5 + cut.neck + 0.02, top + 0.03), (0.5 + cut.shoulder - 0.01, top + 0.055)], 0.028)
            easel.part(flipped(strap) if mirror else strap, look.trim, puff=0.008, lift=0.04)


def draw_hoodie(easel: Easel, look: Look) -> None:
    cut = _cut(look, top=0.15)
    hood = look.vary(0.1, 0.135)
    easel.part(
        mirrored(
            curve(
                [
                    (0.5, cut.top - hood),
                    (0.5 + 0.075, cut.top - 0.8 * hood),
                    (0.5 + 0.125, cut.top - 0.01),
                    (0.5 + 0.1, cut.top + 0.06),
                    (0.5, cut.top + 0.09),
                ],
                closed=False,
            )
        ),
        look.plain,
        puff=0.04,
    )
    _sleeves(easel, look, cut, contrast=look.has("contrast sleeves"))
    _body(easel, look, cut, folds=6)
    inner = mirrored(
        curve(
            [
                (0.5, cut.top - 0.55 * hood),
                (0.5 + 0.06, cut.top - 0.3 * hood),
                (0.5 + 0.075, cut.top + 0.02),
                (0.5, cut.top + 0.085),
            ],
            closed=False,
        )
    )
    easel.part(inner, smooth(scaled(look.accent if look.has("contrast trim") else look.base, 0.5)), form="flat")
    easel.part(
        band(
            curve(
                [
                    (0.405, cut.top - 0.01),
                    (0.44, cut.top + 0.06),
                    (0.5, cut.top + 0.095),
                    (0.56, cut.top + 0.06),
                    (0.595, cut.top - 0.01),
                ],
                closed=False,
            ),
            0.04,
        ),
        look.plain,
        puff=0.015,
        lift=0.03,
    )
    easel.part(
        band([(0.5 - cut.hem, cut.hem_y - 0.005), (0.5 + cut.hem, cut.hem_y - 0.005)], 0.045),
        look.trim if look.has("contrast trim") else look.plain,
        puff=0.012,
        lift=0.02,
    )
    if look.get("closure") == "full zip":
        easel.part(box(0.492, cut.top + 0.1, 0.508, cut.hem_y + 0.015), smooth(STEEL, 0.9), puff=0.004, lift=0.04)
        easel.stitch([(0.5, cut.top + 0.1), (0.5, cut.hem_y)], DARK, 0.006)
    if look.has("kangaroo pocket"):
        y, w = cut.hem_y - look.vary(0.2, 0.24), look.vary(0.1, 0.13)
        easel.part(
            mirrored(
                [
                    (0.5, y),
                    (0.5 + 0.6 * w, y),
                    (0.5 + w, y + 0.08),
                    (0.5 + w, cut.hem_y - 0.035),
                    (0.5, cut.hem_y - 0.035),
                ]
            ),
            look.plain,
            puff=0.012,
            lift=0.03,
        )
    if look.has("drawstring"):
        for x in (0.47, 0.53):
            sway = look.sway(0.015)
            easel.part(
                band(
                    curve([(x, cut.top + 0.08), (x + sway, cut.top + 0.14), (x - sway, cut.top + 0.22)], closed=False),
                    0.011,
                ),
                smooth(CREAM if sum(look.base) < 560 else DARK),
                puff=0.004,
                lift=0.05,
            )
    if look.get("motif"):
        easel.motif(look.get("motif"), 0.5, cut.top + look.vary(0.2, 0.26), look.vary(0.06, 0.09), look.accent)


def draw_dress(easel: Easel, look: Look) -> None:
    length = {"mini": 0.62, "midi": 0.78}.get(look.get("length"), 0.93)
    slim = 0.62 if look.get("length") == "maxi" else 0.72 if look.get("length") == "midi" else 0.85
    cut = _cut(look, top=0.05)
    chest, waist_y = 0.15 * slim * look.vary(0.95, 1.15), 0.05 + look.vary(0.24, 0.3)
    cut = _Cut(0.06 * slim + 0.02, cut.neck_drop * 0.85, chest * 1.02, 0.05, chest, waist_y, chest * 0.86)
    _sleeves(easel, look, cut)
    flare = {"fitted": look.vary(0.9, 1.1), "tiered": look.vary(1.7, 2.0)}.get(
        look.get("silhouette"), look.vary(1.8, 2.3)
    )
    hem = chest * flare
    _body(easel, look, cut, folds=3)
    wave = [(0.5 + hem * (1 - i / 6), length + (0.012 if i % 2 else 0.0)) for i in range(7)]
    hip = (0.5 + chest * (1.05 if look.get("silhouette") == "fitted" else 1.2), waist_y + 0.12)
    side = curve([(0.5 + cut.hem, waist_y - 0.012), hip, (0.5 + hem, length)], closed=False)
    easel.part(mirrored([(0.5, waist_y - 0.012), *side, *wave[1:]]), look.main, puff=0.035, folds=12, contact=0.15)
    if look.get("silhouette") == "tiered":
        for k in (0.4, 0.7):
            y = waist_y + k * (length - waist_y)
            w = chest * (0.9 + k * (flare - 0.9))
            easel.part(band([(0.5 - w, y), (0.5, y + 0.012), (0.5 + w, y)], 0.02), look.main, puff=0.012, lift=0.02)
    if look.has("belt"):
        easel.part(
            box(0.5 - cut.hem - 0.004, waist_y - 0.022, 0.5 + cut.hem + 0.004, waist_y + 0.014),
            look.trim,
            puff=0.008,
            lift=0.03,
        )
    if look.has("bow"):
        for s in (-1, 1):
            easel.part(
                curve([(0.5, waist_y), (0.5 + s * 0.07, waist_y - 0.04), (0.5 + s * 0.075, waist_y + 0.035)]),
                look.trim,
                puff=0.012,
                lift=0.04,
            )
        easel.part(ellipse(0.5, waist_y, 0.016, 0.018), look.trim, puff=0.01, lift=0.05)
    if look.has("button front"):
        for i in range(6):
            y = 0.05 + cut.neck_drop + 0.04 + i * (waist_y - 0.05) * 0.36
            easel.part(
                ellipse(0.5, y, 0.01, 0.01), smooth(CREAM if sum(look.base) < 480 else DARK, 0.5), puff=0.005, lift=0.04
            )
    if look.has("contrast trim"):
        easel.line(
            [(0.5 - hem, length - 0.006), (0.5, length - 0.006), (0.5 + hem, length - 0.006)], look.accent, 0.022
        )
