"""Heat maps against a model whose answer is known: it looks at one spot of every square."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from catalog import Box, QueryItem
from models.encoder import MoonEncoder
from models.heads import PartsHead
from models.inside import HeatConfig, HeatMap, Shown, heat_maps, randomised, show_product, show_query, unit_vector
from models.inside.pointing import map_correlation
from models.moon import MoonModel
from models.tokens import TokenType
from tests.models import shop
from tests.models.inside_models import item, lively, spot_encoder

CORE: Box = (40.0, 20.0, 80.0, 60.0)
SPOT = (slice(4, 8), slice(20, 24))
"""Rows and columns of the 32 px square that the model looks at."""
FINE = HeatConfig(cells=16, window_cells=1)
TARGET = torch.nn.functional.normalize(torch.arange(1.0, 25.0), dim=0)
"""Some direction; against an item's own vector, a small change would be lost in rounding."""


def _wide() -> Image.Image:
    """128 x 64 px of noise: fitted to 32 x 16, eight white rows above."""
    values = np.random.default_rng(0).integers(0, 120, (64, 128, 3), dtype=np.uint8)
    return Image.fromarray(values)


def _hot(heat: np.ndarray, cell_px: float) -> tuple[float, float, float, float]:
    """Box around the cells with heat, pixels."""
    rows, columns = np.nonzero(np.abs(heat) > 1e-7)
    return (
        columns.min() * cell_px,
        rows.min() * cell_px,
        (columns.max() + 1) * cell_px,
        (rows.max() + 1) * cell_px,
    )


def _map(encoder: MoonEncoder, photo: Image.Image) -> HeatMap:
    return heat_maps(encoder, show_product(encoder, item(photo)), TARGET, FINE, each_view=True)[0]


def test_the_heat_lies_on_the_spot_with_the_letterbox_undone() -> None:
    spot = (slice(12, 16), slice(20, 24))
    heat = _map(spot_encoder(spot, CORE, crops="none"), _wide())
    # Rows 12..16 of the square are rows 4..8 of the 16 that hold the picture; four photograph pixels a square's.
    assert heat.cell_px == 8.0
    assert heat.heat.shape == (8, 16)
    assert _hot(heat.heat, heat.cell_px) == (80.0, 16.0, 96.0, 32.0)
    assert heat.region_px is None


def test_what_the_model_sees_in_the_white_around_is_no_part_of_the_photograph() -> None:
    heat = _map(spot_encoder((slice(0, 8), slice(0, 32)), CORE, crops="none"), _wide())
    assert np.abs(heat.heat).max() < 1e-7


def test_the_crop_is_placed_back_into_the_photograph() -> None:
    heat = _map(spot_encoder(SPOT, CORE), _wide())
    assert heat.region_px == (40, 20, 80, 60)
    # The crop of 40 px fills the square of 32: rows 4..8 and columns 20..24 are 5..10 and 25..30 px into it.
    x0, y0, x1, y1 = _hot(heat.by_view[TokenType.CROP], heat.cell_px)
    assert (x0, y0, x1, y1) == (64.0, 24.0, 72.0, 32.0)
    # In the original the spot lies in the white.
    assert np.abs(heat.by_view[TokenType.IMAGE]).max() < 1e-7
    np.testing.assert_allclose(heat.heat, heat.by_view[TokenType.CROP], atol=1e-9)


def test_the_peak_is_the_middle_of_the_hottest_cell_inside_the_photograph() -> None:
    values = np.zeros((2, 3))
    values[1, 2] = 1.0
    heat = HeatMap(shop.photo_of(shop.noise(0)), 0, (50, 40), None, 20.0, values, {})
    # The last column is cut at 50.
    assert heat.peak_px == (45.0, 30.0)


def test_both_views_are_hidden_together() -> None:
    spot = (slice(10, 22), slice(10, 22))
    heat = _map(spot_encoder(spot, CORE), _wide())
    for view in (TokenType.IMAGE, TokenType.CROP):
        x0, y0, x1, y1 = _hot(heat.by_view[view], heat.cell_px)
        both = _hot(heat.heat, heat.cell_px)
        assert both[0] <= x0
        assert both[1] <= y0
        assert both[2] >= x1
        assert both[3] >= y1


