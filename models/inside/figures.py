"""Explanations as pictures: overlays, bars and tables; matplotlib figures that pyplot does not know of."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from catalog import Box
from catalog.fonts import draws_catalogue_text
from models.encoder import MoonEncoder
from models.inside.contributions import Part
from models.inside.experts import LayerExperts
from models.inside.explain import ExplainedItem, Explanation, explain
from models.inside.heat import HeatConfig, HeatMap
from models.inside.pairs import Pair
from models.tokens import TokenType

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CORE, TRUE, PEAK = "#ff3b30", "#34c759", "#ffffff"
"""Colours of the core crop, the true box and the hottest cell."""
FOR, AGAINST = "#2a78b5", "#c8553d"
"""Colours of what brings the two closer and of what drives them apart."""
PANEL_INCH = 2.2


@draws_catalogue_text
def draw_maps(side: ExplainedItem, title: str = "", *, true_boxes: bool = True) -> Figure:
    """Every photograph of one side, plain, and under its map; originals and crops apart where they were mapped.

    Red: the core crop. Green: the true box, where known and wanted. White dot: the hottest cell. Red heat is what
    brings the items closer, blue what drives them apart; the scale is one for all panels of the figure.

    Args:
        side: Product or query; one without photographs gives a figure that says so.
        title: Above all panels.
        true_boxes: Draw the true boxes of photographs that carry one.
    """
    from matplotlib.figure import Figure

    views = max((len(heat.by_view) for heat in side.maps), default=0)
    columns, rows = 2 + views, max(len(side.maps), 1)
    figure = Figure(figsize=(PANEL_INCH * columns, PANEL_INCH * rows + 0.6), layout="constrained")
    figure.suptitle(title or shorten(side.text or side.name, 60, placeholder=" …"), fontsize=9)
    if not side.maps:
        figure.text(0.5, 0.4, "no photograph", ha="center")
        return figure
    panels = figure.subplots(rows, columns, squeeze=False)
    top = max((float(np.abs(heat.heat).max()) for heat in side.maps), default=0.0) or 1.0
    for row, heat in zip(panels, side.maps, strict=True):
        image = heat.photo.load()
        draw_photo(row[0], image, heat.region_px, heat.photo.box if true_boxes else None)
        draw_overlay(row[1], image, heat, heat.heat, top)
        row[1].plot(*heat.peak_px, "o", color=PEAK, markeredgecolor="black", markersize=4)
        row[1].set_title(f"cosine lost: {heat.heat.max():+.3f}", fontsize=7)
        for panel, (kind, values) in zip(row[2:], heat.by_view.items(), strict=False):
            draw_overlay(panel, image, heat, values, top)
            where = "the original" if kind is TokenType.IMAGE else "the crop"
            panel.set_title(f"hidden in {where} alone: {values.max():+.3f}", fontsize=7)
        for panel in row:
            panel.set_axis_off()
    return figure


def draw_photo(panel: Axes, image: Image.Image, core: Box | None = None, true: Box | None = None) -> None:
    """A photograph with its boxes."""
    panel.imshow(image)
    for box, colour, style in ((core, CORE, "-"), (true, TRUE, "--")):
        if box is not None:
            x0, y0, x1, y1 = box
            panel.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], style, color=colour, linewidth=1.2)
    panel.set_xlim(0, image.width)
    panel.set_ylim(image.height, 0)
    panel.set_axis_off()


def draw_overlay(panel: Axes, image: Image.Image, heat: HeatMap, values: np.ndarray, top: float) -> None:
    """A map over its photograph in grey.

    Args:
        panel: Where to draw.
        image: The photograph.
        heat: Whose cells and crop.
        values: (rows, columns) of the same cells.
        top: Value that is fully red; its negative is fully blue.
    """
    rows, columns = values.shape
    panel.imshow(image.convert("L"), cmap="gray", vmin=0, vmax=255)
    panel.imshow(
        values,
        cmap="RdBu_r",
        vmin=-top,
        vmax=top,
        alpha=np.clip(np.abs(values) / top, 0.0, 1.0) * 0.75,
        extent=(0, columns * heat.cell_px, rows * heat.cell_px, 0),
        interpolation="bilinear",
    )
    if heat.region_px is not None:
        x0, y0, x1, y1 = heat.region_px
        panel.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], "-", color=CORE, linewidth=0.8)
    panel.set_xlim(0, heat.size_px[0])
    panel.set_ylim(heat.size_px[1], 0)
    panel.set_axis_off()


@draws_catalogue_text
def draw_parts(side: ExplainedItem, cosine: float, title: str = "") -> Figure:
    """Bars: on the left what each part brings (they sum to the cosine), on the right what is lost without each."""
    from matplotlib.figure import Figure

    num = max(len(side.parts), len(side.without), 1)
    figure = Figure(figsize=(8.0, 1.1 + 0.24 * num), layout="constrained")
    figure.suptitle(
        title or f"cosine {cosine:.3f}: {shorten(side.text or side.name, 60, placeholder=' …')}", fontsize=9
    )
    left, right = figure.subplots(1, 2)
    draw_bars(left, [(part.label, part.cosine) for part in shown_parts(side.parts)], "cosine brought")
    lost = [(str(part), cosine - value) for part, value in side.without.items()]
    draw_bars(right, lost, "cosine lost without it")
    return figure


def shown_parts(parts: Sequence[Part]) -> list[Part]:
    """Parts worth a row: an offset that rounds to nothing is none."""
    return [part for part in parts if part.num_tokens or abs(part.cosine) >= 0.0005]


def draw_bars(panel: Axes, rows: Sequence[tuple[str, float]], title: str) -> None:
    """Horizontal bars with their values, the first on top."""
    names, values = [name for name, _ in rows], [value for _, value in rows]
    panel.barh(range(len(rows)), values, color=[FOR if value >= 0 else AGAINST for value in values])
    # More of them run into each other on a narrow panel.
    panel.locator_params(axis="x", nbins=5)
    panel.set_yticks(range(len(rows)), names, fontsize=7)
    panel.invert_yaxis()
    panel.axvline(0.0, color="black", linewidth=0.6)
    panel.set_title(title, fontsize=8)
    panel.tick_params(axis="x", labelsize=7)
    panel.margins(x=0.18)
    for row, value in enumerate(values):
        side = "left" if value >= 0 else "right"
        panel.annotate(f"{value:+.3f}", (value, row), fontsize=6, va="center", ha=side)


@draws_catalogue_text
def draw_experts(layers: Sequence[LayerExperts], title: str = "Experts that fired") -> Figure:
    """A table a guided layer: token types down, routed experts across, each row the mean gates of one type."""
    from matplotlib.figure import Figure

    heights = [0.9 + 0.26 * len(layer.kinds) for layer in layers]
    figure = Figure(figsize=(5.2, 0.5 + sum(heights, 0.0) or 1.2), layout="constrained")
    figure.suptitle(title, fontsize=9)
    if not layers:
        figure.text(0.5, 0.4, "a dense model: no experts", ha="center")
        return figure
    panels = figure.subplots(len(layers), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, layer in zip(panels, layers, strict=True):
        panel.imshow(layer.share_KE, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
        names = [
            f"{kind.name.lower().replace('_', ' ')} ({num}){' + ' + guide + ' expert' if guide else ''}"
            for kind, num, guide in zip(layer.kinds, layer.num_tokens, layer.guides, strict=True)
        ]
        panel.set_yticks(range(len(names)), names, fontsize=7)
        panel.set_xticks(range(layer.share_KE.shape[1]))
        panel.tick_params(axis="x", labelsize=7)
        panel.set_title(f"guided layer {layer.layer}: mean gate of each routed expert", fontsize=8, loc="left")
        for (row, expert), share in np.ndenumerate(layer.share_KE):
            colour = "black" if share > 0.6 else "white"
            panel.text(expert, row, f"{share:.2f}", ha="center", va="center", fontsize=6, color=colour)
    return figure


def figures_of(explanation: Explanation, name: str = "") -> dict[str, Figure]:
    """All figures of an explanation by name: `NAME/product_maps`, `NAME/product_parts`, `NAME/query_maps`, ..."""
    start = f"{name}/" if name else ""
    found: dict[str, Figure] = {}
    for which, side in (("product", explanation.product), ("query", explanation.query)):
        if side is None:
            continue
        if side.maps:
            found[f"{start}{which}_maps"] = draw_maps(side)
        found[f"{start}{which}_parts"] = draw_parts(side, explanation.cosine)
        found[f"{start}{which}_experts"] = draw_experts(side.experts, f"Experts that fired: {which}")
    return found


def figures_for_run(encoder: MoonEncoder, pairs: Sequence[Pair], heat: HeatConfig = HeatConfig()) -> dict[str, Figure]:
    """Figures that a run leaves beside its scores, by name: `PRODUCT_ID/product_maps` and so on.

    Args:
        encoder: The trained model.
        pairs: A few products and what they are held against; `models.inside.pairs.typical_pairs` picks some.
        heat: How fine the maps are.
    """
    found: dict[str, Figure] = {}
    for item, query in pairs:
        found |= figures_of(explain(encoder, item, query, heat=heat, each_view=False), item.product.product_id)
    return found
