"""Do the maps mean anything? The pointing game, and the control with weights that learnt nothing.

A map points right when its hottest cell lies inside the true box of the product. A map without meaning would do so as
often as the boxes are large, so that the hits are held against the mean share of the picture that a box covers. Where
products stand in the middle, as in a shop's pictures, a point in the middle hits too: its hits are told beside, and so
are those of the model with random weights.

Source: the pointing game, Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016 (arXiv
    1608.00507), without its tolerance around the box; the control: Adebayo et al., Sanity Checks for Saliency Maps,
    NeurIPS 2018 (arXiv 1810.03292). Both with one map a photograph instead of one a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from catalog import Box, ProductItem, QueryItem
from models.encoder import MoonEncoder
from models.inside.heat import HeatConfig, HeatMap, heat_maps
from models.inside.pairs import query_kind
from models.inside.randomised import randomised
from models.inside.shown import Shown, show_product, show_query, unit_vector

PRODUCT, QUERY = "product", "query"
SMALL_FRAC = 0.25
"""A box below this share of the picture is a small one: a map that points to the middle alone misses many of them."""


@dataclass(frozen=True)
class Shot:
    """One photograph with a true box, mapped by the trained model and by its control."""

    side: str
    """`PRODUCT`: a shop's photograph, held against the query; `QUERY`: a shopper's, held against the product."""
    asked: str
    """What the query was made of: `text`, `photo` or `both`."""
    ref: str
    group: str
    """Of the product, whose variants are no independent evidence: the cluster for intervals."""
    area_frac: float
    """Share of the picture that the true box covers."""
    hit: bool
    """The hottest cell of the trained model's map lies in the true box."""
    heat_in_frac: float
    """Share of the positive heat that lies in the true box."""
    random_hit: bool
    random_heat_in_frac: float
    """The same two for random weights."""
    centre_hit: bool
    """The middle of the picture lies in the true box."""
    spearman: float
    """Rank correlation of the two maps, cell by cell; 0 where one of them is flat."""

    @property
    def is_small(self) -> bool:
        """Whether the true box is so small that chance seldom hits it."""
        return self.area_frac < SMALL_FRAC


@dataclass(frozen=True)
class Score:
    """The game over many photographs."""

    n: int
    hit_frac: float
    area_frac: float
    ratio: float
    """hit_frac over area_frac: 1 is chance."""
    heat_in_frac: float
    random_hit_frac: float
    random_heat_in_frac: float
    centre_hit_frac: float
    spearman: float
    """Mean rank correlation with the maps of random weights."""


def play(
    encoder: MoonEncoder,
    pairs: Iterable[tuple[ProductItem, QueryItem]],
    config: HeatConfig = HeatConfig(),
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Shot]:
    """Map every photograph that has a true box, of products held against queries and the other way round.

    A product or query counts once, in the first pair that names it.

    Args:
        encoder: The trained model.
        pairs: Products, and queries that they answer. Only their photographs' boxes are read as truth; no model sees
            a box.
        config: How fine the maps are.
        seed: Of the random weights.
        progress: Told the number of pairs done.
    """
    control = randomised(encoder, seed)
    shots: list[Shot] = []
    known: set[tuple[str, str]] = set()
    for done, (item, query) in enumerate(pairs, start=1):
        product, asked = show_product(encoder, item), show_query(encoder, query)
        kind = query_kind(query)
        for side, shown, other in ((PRODUCT, product, asked), (QUERY, asked, product)):
            if (side, shown.name) not in known:
                known.add((side, shown.name))
                shots += _shots(encoder, control, side, kind, item.product.group_id, shown, other, config)
        if progress is not None:
            progress(done)
    return shots


def score(shots: Iterable[Shot]) -> Score:
    """Sum up shots, at least one. Intervals need the groups of all of them: benchmarks/pointing_game.py draws those."""
    rows = list(shots)
    hits = sum(shot.hit for shot in rows)

    def mean(name: str) -> float:
        return float(np.mean([getattr(shot, name) for shot in rows]))

    area = mean("area_frac")
    return Score(
        n=len(rows),
        hit_frac=hits / len(rows),
        area_frac=area,
        ratio=hits / len(rows) / area,
        heat_in_frac=mean("heat_in_frac"),
        random_hit_frac=mean("random_hit"),
        random_heat_in_frac=mean("random_heat_in_frac"),
        centre_hit_frac=mean("centre_hit"),
        spearman=mean("spearman"),
    )


def map_correlation(one: HeatMap, other: HeatMap) -> float:
    """Spearman's rank correlation of two maps of a photograph; 0 where one of them is flat."""
    if np.ptp(one.heat) == 0.0 or np.ptp(other.heat) == 0.0:
        return 0.0
    return float(stats.spearmanr(one.heat.ravel(), other.heat.ravel()).statistic)


def heat_inside(heat: HeatMap, box: Box) -> float:
    """Share of the positive heat that lies in a box, cells at its edge by the share that it covers; 0 without any."""
    rows, columns = heat.heat.shape
    weights = np.outer(
        _covered(box[1], box[3], rows, heat.cell_px, heat.size_px[1]),
        _covered(box[0], box[2], columns, heat.cell_px, heat.size_px[0]),
    )
    warm = np.clip(heat.heat, 0.0, None)
    total = float(warm.sum())
    return float((warm * weights).sum()) / total if total > 0.0 else 0.0


def _covered(low: float, high: float, num: int, cell_px: float, length_px: int) -> np.ndarray:
    """Share of each cell along an axis that lies between `low` and `high`; the last cell ends with the picture."""
    edges = np.minimum(np.arange(num + 1) * cell_px, length_px)
    inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return np.clip(inside, 0.0, None) / np.diff(edges)


def _shots(
    encoder: MoonEncoder,
    control: MoonEncoder,
    side: str,
    asked: str,
    group: str,
    shown: Shown,
    other: Shown,
    config: HeatConfig,
) -> list[Shot]:
    if not any(frame.photo.box for frame in shown.frames):
        return []
    trained = heat_maps(encoder, shown, unit_vector(encoder, other), config)
    untrained = heat_maps(control, shown, unit_vector(control, other), config)
    maps = zip(trained, untrained, strict=True)
    return [shot_of(side, asked, group, one, blind, one.photo.box) for one, blind in maps if one.photo.box is not None]


def shot_of(side: str, asked: str, group: str, one: HeatMap, blind: HeatMap, box: Box) -> Shot:
    """What two maps of a photograph say of its true box.

    Args:
        side: `PRODUCT` or `QUERY`.
        asked: What the query was made of.
        group: Of the product.
        one: The trained model's map.
        blind: That of random weights.
        box: The true box, pixels of the photograph.
    """
    width, height = one.size_px
    return Shot(
        side=side,
        asked=asked,
        ref=one.photo.ref,
        group=group,
        area_frac=(box[2] - box[0]) * (box[3] - box[1]) / (width * height),
        hit=_inside(box, one.peak_px),
        heat_in_frac=heat_inside(one, box),
        random_hit=_inside(box, blind.peak_px),
        random_heat_in_frac=heat_inside(blind, box),
        centre_hit=_inside(box, (width / 2, height / 2)),
        spearman=map_correlation(one, blind),
    )


def _inside(box: Box, point: tuple[float, float]) -> bool:
    return bool(box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3])