def _colour_of(pixels_CHW: torch.Tensor, fill: str) -> torch.Tensor:
    """(C, 1, 1): what hides a window of a picture that fills its square."""
    if fill == "mean":
        return pixels_CHW.mean(dim=(1, 2), keepdim=True)
    last = pixels_CHW.shape[1] - 1
    edge = [pixels_CHW[:, y, x] for y in range(last + 1) for x in range(last + 1) if {y, x} & {0, last}]
    return torch.stack(edge).median(dim=0).values.view(-1, 1, 1)


@pytest.mark.parametrize("fill", ["mean", "border"])
def test_hiding_against_a_naive_loop(fill: Literal["mean", "border"]) -> None:
    """One window of every place, painted over by hand in the photograph's own square."""
    encoder = spot_encoder(SPOT, CORE, crops="none")
    square = shop.noise(3, 32)
    shown = show_product(encoder, item(square))
    heat = heat_maps(encoder, shown, TARGET, HeatConfig(cells=4, window_cells=1, fill=fill))[0].heat
    pixels = encoder.processor.pixels(shown.encoded.squares)
    whole = _sum_of(encoder, shown, pixels)
    for row in range(4):
        for column in range(4):
            changed = pixels.clone()
            changed[0, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = _colour_of(pixels[0], fill)
            gone = whole - _sum_of(encoder, shown, changed)
            assert heat[row, column] == pytest.approx(float(gone @ TARGET / whole.norm()), abs=1e-6)


@torch.no_grad()
def test_hiding_in_a_head_of_parts_against_a_naive_loop() -> None:
    """Each part is divided by the length that it has with nothing hidden."""
    parts = {name: shop.default_model().model_dump()[name] for name in shop.PINNED}
    encoder = lively(**parts, crops="none")
    square = shop.noise(3, 32)
    shown = show_product(encoder, item(square))
    heat = heat_maps(encoder, shown, TARGET, HeatConfig(cells=2, window_cells=1))[0].heat
    pixels = encoder.processor.pixels(shown.encoded.squares)
    head = encoder.model.head
    assert isinstance(head, PartsHead)

    def parts_of(squares_NCHW: torch.Tensor) -> list[torch.Tensor]:
        return [part[0] for part, _ in head.parts(encoder.model.signals(shown.batch(encoder.processor, squares_NCHW)))]

    whole = parts_of(pixels)
    weights = head.log_weights.exp()
    length = sum(weight * part / part.norm() for weight, part in zip(weights, whole, strict=True)).norm()
    for row in range(2):
        for column in range(2):
            changed = pixels.clone()
            changed[0, :, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = _colour_of(pixels[0], "border")
            expected = sum(
                float(weight * ((part - without) @ TARGET) / part.norm() / length)
                for weight, part, without in zip(weights, whole, parts_of(changed), strict=True)
            )
            assert heat[row, column] == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
def _sum_of(encoder: MoonEncoder, shown: Shown, pixels_NCHW: torch.Tensor) -> torch.Tensor:
    batch = shown.batch(encoder.processor, pixels_NCHW)
    signals = encoder.model.signals(batch)
    head = encoder.model.head
    total = head.project(head.norm(signals.hidden_BD))[0]
    for name, raw in head.residuals.items():
        total[head.spans[name]] += raw(*signals.raw(name))[0]
    return total[head.order]


def test_a_larger_window_is_the_mean_over_all_that_cover_a_cell() -> None:
    encoder = spot_encoder(SPOT, CORE, crops="none")
    shown = show_product(encoder, item(shop.noise(3, 32)))
    wide = heat_maps(encoder, shown, TARGET, HeatConfig(cells=8, window_cells=3))[0].heat
    # The spot is cell (1, 5): windows that hide it cover cells up to two away, and no others are warm.
    rows, columns = np.nonzero(np.abs(wide) > 1e-7)
    assert set(rows) == {0, 1, 2, 3}
    assert set(columns) == {3, 4, 5, 6, 7}
    assert np.unravel_index(int(np.abs(wide).argmax()), wide.shape) == (1, 5)


CHANGES: list[dict[str, object]] = [
    {},
    {"head": "parts", "residual_start": "open", "colour_residual": True, "code_residual": True},
    {"head": "heads", "residual_start": "open", "colour_residual": True},
    {"head": "sum", "colour_residual": False},
    {"fusion": "late"},
    {"fusion": "late", "colour_residual": True, "word_residual": False},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_the_sum_over_its_length_is_the_vector(changes: dict[str, object]) -> None:
    encoder = lively(**changes)
    for shown in (
        show_product(encoder, item(shop.noise(1))),
        show_product(encoder, item()),
        show_query(encoder, QueryItem("q", None, shop.photo_of(shop.noise(2)))),
    ):
        with torch.no_grad():
            batch = shown.batch(encoder.processor, encoder.processor.pixels(shown.encoded.squares))
            z = encoder.model.head.joined(encoder.model.signals(batch))[0]
        torch.testing.assert_close(z / z.norm(), unit_vector(encoder, shown), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("fill", ["mean", "border"])
def test_a_picture_of_one_colour_has_nothing_to_hide(fill: str) -> None:
    encoder = lively()
    shown = show_product(encoder, item(Image.new("RGB", (40, 30), (90, 10, 200))))
    target = unit_vector(encoder, show_query(encoder, "blue box"))
    heat = heat_maps(encoder, shown, target, HeatConfig(cells=4, window_cells=2, fill=fill))[0].heat
    assert np.abs(heat).max() < 1e-5


def test_every_photograph_has_its_map_and_an_item_without_any_has_none() -> None:
    encoder = lively()
    config = HeatConfig(cells=4, window_cells=2)
    target = unit_vector(encoder, show_query(encoder, "red mug"))
    two = show_product(encoder, item(shop.noise(1), shop.noise(2, 30)))
    maps = heat_maps(encoder, two, target, config, each_view=True)
    assert [heat.number for heat in maps] == [0, 1]
    assert [heat.photo.ref for heat in maps] == ["photo-0", "photo-1"]
    assert all(set(heat.by_view) == {TokenType.IMAGE, TokenType.CROP} for heat in maps)
    assert heat_maps(encoder, show_product(encoder, item()), target, config) == ()
    assert heat_maps(encoder, show_query(encoder, QueryItem("q", "red")), target, config) == ()


def test_maps_do_not_depend_on_the_batch_size_and_are_the_same_every_time() -> None:
    encoder = lively()
    shown = show_product(encoder, item(shop.noise(1)))
    target = unit_vector(encoder, show_query(encoder, "red mug"))
    first, again, small = (
        heat_maps(encoder, shown, target, HeatConfig(cells=4, window_cells=2, batch_size=size))[0].heat
        for size in (64, 64, 3)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, small, atol=1e-6)


def test_weights_drawn_anew_give_another_map() -> None:
    encoder = lively()
    control = randomised(encoder)
    config = HeatConfig(cells=6, window_cells=2)
    found = []
    for number in range(6):
        shown = show_product(encoder, item(shop.noise(number)))
        query = show_query(encoder, "red mug for the kitchen")
        one = heat_maps(encoder, shown, unit_vector(encoder, query), config)[0]
        other = heat_maps(control, shown, unit_vector(control, query), config)[0]
        found.append(map_correlation(one, other))
        assert map_correlation(one, one) == pytest.approx(1.0)
    assert abs(float(np.mean(found))) < 0.5
    assert control.model.config == encoder.model.config
    assert all(
        bool((a != b).any())
        for (name, a), b in zip(encoder.model.named_parameters(), control.model.parameters(), strict=True)
        if a.numel() > 1
    )


def test_weights_drawn_anew_leave_no_path_switched_off() -> None:
    # In a head of parts the changes of pictures start at zero, as low-rank experts do.
    model = MoonModel.seeded(shop.default_model(), 400, seed=1)
    plain = MoonEncoder(model, lively().processor, "plain")
    assert any(not bool(one.any()) for one in model.parameters() if one.dim() > 1)
    control = randomised(plain)
    assert all(bool(one.any()) for one in control.model.parameters() if one.dim() > 1)
