"""Full minus each arm, drawn: what a part is worth, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ablation.arms import DUAL, FULL
from benchmarks.ablation.comparison import Gap, difference, is_sure
from catalog import StorageError
from catalog.fonts import draws_catalogue_text
from validation.benchmark import MAIN_METRICS

if TYPE_CHECKING:
    from benchmarks.ablation.report import Section

BETTER, WORSE, UNSURE = "#1b6e53", "#b3432b", "#8a8a8a"


@draws_catalogue_text
def draw(sections: Sequence[Section], path: Path) -> bool:
    """Write a PNG with one panel a data set, all on one scale; nothing where there is nothing to compare.

    Returns:
        Whether there was anything to draw.

    Raises:
        StorageError: It cannot be written.
    """
    panels = [(section, gaps) for section in sections if (gaps := _gaps(section))]
    if not panels:
        return False
    from matplotlib.figure import Figure

    heights = [len(gaps) + 1.5 for _, gaps in panels]
    figure = Figure(figsize=(8.0, 0.6 + 0.3 * sum(heights)), dpi=130, layout="constrained")
    # One column and one scale: a point is a point, whatever the data.
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for place, (section, gaps) in zip(axes, panels, strict=True):
        for row, (_, gap) in enumerate(reversed(gaps)):
            colour = UNSURE if not is_sure(gap) else BETTER if gap.low > 0 else WORSE
            place.plot([100 * gap.low, 100 * gap.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
            place.plot([100 * gap.value], [row], "o", color=colour, markersize=5)
        place.axvline(0, color="black", linewidth=0.8)
        place.set_yticks(range(len(gaps)), [title for title, _ in reversed(gaps)])
        place.set_ylim(-0.6, len(gaps) - 0.4)
        place.grid(axis="x", color="#dddddd", linewidth=0.6)
        place.set_axisbelow(True)
        place.spines[["top", "right", "left"]].set_visible(False)
        place.tick_params(axis="y", length=0)
        place.tick_params(axis="x", labelbottom=True)
        place.set_title(section.protocol.data, loc="left", fontweight="bold", fontsize=11)
    axes[-1].set_xlabel("full minus arm, mean of the five main metrics, points, 95 % intervals")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise StorageError("the figure cannot be written", where=str(path), got=str(error)) from None
    return True


def _gaps(section: Section) -> list[tuple[str, Gap]]:
    if FULL not in section.arms:
        return []
    full = section.arms[FULL]
    found = {
        arm: gap
        for arm in section.trained
        if arm.name != FULL and (gap := difference(full, arm, MAIN_METRICS)) is not None
    }
    order = sorted(found, key=lambda arm: (arm.name != DUAL, -found[arm].value))
    return [(arm.title, found[arm]) for arm in order]
