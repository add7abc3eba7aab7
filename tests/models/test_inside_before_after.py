"""Maps without and with the crop: what is compared, and how much heat lies in a box."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalog import ModelError, QueryItem, StorageError
from models.inside.before_after import before_after, draw_before_after, heat_in_box, render_before_after
from models.inside.heat import HeatConfig, HeatMap, heat_maps
from models.inside.shown import show_product, show_query, unit_vector
from tests.models import shop
from tests.models.inside_models import encoder_of, item, lively

COARSE = HeatConfig(cells=4, window_cells=1)


def _query(seed: int = 3) -> QueryItem:
    photo = replace(shop.photo_of(shop.noise(seed), f"q{seed}"), box=(8.0, 8.0, 32.0, 32.0))
    return QueryItem(query_id=f"q{seed}", photo=photo)


def test_before_is_the_whole_photograph_twice_and_after_is_the_encoder_itself() -> None:
    encoder = lively(core=(4.0, 6.0, 30.0, 36.0))
    whole = encoder_of(encoder.model, encoder.config, (0.0, 0.0, 40.0, 40.0))
    product, query = item(shop.noise(1)), _query()
    row = before_after(encoder, [(product, query)], COARSE)[0]
    target = unit_vector(encoder, show_product(encoder, product))
    for heat, cosine, one in ((row.before, row.cosine_before, whole), (row.after, row.cosine_after, encoder)):
        shown = show_query(one, query)
        np.testing.assert_allclose(heat.heat, heat_maps(one, shown, target, COARSE)[0].heat, atol=1e-6)
        assert cosine == pytest.approx(float(unit_vector(one, shown) @ target), abs=1e-6)
    assert row.cosine_before != pytest.approx(row.cosine_after, abs=1e-4)
    assert row.before.region_px is None
    assert row.after.region_px is not None
    assert row.true_box == (8.0, 8.0, 32.0, 32.0)


def test_queries_without_a_photograph_are_passed_over() -> None:
    pairs = [(item(shop.noise(1)), QueryItem(query_id="words", text="red mug")), (item(shop.noise(1)), _query())]
    assert [row.query_id for row in before_after(lively(), pairs, COARSE)] == ["q3"]


def test_an_encoder_without_crops_has_nothing_to_compare() -> None:
    with pytest.raises(ModelError, match="fed no crops"):
        before_after(lively(use_crops=False), [(item(shop.noise(1)), _query())], COARSE)


def _heat(values: list[list[float]]) -> HeatMap:
    return HeatMap(shop.photo_of(Image.new("RGB", (40, 20))), 0, (40, 20), None, 10.0, np.array(values), {})


@pytest.mark.parametrize(
    ("box", "share"),
    [
        ((0.0, 0.0, 40.0, 20.0), 1.0),
        ((0.0, 0.0, 10.0, 10.0), 0.2),
        ((5.0, 0.0, 10.0, 10.0), 0.1),
        ((0.0, 0.0, 10.0, 20.0), 0.2),
        ((30.0, 10.0, 40.0, 20.0), 0.8),
        ((10.0, 0.0, 30.0, 20.0), 0.0),
        ((25.0, 15.0, 35.0, 20.0), 0.2),
    ],
)
def test_the_share_of_heat_in_a_box_counts_what_is_covered(
    box: tuple[float, float, float, float], share: float
) -> None:
    heat = _heat([[1.0, 0.0, 0.0, -5.0], [-2.0, 0.0, 0.0, 4.0]])
    assert heat_in_box(heat, box) == pytest.approx(share)


def test_a_cold_map_has_no_share() -> None:
    assert heat_in_box(_heat([[-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), (0.0, 0.0, 40.0, 20.0)) == 0.0


def test_the_picture_is_written_whole(tmp_path: Path) -> None:
    out = tmp_path / "new" / "maps.png"
    rows = render_before_after(
        lively(), [(item(shop.noise(1)), _query()), (item(shop.noise(2)), _query(4))], out, COARSE
    )
    assert len(rows) == 2
    assert Image.open(out).format == "PNG"
    assert [path.name for path in out.parent.iterdir()] == ["maps.png"]
    titles = [panel.get_title() for panel in draw_before_after(rows).axes]
    assert len(titles) == 6
    assert titles[0] == f"q3, {rows[0].product_id}"
    assert titles[1].startswith(f"without crop: cosine {rows[0].cosine_before:.3f}, ")
    assert titles[2].endswith("of heat in box")


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    assert render_before_after(lively(), [], tmp_path / "maps.png", COARSE) == []
    assert draw_before_after([]).texts[-1].get_text() == "no query has a photograph"


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="heat maps"):
        render_before_after(lively(), [], tmp_path / "file" / "maps.png", COARSE)
