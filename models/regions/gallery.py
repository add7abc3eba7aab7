"""Overlays to look at: thumbnails with candidate boxes, the chosen one and the true one; least sure first."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from PIL import Image

from catalog import Catalog, ImageError, ImageLimits, Photo, StorageError
from catalog.catalog import IMAGE_OK
from catalog.fonts import CSS_FONTS
from models.regions.boxes import box_iou, scale_box
from models.regions.chooser import CoreRegion
from models.regions.core import CoreRegions
from models.regions.detector import Candidate
from models.regions.wanted import Wanted

_THUMB_PX = 240


@dataclass(frozen=True)
class _Shot:
    photo: Photo
    wanted: Wanted
    kind: str


@dataclass(frozen=True)
class _Card:
    shot: _Shot
    image: str
    size_px: tuple[int, int]
    core: CoreRegion
    candidates: list[Candidate]
    true_box: tuple[float, float, float, float] | None
    iou: float | None


def render_gallery(
    catalog: Catalog,
    regions: CoreRegions,
    out_html: str | Path,
    max_images: int = 120,
    limits: ImageLimits = ImageLimits(),
) -> int:
    """Write one self-contained HTML page of overlays.

    Args:
        catalog: Photographs of products and queries; unusable ones are left out.
        regions: Where the boxes come from, the store first.
        out_html: File to write.
        max_images: Photographs drawn evenly from the catalogue's order when there are more, queries included.
        limits: Checked before an image is decoded.

    Returns:
        Overlays on the page.

    Raises:
        StorageError: The file cannot be written.
    """
    shots = _shots(catalog)
    if len(shots) > max_images:
        shots = [shots[index * len(shots) // max_images] for index in range(max_images)]
    cards = []
    for shot in shots:
        try:
            cards.append(_card(shot, regions, limits))
        except ImageError:
            continue
    cards.sort(key=lambda card: (card.core.score, card.shot.photo.ref))
    known = [card.iou for card in cards if card.iou is not None]
    page = (
        Environment(autoescape=True)
        .from_string(_PAGE)
        .render(
            cards=cards,
            fonts=CSS_FONTS,
            name=catalog.name,
            mean_iou=sum(known) / len(known) if known else None,
            num_known=len(known),
            digest=regions.digest[:12],
        )
    )
    target = Path(out_html)
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        os.replace(partial, target)
    except OSError as error:
        raise StorageError("gallery cannot be written", where=str(out_html), got=str(error)) from None
    return len(cards)


def _shots(catalog: Catalog) -> list[_Shot]:
    shots: dict[str, _Shot] = {}
    for item in catalog.items():
        for photo in item.photos:
            shots.setdefault(photo.ref, _Shot(photo, Wanted.of(item.product), "product"))
    for query in catalog.queries:
        photo_or_none = catalog.query_item(query).photo
        if photo_or_none is not None:
            shots.setdefault(photo_or_none.ref, _Shot(photo_or_none, Wanted(query.text), "query"))
    return [shot for ref, shot in shots.items() if ref in catalog.images and catalog.images[ref].status == IMAGE_OK]


def _card(shot: _Shot, regions: CoreRegions, limits: ImageLimits) -> _Card:
    image = shot.photo.load(limits)
    core = regions.core(shot.photo, image, shot.wanted)
    candidates = regions.candidates(shot.photo, image, shot.wanted)
    factor = min(_THUMB_PX / max(image.size), 1.0)
    size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    thumb = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    thumb.save(stream, "JPEG", quality=80)
    factors = (size[0] / image.width, size[1] / image.height)
    true_box = shot.photo.box
    return _Card(
        shot=shot,
        image="data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode(),
        size_px=size,
        core=CoreRegion(scale_box(core.box, *factors), core.score, core.reason),
        candidates=[Candidate(scale_box(found.box, *factors), found.score) for found in candidates],
        true_box=scale_box(true_box, *factors) if true_box else None,
        iou=box_iou(core.box, true_box) if true_box else None,
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Core regions of {{ name }}</title>
<style>
body { font: 14px/1.4 {{ fonts }}; margin: 24px; color: #222; background: #fff; }
.cards { display: flex; flex-wrap: wrap; gap: 16px; }
figure { margin: 0; width: 240px; } figcaption { font-size: 12px; overflow-wrap: anywhere; }
svg { display: block; background: #eee; } rect { fill: none; }
.candidate { stroke: #0aa; stroke-width: 1; } .core { stroke: #d22; stroke-width: 3; }
.true { stroke: #282; stroke-width: 2; stroke-dasharray: 5 3; } .score { font-weight: 600; }
</style></head><body>
<h1>Core regions of {{ name }}</h1>
<p>{{ cards|length }} photographs, least sure first. Thin: candidates. Thick red: the chosen region. Dashed green: the
true box where it is known.{% if mean_iou is not none %} Mean IoU with the true box {{ "%.3f"|format(mean_iou) }} over
{{ num_known }} photographs.{% endif %} Regions {{ digest }}.</p>
{% macro box(b, name) %}<rect class="{{ name }}" x="{{ "%.1f"|format(b[0]) }}" y="{{ "%.1f"|format(b[1]) }}" \
width="{{ "%.1f"|format(b[2] - b[0]) }}" height="{{ "%.1f"|format(b[3] - b[1]) }}"/>{% endmacro %}
<div class="cards">
{% for card in cards %}<figure>
<svg viewBox="0 0 {{ card.size_px[0] }} {{ card.size_px[1] }}" width="{{ card.size_px[0] }}" \
height="{{ card.size_px[1] }}"><image href="{{ card.image }}" width="{{ card.size_px[0] }}" \
height="{{ card.size_px[1] }}"/>
{% for found in card.candidates %}{{ box(found.box, "candidate") }}{% endfor %}{{ box(card.core.box, "core") }}\
{% if card.true_box %}{{ box(card.true_box, "true") }}{% endif %}</svg>
<figcaption lang=""><span class="score">{{ "%.2f"|format(card.core.score) }}</span>\
{% if card.iou is not none %} IoU {{ "%.2f"|format(card.iou) }}{% endif %} · {{ card.shot.kind }} · \
{{ card.shot.photo.ref }}<br>{{ card.core.reason }}<br>{{ card.shot.wanted.title or "" }}</figcaption>
</figure>
{% endfor %}</div></body></html>
"""
