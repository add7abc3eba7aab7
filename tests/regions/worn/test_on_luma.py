"""The stage on the sports shop's photographs of people, labelled by eye; needs `luma` under MOON_DATA."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from catalog import decode_image
from models.regions import RegionsConfig, Wanted, WornConfig, box_iou, make_chooser, make_detector

_LABELS = Path(__file__).parents[1] / "labels" / "luma_worn.json"


@pytest.mark.real
def test_the_titled_garment_is_found_on_people_and_beats_the_person_on_each_kind() -> None:
    luma = Path(os.environ.get("MOON_DATA", "data")) / "luma"
    if not luma.is_dir():
        pytest.skip(f"real photographs are not at hand: no folder {luma}; set MOON_DATA")
    products = [json.loads(line) for line in (luma / "products.jsonl").read_text().splitlines()]
    by_image = {image: product for product in reversed(products) for image in product["images"]}
    stage, base = make_detector(RegionsConfig()), make_detector(RegionsConfig(worn=WornConfig(enabled=False)))
    chooser = make_chooser(RegionsConfig())
    scores: dict[str, list[tuple[float, float]]] = {}
    for label in json.loads(_LABELS.read_text())["labels"]:
        product = by_image[label["image"]]
        image = decode_image((luma / label["image"]).read_bytes(), label["image"])
        wanted = Wanted(product["title"], tuple(product["category"]))
        one, two = (
            box_iou(chooser.choose(detector.detect([image], [wanted])[0], image.size, wanted).box, tuple(label["box"]))
            for detector in (stage, base)
        )
        scores.setdefault(label["kind"], []).append((one, two))
    assert sum(map(len, scores.values())) == 60
    for kind, pairs in scores.items():
        with_stage, without = np.array(pairs).T
        assert np.median(with_stage) >= 0.8, kind
        assert np.median(with_stage) >= np.median(without) + 0.2, kind
