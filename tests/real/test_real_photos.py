"""Real photographs: twelve that are always here, and whole catalogues where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from catalog import Catalog, CatalogConfig, SplitConfig, split_catalog
from catalog.catalog import IMAGE_OK
from catalog.likeness import fingerprint, near_identical_pairs
from catalog.sources import load_catalog
from models.regions import NOTHING_KNOWN, CoreRegions, RegionsConfig, make_chooser, make_detector
from validation.config import DataChecksConfig
from validation.data import check_catalog

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("MOON_DATA") or HERE.parents[1] / "data")


def _load(folder: Path, work: Path) -> Catalog:
    return load_catalog(CatalogConfig(source="folder", path=str(folder)), work_dir=str(work))


def _at_hand(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"{name} is not at hand: set MOON_DATA to a folder that holds it")
    return DATA / name


def test_a_folder_of_labelled_photographs_is_an_evaluation_set(tmp_path: Path) -> None:
    catalog = _load(HERE, tmp_path)
    assert len(catalog.products) == 0
    assert len(catalog.queries) == len(catalog.images) == 12
    assert len({query.label for query in catalog.queries}) == 10
    assert {record.status for record in catalog.images.values()} == {IMAGE_OK}


def test_core_regions_of_real_photographs_lie_inside_and_say_why(tmp_path: Path) -> None:
    catalog = _load(HERE, tmp_path)
    config = RegionsConfig()
    regions = CoreRegions(make_detector(config), make_chooser(config))
    for ref in catalog.images:
        photo = catalog.photo(ref)
        image = photo.load()
        core = regions.core(photo, image, NOTHING_KNOWN)
        x0, y0, x1, y1 = core.box
        assert 0 <= x0 < x1 <= image.width
        assert 0 <= y0 < y1 <= image.height
        assert core.reason


def test_different_real_photographs_are_not_taken_for_one(tmp_path: Path) -> None:
    catalog = _load(HERE, tmp_path)
    prints = [fingerprint(catalog.photo(ref).load()) for ref in catalog.images]
    assert list(near_identical_pairs(prints)) == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "num_products", "num_groups", "num_images", "num_queries"),
    [("luma", 461, 189, 716, 709), ("retail_demo_store", 100, 100, 100, 84), ("clothing_photos", 0, 0, 600, 600)],
)
def test_a_real_catalogue_is_read_whole(
    name: str, num_products: int, num_groups: int, num_images: int, num_queries: int, tmp_path: Path
) -> None:
    catalog = _load(_at_hand(name), tmp_path)
    assert len(catalog.products) == num_products
    assert len({product.group_id for product in catalog.products}) == num_groups
    assert len(catalog.images) == num_images
    assert len(catalog.queries) == num_queries
    assert {record.status for record in catalog.images.values()} == {IMAGE_OK}


@pytest.mark.real
def test_a_photograph_on_both_sides_of_the_split_is_found(tmp_path: Path) -> None:
    catalog = _load(_at_hand("luma"), tmp_path)
    splits = split_catalog(catalog, SplitConfig())
    stopped = check_catalog(catalog, splits, DataChecksConfig())
    assert not stopped.passed
    passed = check_catalog(catalog, splits, DataChecksConfig(on_error="quarantine"))
    assert passed.passed
    assert len(passed.catalog.products) == len(catalog.products)
    assert [row.where for row in passed.quarantined] == ["images/wb04-blue-0.jpg"]
