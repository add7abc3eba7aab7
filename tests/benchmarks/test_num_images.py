"""The curve of scores by the number of photographs, from made-up figures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.num_images import SHOWN, FewPhotos, draw
from catalog import Photo, Product, ProductItem, StorageError
from tests.models import shop

MISSING = SHOWN[2]


def _rows(most: int = 4) -> list[dict[str, Any]]:
    """Every score but one rises by two points a photograph, and is sure to five points."""
    rows = []
    for number in range(1, most + 1):
        scores = {}
        for place, name in enumerate(SHOWN):
            value = 0.4 + 0.05 * place + 0.02 * number
            scores[name] = [value, value - 0.05, value + 0.05, 120 + place]
        del scores[MISSING]
        rows.append({"photos": number, "products_with_as_many": 50 - 10 * number, "main_score": 0.5, "scores": scores})
    return rows


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Figure, Path]:
    kept: list[Figure] = []
    save = Figure.savefig

    def keeping(self: Figure, *args: Any, **options: Any) -> None:
        kept.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keeping)
    path = tmp_path / "images" / "num_images.png"
    draw(_rows(), 50, path)
    return kept[0], path


def test_every_score_has_a_panel_with_its_values_and_intervals(drawn: tuple[Figure, Path]) -> None:
    figure, path = drawn
    rows = _rows()
    panels = {axes.get_title(loc="left").splitlines()[0]: axes for axes in figure.axes if axes.lines}
    assert list(panels) == [name for name in SHOWN if name != MISSING]
    for name, axes in panels.items():
        (line,) = axes.lines
        assert line.get_xdata().tolist() == [1, 2, 3, 4]
        assert line.get_ydata() == pytest.approx([100 * row["scores"][name][0] for row in rows])
        (bars,) = axes.collections
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        assert ends == pytest.approx(np.array([[100 * end for end in row["scores"][name][1:3]] for row in rows]))
        assert axes.get_title(loc="left").endswith(f"n = {rows[0]['scores'][name][3]}")
    assert Image.open(path).width > 600


def test_the_axis_tells_how_many_products_have_as_many_photographs(drawn: tuple[Figure, Path]) -> None:
    figure, _ = drawn
    axes = next(axes for axes in figure.axes if axes.lines)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["1\n80 %", "2\n60 %", "3\n40 %", "4\n20 %"]


def test_a_single_number_of_photographs_is_drawn_too(tmp_path: Path) -> None:
    draw(_rows(1), 50, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be drawn"):
        draw(_rows(), 50, tmp_path / "file" / "num_images.png")


class Counting:
    """Stands for an encoder that takes up to two photographs, and notes how many it was shown of each product."""

    name, dims, digest = "counting", 4, "d"

    def __init__(self) -> None:
        self.processor = SimpleNamespace(config=shop.tiny_model(max_images=2))
        self.shown: list[int] = []

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        own = [len(item.photos) for item in items]
        self.shown = [min(number, self.processor.config.max_images) for number in own]
        return np.zeros((len(own), self.dims), np.float32)


def test_no_more_than_so_many_photographs_are_shown_and_the_models_own_limit_is_lifted() -> None:
    encoder = Counting()
    photo = Photo(ref="a.jpg")
    items = [ProductItem(Product(product_id=f"p{n}", title="mug"), (photo,) * n) for n in (0, 1, 2, 4)]
    for most, expected in ((1, [0, 1, 1, 1]), (2, [0, 1, 2, 2]), (3, [0, 1, 2, 3]), (4, [0, 1, 2, 4])):
        few = FewPhotos(encoder, most)  # type: ignore[arg-type]
        few.embed_products(items)
        assert encoder.shown == expected
        assert few.digest == f"d:{most}"
    assert [len(item.photos) for item in items] == [0, 1, 2, 4]
