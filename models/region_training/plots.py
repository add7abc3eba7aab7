"""Pictures of a training: its curves, precision against recall, and what was found in scenes, failures first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from catalog import Box
from models.region_training.judging import SceneOutcome, read_scene
from models.region_training.precision_recall import PrecisionRecall
from models.regions import whole_box

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL_PX = 200
_CAPTION_PX = 16
TRUE, CHOSEN, OTHER = (30, 160, 60), (220, 40, 40), (70, 110, 220)
"""Colours of the true box, the chosen one and the other candidates."""


def draw_curves(curve: Sequence[Mapping[str, float]]) -> Figure:
    """Losses of training and validation, and what the validation scenes say, epoch by epoch."""
    figure, (left, right) = _axes(2)
    epochs = [row["step"] for row in curve]
    losses = sorted({name for row in curve for name in row if name.endswith("_loss")})
    for number, name in enumerate(sorted({name.split("/")[1] for name in losses})):
        for side, style in (("train", "-"), ("val", "--")):
            if f"{side}/{name}" in losses:
                values = [row.get(f"{side}/{name}", float("nan")) for row in curve]
                left.plot(epochs, values, style, color=f"C{number}", label=f"{side} {name}".replace("_", " "))
    for name in ("val/map50", "val/map50-95", "val/recall", "val/precision"):
        if curve and name in curve[-1]:
            right.plot(epochs, [row.get(name, float("nan")) for row in curve], label=name.removeprefix("val/"))
    left.set(xlabel="epoch", ylabel="loss", title="losses")
    right.set(xlabel="epoch", ylim=(0, 1.02), title="validation scenes")
    for axis in (left, right):
        if axis.lines:
            axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    return figure


def draw_precision_recall(curves: Mapping[str, Mapping[str, PrecisionRecall]]) -> Figure:
    """Precision against recall at IoU 0.5, one plot a kind of scenes.

    Args:
        curves: Kind of scenes -> detector -> its curve.
    """
    figure, axes = _axes(max(len(curves), 1))
    for axis, (part, by_detector) in zip(axes, curves.items(), strict=False):
        for name, one in by_detector.items():
            axis.step(one.recall, one.precision, where="post", label=f"{name}, AP {one.average_precision:.3f}")
        axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title=part.replace("_", " "))
        axis.legend(fontsize=7, loc="lower left")
        axis.grid(alpha=0.3)
    return figure


def draw_samples(outcomes: Sequence[SceneOutcome], num_shown: int = 40, columns: int = 8) -> Image.Image:
    """A sheet of scenes, the worst first: the true box green, the chosen one red, other candidates blue.

    Args:
        outcomes: Of scenes with a product.
        num_shown: Half of them failures where there are as many, the rest drawn evenly from the others.
        columns: Scenes a row.
    """
    shown = failures_first(outcomes, num_shown)
    rows = max(-(-len(shown) // columns), 1)
    sheet = Image.new("RGB", (columns * _CELL_PX, rows * (_CELL_PX + _CAPTION_PX)), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for number, outcome in enumerate(shown):
        left, top = number % columns * _CELL_PX, number // columns * (_CELL_PX + _CAPTION_PX)
        sheet.paste(_overlay(outcome), (left, top))
        mark = "" if outcome.is_right else "wrong, "
        told = f"{mark}IoU {outcome.iou:.2f}, score {outcome.chosen.score:.2f}"
        pen.text((left + 3, top + _CELL_PX), told, (0, 0, 0))
    return sheet


def failures_first(outcomes: Sequence[SceneOutcome], num_shown: int) -> list[SceneOutcome]:
    """The worst half, then an even draw from the rest in order of their overlap."""
    ranked = sorted(outcomes, key=lambda outcome: (outcome.is_right, outcome.iou))
    if len(ranked) <= num_shown:
        return ranked
    worst = num_shown // 2
    rest = ranked[worst:]
    wanted = num_shown - worst
    return [*ranked[:worst], *(rest[number * len(rest) // wanted] for number in range(wanted))]


def _overlay(outcome: SceneOutcome) -> Image.Image:
    image = read_scene(outcome.truth)
    factor = _CELL_PX / max(image.size)
    small = image.resize((max(round(image.width * factor), 1), max(round(image.height * factor), 1)))
    pen = ImageDraw.Draw(small)
    for candidate in outcome.candidates:
        _rectangle(pen, candidate.box, factor, OTHER, 1)
    _rectangle(pen, outcome.truth.core[0], factor, TRUE, 3)
    if outcome.chosen.box != whole_box(outcome.truth.size_px):
        _rectangle(pen, outcome.chosen.box, factor, CHOSEN, 2)
    return small


def _rectangle(pen: ImageDraw.ImageDraw, box: Box, factor: float, colour: tuple[int, int, int], width: int) -> None:
    x0, y0, x1, y1 = (side * factor for side in box)
    pen.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=colour, width=width)


def _axes(number: int) -> tuple[Figure, list]:
    # Not pyplot: it keeps every figure, and looks for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * number, 3.8), layout="constrained")
    return figure, list(figure.subplots(1, number, squeeze=False)[0])
