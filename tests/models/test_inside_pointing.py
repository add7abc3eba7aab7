"""The pointing game: closed forms, and a model that is known to look at the right place."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from catalog import Photo, QueryItem
from models.inside import HeatConfig, HeatMap, heat_maps, randomised, show_product, show_query, unit_vector
from models.inside.pointing import PRODUCT, QUERY, Shot, heat_inside, map_correlation, play, score, shot_of
from tests.models import shop
from tests.models.inside_models import item, lively, spot_encoder


def _heat(values: np.ndarray, size_px: tuple[int, int] = (40, 40), cell_px: float = 10.0) -> HeatMap:
    return HeatMap(shop.photo_of(shop.noise(0)), 0, size_px, None, cell_px, values, {})


def _shot(hit: bool, area: float, spearman: float = 0.0) -> Shot:
    return Shot(PRODUCT, "text", "p", "g", area, hit, 0.5, not hit, 0.3, True, spearman)


def test_the_score_is_hits_over_area() -> None:
    shots = [_shot(True, 0.3, 0.2), _shot(True, 0.5, 0.4), _shot(False, 0.4, -0.3), _shot(True, 0.4, 0.1)]
    found = score(shots)
    assert found.n == 4
    assert found.hit_frac == 0.75
    assert found.area_frac == pytest.approx(0.4)
    assert found.ratio == pytest.approx(0.75 / 0.4)
    assert found.random_hit_frac == 0.25
    assert found.random_heat_in_frac == pytest.approx(0.3)
    assert found.centre_hit_frac == 1.0
    assert found.spearman == pytest.approx(0.1)


def test_heat_inside_counts_cells_by_the_share_that_the_box_covers() -> None:
    assert heat_inside(_heat(np.ones((4, 4))), (0, 0, 20, 40)) == pytest.approx(0.5)
    assert heat_inside(_heat(np.ones((4, 4))), (5, 5, 15, 15)) == pytest.approx(100 / 1600)
    assert heat_inside(_heat(-np.ones((4, 4))), (0, 0, 40, 40)) == 0.0
    mixed = -np.ones((4, 4))
    mixed[0, 0] = 3.0
    assert heat_inside(_heat(mixed), (0, 0, 5, 10)) == pytest.approx(0.5)
    # 35 px wide: the last cell is half as wide and counts whole when the box reaches the edge.
    assert heat_inside(_heat(np.ones((4, 4)), (35, 40)), (30, 0, 35, 40)) == pytest.approx(0.25)


def test_correlation_of_ranks() -> None:
    values = np.random.default_rng(0).normal(size=(4, 4))
    assert map_correlation(_heat(values), _heat(np.exp(values))) == pytest.approx(1.0)
    assert map_correlation(_heat(values), _heat(-values)) == pytest.approx(-1.0)
    assert map_correlation(_heat(values), _heat(np.zeros((4, 4)))) == 0.0


def test_a_shot_tells_what_two_maps_say_of_a_box() -> None:
    corner, middle = np.zeros((4, 4)), np.zeros((4, 4))
    corner[0, 3], middle[1, 2] = 1.0, 1.0
    shot = shot_of(QUERY, "both", "g", _heat(corner), _heat(middle), (30.0, 0.0, 40.0, 20.0))
    assert (shot.side, shot.asked, shot.ref, shot.group) == (QUERY, "both", "photo", "g")
    assert (shot.hit, shot.random_hit, shot.centre_hit) == (True, False, False)
    assert (shot.heat_in_frac, shot.random_heat_in_frac) == (1.0, 0.0)
    assert shot.area_frac == pytest.approx(200 / 1600)
    # Two maps of one hot cell each, elsewhere: 15 cells of one rank and one above, correlated -1/15.
    assert shot.spearman == pytest.approx(-1 / 15)


@pytest.mark.parametrize(("side_px", "small"), [(19.9, True), (20.0, False), (40.0, False)])
def test_a_small_box_is_under_a_quarter_of_the_picture(side_px: float, small: bool) -> None:
    flat = _heat(np.zeros((4, 4)))
    assert shot_of(PRODUCT, "text", "g", flat, flat, (0.0, 0.0, side_px, side_px)).is_small is small


def test_every_photograph_with_a_box_is_played() -> None:
    encoder = lively()
    photo = shop.photo_of(shop.noise(5))
    boxed = Photo(ref="asked", digest=photo.digest, data=photo.data, box=(0.0, 0.0, 20.0, 20.0))
    mug = item(shop.noise(1), shop.noise(2), box=(0.0, 0.0, 40.0, 20.0))
    plain = item(shop.noise(3), product_id="no box")
    pairs = [(mug, QueryItem("both", "red", boxed)), (mug, QueryItem("text", "red")), (plain, QueryItem("t", "x"))]
    told: list[int] = []
    shots = play(encoder, pairs, HeatConfig(cells=3, window_cells=1), progress=told.append)
    # The product was seen with its first query; the second adds nothing.
    assert [(shot.side, shot.asked, shot.ref) for shot in shots] == [
        (PRODUCT, "both", "photo-0"),
        (PRODUCT, "both", "photo-1"),
        (QUERY, "both", "asked"),
    ]
    assert [shot.area_frac for shot in shots] == pytest.approx([0.5, 0.5, 0.25])
    # A query's photograph stands under the product that it was held against.
    assert {shot.group for shot in shots} == {mug.product.group_id}
    assert told == [1, 2, 3]
    # The control is the model with weights drawn anew from the seed that `play` was given.
    control, config = randomised(encoder, 0), HeatConfig(cells=3, window_cells=1)
    maps = [
        heat_maps(one, show_product(one, mug), unit_vector(one, show_query(one, pairs[0][1])), config)
        for one in (encoder, control)
    ]
    assert [shot.spearman for shot in shots[:2]] == pytest.approx(
        [map_correlation(*two) for two in zip(*maps, strict=True)]
    )


def test_a_model_that_looks_at_the_box_hits_it() -> None:
    """It sees one patch of the square; asked with the same photograph, only hiding that patch costs anything."""
    box = (30.0, 6.0, 42.0, 18.0)
    encoder = spot_encoder((slice(4, 12), slice(20, 28)), box, crops="none")
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 100, (48, 48, 3), dtype=np.uint8))
    picture.paste((240, 240, 240), (30, 6, 42, 18))
    photo = shop.photo_of(picture, "asked")
    bare = item(picture, box=box, title=None, category=(), attributes={})
    config = HeatConfig(cells=12, window_cells=1)
    shown, asked = show_product(encoder, bare), show_query(encoder, QueryItem("q", None, photo))
    (heat,) = heat_maps(encoder, shown, unit_vector(encoder, asked), config)
    # All of it but for rounding; the box covers a sixteenth of the picture.
    assert heat_inside(heat, box) > 0.7
    x, y = heat.peak_px
    assert box[0] <= x <= box[2]
    assert box[1] <= y <= box[3]
