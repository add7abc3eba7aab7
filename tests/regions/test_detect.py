from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from catalog import BadRow, Catalog, ModelError, Photo
from models.regions import (
    NOTHING_KNOWN,
    Candidate,
    CoreRegions,
    DetectionStats,
    RegionsConfig,
    RegionStore,
    Wanted,
    detect_catalog,
    make_chooser,
    make_detector,
    store_key,
)
from tests.regions.pictures import background, catalog_of, png_bytes, with_rectangle


class CountingDetector:
    """Answers with the left half; remembers what it was asked."""

    def __init__(self, reads_title: bool = False) -> None:
        self.digest, self.reads_title = "counting", reads_title
        self.asked: list[Wanted] = []

    def prompt(self, wanted: Wanted) -> str:
        return (wanted.title or "") if self.reads_title else ""

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        self.asked += wanted
        return [[Candidate((0, 0, image.width / 2, image.height), 0.9)] for image in images]


@pytest.fixture
def shop(tmp_path: Path) -> Catalog:
    pictures = {
        f"images/{index}.png": with_rectangle(background("noise", (90 + index, 80), index), (20, 20, 60, 60))
        for index in range(20)
    }
    return catalog_of(tmp_path, pictures, query_ref="images/19.png")


def test_a_second_run_makes_no_detector_call(shop: Catalog) -> None:
    detector, store = CountingDetector(), RegionStore("counting")
    seen: list[tuple[int, int]] = []
    first = detect_catalog(shop, detector, store, progress=lambda done, total: seen.append((done, total)))
    assert (first.num_images, first.num_hits, first.num_detected) == (20, 0, 20)
    assert seen[0] == (0, 20)
    assert seen[-1] == (20, 20)
    assert detector.asked == [Wanted(f"Mug {index}") for index in range(19)] + [NOTHING_KNOWN]
    second = detect_catalog(shop, detector, store)
    assert (second.num_images, second.num_hits, second.num_detected) == (20, 20, 0)
    assert len(detector.asked) == 20


def test_a_pass_tells_throughput_and_hit_rate() -> None:
    stats = DetectionStats(num_images=40, num_hits=30, num_detected=10, num_workers=2, seconds=4.0)
    assert stats.told == "regions of 40 images: 30 known (75%), 10 detected at 2.5 images/s in 2 processes"
    assert replace(stats, num_workers=1).told.endswith("10 detected at 2.5 images/s in one process")
    again = DetectionStats(40, 39, 0, 2, 0.1, (BadRow("a.png", "p", "damaged"),))
    assert again.told == "regions of 40 images: 39 known (100%), 0 detected, 1 skipped"
    assert DetectionStats(0, 0, 0, 0, 0.0).told == "regions of 0 images: 0 known (0%), 0 detected"
    assert (stats.hit_frac, stats.to_dict()["hit_frac"], stats.images_per_s) == (0.75, 0.75, 2.5)


def test_equal_files_are_looked_at_once(tmp_path: Path) -> None:
    image = background("noise", (50, 50))
    catalog = catalog_of(tmp_path, {"a.png": image, "b.png": image})
    stats = detect_catalog(catalog, CountingDetector(), RegionStore("counting"))
    assert (stats.num_images, stats.num_hits, stats.num_detected) == (2, 1, 1)


def test_a_detector_that_reads_titles_is_asked_for_each(tmp_path: Path) -> None:
    image = background("noise", (50, 50))
    catalog = catalog_of(tmp_path, {"a.png": image, "b.png": image})
    detector, store = CountingDetector(reads_title=True), RegionStore("counting")
    detect_catalog(catalog, detector, store)
    assert [wanted.title for wanted in detector.asked] == ["Mug 0", "Mug 1"]
    digest = catalog.images["a.png"].digest
    assert set(store) == {store_key(detector, digest, wanted) for wanted in detector.asked}


def test_any_number_of_workers_finds_the_same(shop: Catalog) -> None:
    detector = make_detector(RegionsConfig())
    stores = []
    for num_workers in (1, 3):
        store = RegionStore(detector.digest)
        stats = detect_catalog(shop, detector, store, num_workers)
        assert stats.num_detected == 20
        assert stats.num_workers == min(num_workers, 2), "two chunks are work for two"
        stores.append({key: store.get(key) for key in store})
    assert stores[0] == stores[1]
    assert all(stores[0].values())


