"""The default detector on the demo shop, whose true boxes are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from catalog import Box, DemoConfig, decode_image
from catalog.demo import render_demo
from models.regions import NOTHING_KNOWN, RegionsConfig, Wanted, box_iou, make_chooser, make_detector, whole_box


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Box, tuple[str, ...]]]:
    folder = tmp_path_factory.mktemp("demo")
    products, queries = render_demo(DemoConfig(num_products=24, image_size_px=128, num_workers=1), str(folder))
    rows = [
        (folder / ref, box, product.category)
        for product in products
        for ref, box in zip(product.images, product.boxes, strict=True)
        if box is not None
    ]
    return rows + [(folder / query.image, query.box, ()) for query in queries if query.image and query.box]


def test_the_core_region_beats_the_whole_picture_clearly(truth: list[tuple[Path, Box, tuple[str, ...]]]) -> None:
    cfg = RegionsConfig()
    detector, chooser = make_detector(cfg), make_chooser(cfg)
    chosen, best, whole = [], [], []
    for path, box, category in truth:
        image = decode_image(path.read_bytes(), str(path))
        candidates = detector.detect([image], [NOTHING_KNOWN])[0]
        chosen.append(box_iou(chooser.choose(candidates, image.size, Wanted(category=category)).box, box))
        best.append(max((box_iou(candidate.box, box) for candidate in candidates), default=0.0))
        whole.append(box_iou(whole_box(image.size), box))
    assert len(chosen) >= 72
    assert np.mean(chosen) >= np.mean(whole) + 0.25
    assert np.mean(np.array(chosen) >= 0.5) >= 0.8
    assert np.mean(best) >= 0.75
