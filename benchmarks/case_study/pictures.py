"""The pictures of the page: small PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill, shorten
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.case_study.cases import Case, Held, Neighbours
from catalog.fonts import draws_catalogue_text
from models.inside.figures import draw_bars, draw_overlay, draw_photo, shown_parts
from models.inside.heat import HeatMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BYTES = 300_000
MAX_SHOWN_PHOTOS = 3
RIGHT, WRONG = "#34c759", "#b0b0b0"
"""Frame of a product that was bought, and of any other."""


def save_small(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Write a PNG of 256 colours, at a lower resolution where it would be above `MAX_BYTES`."""
    while True:
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=dpi)
        image = Image.open(stream).convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
        image.save(path, format="PNG", optimize=True)
        if path.stat().st_size <= MAX_BYTES or dpi <= 40:
            return
        dpi = round(dpi * 0.85)


@draws_catalogue_text
def draw_case(case: Case) -> Figure:
    """Query and product side by side: photographs with core and true box, the maps, then the bars."""
    from matplotlib.figure import Figure

    product, query = case.explanation.product, case.explanation.query
    assert query is not None
    columns = max(1 + min(len(product.maps), MAX_SHOWN_PHOTOS), 2)
    figure = Figure(figsize=(2.1 * columns, 7.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(4.3, 3.1))[:, 0]
    panels = upper.subplots(2, columns, squeeze=False)
    _draw_query(panels[:, 0], case, query.maps, _largest(query.maps))
    top = _largest(product.maps)
    for column in range(1, columns):
        pair = panels[:, column]
        if column <= len(product.maps):
            _draw_pair(pair, product.maps[column - 1], f"product, photo {column}", top)
        else:
            for panel in pair:
                panel.set_axis_off()
    left, right = lower.subplots(1, 2)
    cosine = case.explanation.cosine
    draw_bars(left, [(part.label, part.cosine) for part in shown_parts(product.parts)], "product: cosine brought")
    lost = [(str(part), cosine - value) for part, value in product.without.items()]
    draw_bars(right, lost, "product: cosine lost without it")
    return figure


@draws_catalogue_text
def draw_neighbours(case: Case) -> Figure:
    """A row for each part left out: what the query finds; green: bought."""
    from matplotlib.figure import Figure

    columns = max(len(row.items) for row in case.neighbours.values())
    figure = Figure(figsize=(1.35 * columns + 1.6, 1.45 * len(case.neighbours)), layout="constrained")
    panels = figure.subplots(len(case.neighbours), columns + 1, squeeze=False)
    for row, (name, found) in zip(panels, case.neighbours.items(), strict=True):
        row[0].set_axis_off()
        row[0].text(0.5, 0.5, f"{fill(name, 16)}\n\nrank {found.rank}", ha="center", va="center", fontsize=8)
        _draw_row(row[1:], found, case.answers)
    return figure


@draws_catalogue_text
def draw_space(held: Held, points: np.ndarray, cases: Sequence[Case]) -> Figure:
    """Products and queries in the plane, coloured by leaf category; numbers: the cases' products.

    Args:
        held: What is drawn.
        points: (products + queries, 2).
        cases: Numbered on the map.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 6.2), layout="constrained")
    panel = figure.subplots()
    by_id = {item.product.product_id: index for index, item in enumerate(held.items)}
    leaf_of = [item.product.category[-1] if item.product.category else "-" for item in held.items]
    leaf_of += [leaf_of[by_id[min(answers)]] for answers in held.answers]
    leaves = sorted(set(leaf_of))
    colours = {leaf: colormaps["tab20"](place % 20) for place, leaf in enumerate(leaves)}
    num = len(held.items)
    for leaf in leaves:
        mine = np.array([one == leaf for one in leaf_of])
        for start, stop, marker, size in ((0, num, "o", 34), (num, len(points), "x", 26)):
            chosen = points[start:stop][mine[start:stop]]
            label = leaf if marker == "o" else None
            panel.scatter(chosen[:, 0], chosen[:, 1], s=size, marker=marker, color=colours[leaf], label=label)
    for case in cases:
        x, y = points[by_id[case.item.product.product_id]]
        box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": "black", "linewidth": 0.6}
        panel.annotate(
            str(case.number), (x, y), (7, 7), textcoords="offset points", fontsize=7, ha="center", va="center", bbox=box
        )
    panel.set_title("dots: products, crosses: queries in the colour of what they bought", fontsize=9)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def plane(vectors: np.ndarray) -> np.ndarray:
    """t-SNE of unit vectors by cosine, started from PCA; (N, 2), the same for the same vectors.

    Source: van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 9, 2008. Distances between far groups mean
    nothing; what is near is near.
    """
    from sklearn.manifold import TSNE

    perplexity = min(30.0, max(2.0, len(vectors) / 4.0))
    made = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=0)
    placed: np.ndarray = made.fit_transform(vectors)
    return placed


def _largest(maps: Sequence[HeatMap]) -> float:
    """Top of a colour scale: a query's single photograph would leave a product's several without colour."""
    return max((float(np.abs(heat.heat).max()) for heat in maps), default=0.0) or 1.0


def _draw_query(pair: np.ndarray, case: Case, maps: tuple[HeatMap, ...], top: float) -> None:
    if maps:
        _draw_pair(pair, maps[0], "query", top)
        if case.query.text:
            pair[0].set_title(f"query: {shorten(case.query.text, 32, placeholder=' …')}", fontsize=7)
        return
    for panel in pair:
        panel.set_axis_off()
    pair[0].set_title("query", fontsize=7)
    pair[0].text(0.5, 0.5, fill(f"“{case.query.text}”", 18), ha="center", va="center", fontsize=9)


def _draw_pair(pair: np.ndarray, heat: HeatMap, title: str, top: float) -> None:
    image = heat.photo.load()
    draw_photo(pair[0], image, heat.region_px, heat.photo.box)
    draw_overlay(pair[1], image, heat, heat.heat, top)
    pair[1].plot(*heat.peak_px, "o", color="white", markeredgecolor="black", markersize=4)
    pair[0].set_title(title, fontsize=7)
    pair[1].set_title(f"hottest cell {heat.heat.max():+.3f}", fontsize=7)


def _draw_row(panels: Sequence[Axes], found: Neighbours, answers: frozenset[str]) -> None:
    for panel, item, cosine in zip(panels, found.items, found.cosines, strict=False):
        product = item.product
        if item.photos:
            panel.imshow(item.photos[0].load().resize((96, 96)))
        else:
            panel.text(0.5, 0.5, fill(product.title or "", 14), ha="center", va="center", fontsize=6)
        panel.set_xticks([])
        panel.set_yticks([])
        bought = product.product_id in answers
        for spine in panel.spines.values():
            spine.set_color(RIGHT if bought else WRONG)
            spine.set_linewidth(2.5 if bought else 0.8)
        leaf = product.category[-1] if product.category else ""
        panel.set_title(f"{cosine:.2f} {leaf}", fontsize=6)
