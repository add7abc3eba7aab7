"""A clean demo shop, drawn once for the session, and the same shop with faults put in."""

from __future__ import annotations

import pytest

from catalog import Catalog, CatalogConfig, DemoConfig
from catalog.sources import load_catalog
from tests.curating.planted import SPLIT, Planter, plant
from validation.curating import Curated, CuratingConfig, curate

ONE_PURCHASE = CuratingConfig(min_support=1.0)


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("demo")
    config = CatalogConfig(demo=DemoConfig(num_products=120, image_size_px=128, queries_per_product=1.0))
    return load_catalog(config, work_dir=str(folder))


@pytest.fixture(scope="session")
def planter(clean: Catalog) -> Planter:
    return plant(clean)


@pytest.fixture(scope="session")
def curated_clean(clean: Catalog) -> Curated:
    return curate(clean, SPLIT, ONE_PURCHASE)


@pytest.fixture(scope="session")
def curated(planter: Planter) -> Curated:
    return curate(planter.catalog(), SPLIT, ONE_PURCHASE)
