"""One service in process for the whole room: the real BentoML app over ASGI, with the fake encoder inside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

from starlette.testclient import TestClient

from catalog import Catalog
from serving.bundle import Bundle
from serving.config import ServingConfig
from serving.engine import Engine
from serving.index import ProductIndex, build_index
from tests.serving.fakes import FakeEncoder, photo_catalog

LIMITS = ServingConfig(
    max_items_per_request=4,
    max_images_per_item=2,
    max_image_bytes=20_000,
    max_image_pixels=10_000,
    max_request_pixels=40_000,
    max_body_bytes=200_000,
    max_text_chars=100,
    max_attributes=5,
    default_k=3,
    max_top_k=50,
)
REGIONS: dict[str, str | None] = {"backend": "saliency", "digest": "d" * 64, "chooser_digest": "c" * 64}


@pytest.fixture(scope="session")
def mugs(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return photo_catalog(str(tmp_path_factory.mktemp("mugs")))


@pytest.fixture(scope="session")
def bundle(mugs: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    made = Bundle(Path(folder), "v7", LIMITS, {"run_id": "r1", "where": "/home/someone"})
    made.write_manifest()
    build_index(FakeEncoder(), mugs, made.index_folder, batch_size=2, thumbnail_px=24)
    return made


@pytest.fixture(scope="session")
def client(bundle: Bundle) -> Iterator[TestClient]:
    import bentoml

    from serving.service import MoonService, equip, service_options

    def load(given: Bundle) -> Engine:
        encoder = FakeEncoder()
        return Engine(encoder, ProductIndex.open(given.index_folder, model_digest=encoder.digest), given, REGIONS)

    inner = type("Moon", (MoonService,), {"bundle": bundle.folder, "load_engine": staticmethod(load)})
    service = equip(bentoml.service(**service_options(LIMITS))(inner), LIMITS)
    with TestClient(service.to_asgi(), raise_server_exceptions=False) as started:
        yield started
