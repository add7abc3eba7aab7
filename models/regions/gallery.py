"""Overlays to look at: thumbnails with candidate boxes, the chosen one and the true one; failures first."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment
from PIL import Image

from catalog import Box, Catalog, ImageError, ImageLimits, Photo, StorageError
from catalog.catalog import IMAGE_OK
from catalog.fonts import CSS_FONTS
from models.regions.boxes import box_iou, scale_box
from models.regions.chooser import CoreRegion
from models.regions.core import CoreRegions
from models.regions.detector import PRODUCT, Candidate
from models.regions.gallery_page import PAGE
from models.regions.wanted import Wanted

_THUMB_PX = 240
_FAILED_IOU = 0.5
"""A chosen region that overlaps the true box less has missed it."""
_NUM_BINS = 10
_BAR_PX = 56
_NUMBER_PX = (24, 12)
"""Room that a score takes on a thumbnail."""
_LEGEND = (
    ("core", "chosen region, with padding"),
    ("candidate", "candidates with their scores"),
    ("true", "true box, where it is known"),
)
_FILTERS = (
    ("kind", "Photographs:", (("all", "all"), ("product", "of products"), ("query", "of shoppers"))),
    (
        "kept",
        "Kept:",
        (("any", "any"), ("crop", "a crop"), ("whole", "the whole picture"), ("failed", "not the true box")),
    ),
)


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
    candidates: list[_Drawn]
    true_box: Box | None
    iou: float | None

    @property
    def shown_px(self) -> tuple[int, int]:
        """A small photograph is shown as large as the others."""
        factor = _THUMB_PX / max(self.size_px)
        return (max(round(self.size_px[0] * factor), 1), max(round(self.size_px[1] * factor), 1))

    @property
    def failed(self) -> bool:
        return self.iou is not None and self.iou < _FAILED_IOU


@dataclass(frozen=True)
class _Drawn:
    """A candidate at the thumbnail's scale."""

    box: Box
    score: float
    told: str
    numbered: bool
    """Its score is written at its corner: not where another one's stands, which could not be read either."""


@dataclass(frozen=True)
class _Bar:
    count: int
    height: float
    low: bool


def render_gallery(
    catalog: Catalog,
    regions: CoreRegions,
    out_html: str | Path,
    max_images: int = 120,
    limits: ImageLimits = ImageLimits(),
) -> int:
    """Write one self-contained HTML page of overlays, with the chooser's reasons, histograms and filters.

    What misses its true box comes first, worst first; then what has no true box, least sure first; then the rest.

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
    num_all = len(shots)
    if len(shots) > max_images:
        shots = [shots[index * len(shots) // max_images] for index in range(max_images)]
    cards = []
    for shot in shots:
        try:
            cards.append(_card(shot, regions, limits))
        except ImageError:
            continue
    cards.sort(key=_badness)
    known = [card.iou for card in cards if card.iou is not None]
    charts = [{"title": "Score of the chosen region", "bars": _bars([card.core.score for card in cards], 0.0)}]
    if known:
        charts.insert(0, {"title": "IoU with the true box", "bars": _bars(known, _FAILED_IOU)})
    page = (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            cards=cards,
            fonts=CSS_FONTS,
            name=catalog.name,
            mean_iou=sum(known) / len(known) if known else None,
            num_known=len(known),
            num_all=num_all,
            num_failed=sum(card.failed for card in cards),
            failed_iou=_FAILED_IOU,
            num_whole=sum(card.core.kept_whole for card in cards),
            charts=charts,
            legend=_LEGEND if known else _LEGEND[:2],
            filters=_filters(cards),
            digest=regions.digest[:12],
        )
    )
    target = Path(out_html)
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(page, encoding="utf-8")
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            "gallery cannot be written",
            where=str(out_html),
            got=str(error),
            fix="free space or choose another place",
        ) from None
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
    candidates = regions.candidates(shot.photo, image, shot.wanted)
    core = regions.choose(candidates, image.size, shot.wanted)
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
        core=replace(core, box=scale_box(core.box, *factors)),
        candidates=_drawn(candidates, factors),
        true_box=scale_box(true_box, *factors) if true_box else None,
        iou=box_iou(core.box, true_box) if true_box else None,
    )


def _drawn(candidates: list[Candidate], factors: tuple[float, float]) -> list[_Drawn]:
    drawn: list[_Drawn] = []
    for found in candidates:
        box = scale_box(found.box, *factors)
        near = [one for one in drawn if one.numbered and _are_near(one.box, box)]
        drawn.append(_Drawn(box, found.score, _told(found), not near))
    return drawn


def _are_near(one: Box, other: Box) -> bool:
    return abs(one[0] - other[0]) < _NUMBER_PX[0] and abs(one[1] - other[1]) < _NUMBER_PX[1]


def _badness(card: _Card) -> tuple[int, float, str]:
    """Sort key: known failures first, then what nothing is known of, the least sure first, then what is right."""
    if card.iou is None:
        return (1, card.core.score, card.shot.photo.ref)
    return (0 if card.failed else 2, card.iou, card.shot.photo.ref)


def _told(found: Candidate) -> str:
    told = f"score {found.score:.2f}" if found.label == PRODUCT else f"{found.label}, score {found.score:.2f}"
    return told if found.agreement is None else f"{told}, agreement {found.agreement:.2f}"


def _bars(values: list[float], low: float) -> list[_Bar]:
    """How many of `values`, 0 to 1, lie in each tenth; bars below `low` are marked."""
    counts = [0] * _NUM_BINS
    for value in values:
        counts[min(int(value * _NUM_BINS), _NUM_BINS - 1)] += 1
    top = max(counts) or 1
    return [_Bar(count, _BAR_PX * count / top, (bin_ + 1) / _NUM_BINS <= low) for bin_, count in enumerate(counts)]


def _filters(cards: list[_Card]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The filters with how many cards each leaves, those that leave none or are no choice gone."""
    nums = {
        "all": len(cards),
        "any": len(cards),
        "product": sum(card.shot.kind == "product" for card in cards),
        "query": sum(card.shot.kind == "query" for card in cards),
        "whole": sum(card.core.kept_whole for card in cards),
        "crop": sum(not card.core.kept_whole for card in cards),
        "failed": sum(card.failed for card in cards),
    }
    left = [
        (group, words, [(name, f"{text} ({nums[name]})") for name, text in choices if nums[name]])
        for group, words, choices in _FILTERS
    ]
    return [(group, words, choices) for group, words, choices in left if len(choices) > 2]