def test_unusable_images_are_skipped_with_the_reason(tmp_path: Path) -> None:
    good = background("plain", (40, 40))
    cut = png_bytes(background("noise", (64, 64)))[:400]
    catalog = catalog_of(tmp_path, {"good.png": good, "cut.png": cut, "text.jpg": b"hello", "gone.png": good})
    (tmp_path / "gone.png").unlink()
    del catalog.images["gone.png"]
    store = RegionStore("counting")
    stats = detect_catalog(catalog, CountingDetector(), store)
    reasons = {row.where: row.reason for row in stats.skipped}
    assert set(reasons) == {"cut.png", "text.jpg", "gone.png"}
    assert "truncated or damaged" in reasons["cut.png"]
    assert "not a picture" in reasons["text.jpg"]
    assert "image table" in reasons["gone.png"]
    assert stats.num_detected == len(store) == 1
    assert {row.product_id for row in stats.skipped} == {"p1", "p2", "p3"}
    assert stats.to_dict()["num_skipped"] == 3


def test_a_file_that_changed_is_skipped(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, {"a.png": background("plain", (40, 40))})
    (tmp_path / "a.png").write_bytes(png_bytes(background("white", (40, 40))))
    stats = detect_catalog(catalog, CountingDetector(), RegionStore("counting"))
    assert "changed since" in stats.skipped[0].reason


def test_another_detectors_store_is_refused(shop: Catalog) -> None:
    with pytest.raises(ModelError, match="another detector's"):
        detect_catalog(shop, CountingDetector(), RegionStore("other"))
    with pytest.raises(ModelError, match="another detector's"):
        CoreRegions(CountingDetector(), make_chooser(RegionsConfig()), RegionStore("other"))


def test_the_backend_none_opens_no_file(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, {"a.png": b"never read"})
    detector = make_detector(RegionsConfig(backend="none"))
    stats = detect_catalog(catalog, detector, RegionStore(detector.digest))
    assert (stats.num_detected, stats.skipped) == (0, ())


def test_core_asks_the_store_first_and_the_detector_else(shop: Catalog) -> None:
    detector, store = CountingDetector(), RegionStore("counting")
    detect_catalog(shop, detector, store)
    regions = CoreRegions(detector, make_chooser(RegionsConfig()), store)
    photo = shop.photo("images/0.png")
    image = photo.load()
    calls = len(detector.asked)
    core = regions.core(photo, image, Wanted("Mug", ("Kitchen",)))
    assert core.score == 0.9
    assert core.box[0] == 0.0
    assert len(detector.asked) == calls
    unknown = Photo("new.png", data=png_bytes(image))
    assert regions.core(unknown, image, Wanted("Mug")) == core
    assert len(detector.asked) == calls + 1
    assert CoreRegions(detector, make_chooser(RegionsConfig())).core(photo, image, Wanted("Mug")) == core
    assert len(detector.asked) == calls + 2


def test_a_resized_picture_is_refused(shop: Catalog) -> None:
    detector, store = CountingDetector(), RegionStore("counting")
    detect_catalog(shop, detector, store)
    regions = CoreRegions(detector, make_chooser(RegionsConfig()), store)
    photo = shop.photo("images/0.png")
    with pytest.raises(ModelError, match="another size"):
        regions.core(photo, photo.load().resize((45, 40)), NOTHING_KNOWN)


def test_the_digest_of_the_regions_follows_detector_and_chooser() -> None:
    one, two = RegionsConfig(), RegionsConfig(num_candidates=3)
    three = RegionsConfig(chooser=one.chooser.model_copy(update={"padding_frac": 0.5}))
    digests = {CoreRegions(make_detector(cfg), make_chooser(cfg)).digest for cfg in (one, two, three)}
    assert len(digests) == 3


class FailingDetector(CountingDetector):
    """Raises, or takes its process down."""

    def __init__(self, deadly: bool) -> None:
        super().__init__()
        self.deadly = deadly

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        if self.deadly:
            os._exit(1)
        threads = str(torch.get_num_threads())
        raise ModelError("weights do not fit", where="w.safetensors", got=threads, fix="other weights")


def test_a_workers_error_arrives_whole_and_a_worker_takes_one_thread(shop: Catalog) -> None:
    with pytest.raises(ModelError) as caught:
        detect_catalog(shop, FailingDetector(deadly=False), RegionStore("counting"), num_workers=2)
    error = caught.value
    assert (error.problem, error.where, error.fix) == ("weights do not fit", "w.safetensors", "other weights")
    assert error.got == "1"


def test_a_dead_worker_is_told(shop: Catalog) -> None:
    with pytest.raises(ModelError, match="a detection process died"):
        detect_catalog(shop, FailingDetector(deadly=True), RegionStore("counting"), num_workers=2)
