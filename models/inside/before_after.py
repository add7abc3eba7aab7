"""What core crops change of where an encoder looks: heat maps of the same photographs without and with the crop.

Without means that the whole photograph stands in the crop's place: the model is fed as many pictures as it was trained
with, and none of them shows less than the whole. Maps are over the original photograph in both cases, and a window is
hidden wherever the model sees it. A crop has helped where the cosine rises and more of the heat lies on the product.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from catalog import Box, ModelError, ProductItem, QueryItem, StorageError
from catalog.fonts import draws_catalogue_text
from models.encoder import MoonEncoder
from models.inside.figures import PANEL_INCH, draw_overlay, draw_photo
from models.inside.heat import HeatConfig, HeatMap, heat_maps
from models.inside.shown import show_product, show_query, unit_vector
from models.pictures import PictureMaker
from models.processor import Processor
from models.regions import CoreRegions, RegionsConfig, make_chooser, make_detector

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WHOLE = RegionsConfig(backend="none")


@dataclass(frozen=True)
class BeforeAfter:
    """One query's photograph, held against its product."""

    query_id: str
    product_id: str
    before: HeatMap
    after: HeatMap
    cosine_before: float
    cosine_after: float

    @property
    def true_box(self) -> Box | None:
        """The product's true box in the photograph, where it is known."""
        return self.after.photo.box


def before_after(
    encoder: MoonEncoder, pairs: Sequence[tuple[ProductItem, QueryItem]], config: HeatConfig = HeatConfig()
) -> list[BeforeAfter]:
    """Map the photographs of queries without and with their core crops, held against the product.

    The product is embedded once, with its crops: what differs is the query alone.

    Args:
        encoder: Fed crops; read by `MoonEncoder.load`.
        pairs: Queries without a photograph are passed over.
        config: How fine the maps are.

    Raises:
        ModelError: The encoder is fed no crops, so that there is nothing to compare.
    """
    whole = _without_crops(encoder)
    found = []
    for item, query in pairs:
        if query.photo is None:
            continue
        target_E = unit_vector(encoder, show_product(encoder, item))
        maps, cosines = [], []
        for one in (whole, encoder):
            shown = show_query(one, query)
            maps.append(heat_maps(one, shown, target_E, config)[0])
            cosines.append(float(unit_vector(one, shown) @ target_E))
        # The whole photograph stood in for a crop: no region was looked for.
        before = replace(maps[0], region_px=None)
        found.append(BeforeAfter(query.query_id, item.product.product_id, before, maps[1], cosines[0], cosines[1]))
    return found


def heat_in_box(heat: HeatMap, box: Box) -> float:
    """Share of the positive heat that lies in `box`, by how much of each cell it covers; 0 where nothing is warm."""
    rows, columns = heat.heat.shape
    inside = [
        np.clip(np.minimum(high, (index + 1) * heat.cell_px) - np.maximum(low, index * heat.cell_px), 0.0, None)
        for index, low, high in ((np.arange(rows), box[1], box[3]), (np.arange(columns), box[0], box[2]))
    ]
    warm = np.clip(heat.heat, 0.0, None)
    share = np.outer(*inside) / heat.cell_px**2
    return float((warm * share).sum() / warm.sum()) if warm.any() else 0.0


@draws_catalogue_text
def draw_before_after(rows: Sequence[BeforeAfter]) -> Figure:
    """A row a photograph: plain with its core region, the map without the crop, the map with it; one scale a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PANEL_INCH * 3 + 0.4, (PANEL_INCH + 0.35) * max(len(rows), 1) + 0.5), layout="constrained")
    figure.suptitle(
        "Red rectangle: core region. Dashed green: true box. Red heat: brings query and product closer.", fontsize=7
    )
    if not rows:
        figure.text(0.5, 0.4, "no query has a photograph", ha="center")
        return figure
    for panels, row in zip(figure.subplots(len(rows), 3, squeeze=False), rows, strict=True):
        image = row.after.photo.load()
        draw_photo(panels[0], image, row.after.region_px, row.true_box)
        panels[0].set_title(f"{row.query_id}, {row.product_id}", fontsize=7)
        top = max(float(np.abs(one.heat).max()) for one in (row.before, row.after)) or 1.0
        told = (("without crop", row.before, row.cosine_before), ("with crop", row.after, row.cosine_after))
        for panel, (words, heat, cosine) in zip(panels[1:], told, strict=True):
            draw_overlay(panel, image, heat, heat.heat, top)
            share = "" if row.true_box is None else f", {heat_in_box(heat, row.true_box):.0%} of heat in box"
            panel.set_title(f"{words}: cosine {cosine:.3f}{share}", fontsize=6)
    return figure


def render_before_after(
    encoder: MoonEncoder,
    pairs: Sequence[tuple[ProductItem, QueryItem]],
    out_png: str | Path,
    config: HeatConfig = HeatConfig(),
) -> list[BeforeAfter]:
    """Write the maps of `before_after` as one PNG.

    Raises:
        ModelError: As `before_after`.
        StorageError: The file cannot be written.
    """
    rows = before_after(encoder, pairs, config)
    target = Path(out_png)
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draw_before_after(rows).savefig(partial, format="png", dpi=120)
        os.replace(partial, target)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise StorageError("heat maps cannot be written", where=str(out_png), got=str(error)) from None
    return rows


def _without_crops(encoder: MoonEncoder) -> MoonEncoder:
    """The same model with the whole photograph in the crop's place."""
    maker = encoder.processor.pictures
    if not isinstance(maker, PictureMaker) or maker.regions is None:
        raise ModelError(
            "the encoder is fed no crops, so that there is nothing to compare",
            where=encoder.name,
            fix="give an encoder that was trained with crops and read by MoonEncoder.load",
        )
    old = encoder.processor
    pictures = PictureMaker(maker.side_px, CoreRegions(make_detector(_WHOLE), make_chooser(_WHOLE)), maker.limits)
    processor = Processor(old.tokenizer, old.config, pictures, old.layout, old.template)
    return MoonEncoder(encoder.model, processor, f"{encoder.digest}:whole", encoder.lineage, encoder.device)
