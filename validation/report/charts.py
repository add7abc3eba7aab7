"""Numbers to the coordinates of inline SVG; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from validation.benchmark import BenchmarkRecord, Score
from validation.report.scores import is_finite

COLOURS = (
    *("#2457c5", "#c8732a", "#4f8f5b", "#8a5aa8", "#9a9a9a", "#b64a5c"),
    *("#3f9aa6", "#6b6b2f", "#1d2433", "#e0a526", "#d98cb3", "#7d5a3c"),
)
"""One for each encoder or curve, in order; told apart also by people who do not see red and green alike."""


@dataclass(frozen=True)
class Bar:
    """One encoder's score on one level, in units of the drawing."""

    x: float
    y: float
    width: float
    height: float
    low: float
    high: float
    colour: str
    label: str


@dataclass(frozen=True)
class LevelChart:
    """Accuracy by category level, encoders side by side, title hidden."""

    width: float
    height: float
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    """y, text."""
    names: tuple[tuple[float, str], ...]
    """x, level."""
    legend: tuple[tuple[str, str], ...]
    """colour, encoder."""


@dataclass(frozen=True)
class Curve:
    """One quantity over steps, in a drawing of its own, since losses and scores share no scale."""

    name: str
    points: str
    """As a polyline wants them."""
    colour: str
    first_step: int
    last_step: int
    low: str
    high: str
    last: str


LEFT, TOP, PLOT_HEIGHT, GROUP_WIDTH = 44.0, 12.0, 180.0, 190.0
CURVE_WIDTH, CURVE_HEIGHT = 320.0, 120.0


def level_scores(records: Sequence[BenchmarkRecord], suffix: str = "_title_hidden") -> dict[str, list[Score | None]]:
    """Level -> the category accuracy of each record; None where it has none that can be drawn."""
    keys = {key for own in records for key in own.scores if _is_level(key, suffix)}
    return {
        f"level {level}": [_drawable(own.scores.get(key)) for own in records]
        for level, key in sorted((_level_of(key, suffix), key) for key in keys)
    }


def level_chart(records: Sequence[BenchmarkRecord], suffix: str = "_title_hidden") -> LevelChart | None:
    """Bars of category accuracy, level by level; None where no encoder was asked."""
    levels = level_scores(records, suffix)
    shown = [index for index in range(len(records)) if any(scores[index] for scores in levels.values())]
    if not shown:
        return None
    bar = min(26.0, (GROUP_WIDTH - 30) / len(shown))
    bars = []
    for group, scores in enumerate(levels.values()):
        start = LEFT + group * GROUP_WIDTH + (GROUP_WIDTH - bar * len(shown)) / 2
        for place, index in enumerate(shown):
            score = scores[index]
            if score is None:
                continue
            name = records[index].encoder
            bars.append(
                Bar(
                    x=start + place * bar + 1,
                    y=_y(score.value),
                    width=bar - 2,
                    height=PLOT_HEIGHT * score.value,
                    low=_y(score.low),
                    high=_y(score.high),
                    colour=COLOURS[index % len(COLOURS)],
                    label=f"{name}: {100 * score.value:.1f} % [{100 * score.low:.0f}-{100 * score.high:.0f}]",
                )
            )
    return LevelChart(
        width=LEFT + GROUP_WIDTH * len(levels) + 8,
        height=TOP + PLOT_HEIGHT + 30,
        bars=tuple(bars),
        ticks=tuple((_y(share), f"{100 * share:.0f} %") for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
        names=tuple((LEFT + (i + 0.5) * GROUP_WIDTH, name) for i, name in enumerate(levels)),
        legend=tuple((COLOURS[index % len(COLOURS)], records[index].encoder) for index in shown),
    )


def curves(series: Mapping[str, Sequence[tuple[int, float]]]) -> list[Curve]:
    """Each series of (step, value) as a polyline; values that are not finite are left out."""
    out = []
    for index, (name, rows) in enumerate(series.items()):
        points = [(step, value) for step, value in rows if math.isfinite(value)]
        if len(points) < 2:
            continue
        steps, values = [step for step, _ in points], [value for _, value in points]
        low, high = min(values), max(values)
        span, length = (high - low) or 1.0, (steps[-1] - steps[0]) or 1
        path = " ".join(
            f"{CURVE_WIDTH * (step - steps[0]) / length:.1f},{CURVE_HEIGHT * (1 - (value - low) / span):.1f}"
            for step, value in points
        )
        numbers = (f"{value:.4g}" for value in (low, high, values[-1]))
        out.append(Curve(name, path, COLOURS[index % len(COLOURS)], steps[0], steps[-1], *numbers))
    return out


def _is_level(key: str, suffix: str) -> bool:
    task, _, metric = key.partition("/")
    return metric == "accuracy" and task.endswith(suffix) and _number_in(task, suffix).isdecimal()


def _level_of(key: str, suffix: str) -> int:
    return int(_number_in(key.partition("/")[0], suffix))


def _number_in(task: str, suffix: str) -> str:
    return task.removesuffix(suffix).removeprefix("category_level_")


def _drawable(score: Score | None) -> Score | None:
    return score if score is not None and is_finite(score) else None


def _y(share: float) -> float:
    return TOP + PLOT_HEIGHT * (1 - share)
