"""The contact sheet and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalog import Product, Query
from catalog.demo.__main__ import main
from catalog.demo.sheet import pick_queries, pick_varied, render_sheet
from tests.demo.conftest import Shop


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), int)


def test_sheet_shows_products_and_queries(shop: Shop, tmp_path: Path) -> None:
    plain, asked = tmp_path / "plain.png", tmp_path / "asked.png"
    render_sheet(shop.products[:10], str(shop.root), str(plain), columns=5, thumb_px=96)
    render_sheet(shop.products[:10], str(shop.root), str(asked), queries=shop.queries[:8], columns=5, thumb_px=96)
    assert _pixels(asked).shape[0] > _pixels(plain).shape[0] + 96
    with Image.open(shop.root / shop.products[0].images[0]) as first:
        shown = _pixels(plain)[10 : 10 + 96, 10 : 10 + 96]
        assert np.abs(shown - np.asarray(first.convert("RGB"), int)).mean() < 12


def test_boxes_are_drawn_when_asked_for(shop: Shop, tmp_path: Path) -> None:
    for name, boxes in (("without", False), ("with", True)):
        render_sheet(shop.products[:3], str(shop.root), str(tmp_path / f"{name}.png"), thumb_px=96, draw_boxes=boxes)
    changed = np.abs(_pixels(tmp_path / "with.png") - _pixels(tmp_path / "without.png")).max(axis=2) > 60
    x0, y0, x1, _ = (int(v) for v in shop.products[0].boxes[0] or (0, 0, 0, 0))
    assert changed[10 + y0, 10 + x0 : 10 + x1].mean() > 0.8


def test_varied_pick_takes_leaf_after_leaf(shop: Shop) -> None:
    picked = pick_varied(shop.products, 15)
    assert len({product.category for product in picked}) == 15
    assert pick_varied([], 5) == []


def test_picked_queries_are_answered_by_what_is_shown(shop: Shop) -> None:
    shown = pick_varied(shop.products, 30)
    picked = pick_queries(shown, shop.queries, 8)
    assert len({query.query_id for query in picked}) == 8
    assert {query.product_ids[0] for query in picked} <= {product.product_id for product in shown}
    assert {str(query.kind) for query in picked} == {"photo", "text", "both"}
    assert pick_queries([], shop.queries, 8) == []


def test_command_writes_a_catalogue_folder_and_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, sheet = tmp_path / "shop", tmp_path / "sheet.png"
    status = main(["--out", str(out), "--products", "24", "--size", "64", "--workers", "1", "--sheet", str(sheet)])
    assert status == 0
    said = capsys.readouterr()
    assert "24 products" in said.out
    assert "drawing 24/24" in said.err
    products = [Product.model_validate_json(line) for line in (out / "products.jsonl").read_text().splitlines()]
    queries = [Query.model_validate(json.loads(line)) for line in (out / "queries.jsonl").read_text().splitlines()]
    assert len(products) == 24
    assert all((out / ref).is_file() for product in products for ref in product.images)
    assert all((out / query.image).is_file() for query in queries if query.image)
    assert _pixels(sheet).std() > 20


def test_command_refuses_what_cannot_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "shop"), "--products", "3"]) == 2
    assert "num_products" in capsys.readouterr().err
    assert not (tmp_path / "shop").exists()


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "examples:" in said
    assert "products.jsonl" in said
