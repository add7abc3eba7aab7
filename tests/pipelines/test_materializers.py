"""Artifacts come back as they went in, and their hash depends on content alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from catalog import CatalogConfig, DemoConfig, ImageError, StorageError
from catalog.catalog import EMBEDDED_ROOT
from catalog.sources import load_catalog
from models.regions import Candidate, RegionStore
from steps.materializers import (
    CatalogMaterializer,
    DigestedFolderMaterializer,
    RecordMaterializer,
    RegionStoreMaterializer,
)
from steps.records import AliasMove, ModelFolder, Registration
from tests.pipelines.conftest import Workplace, make_shop

pytestmark = pytest.mark.usefixtures("workplace")


def folder_catalog(folder: Path):  # type: ignore[no-untyped-def]
    make_shop(folder, num_products=4)
    return load_catalog(CatalogConfig(source="folder", path=str(folder)), work_dir=str(folder))


def test_a_folder_catalogue_keeps_its_images_where_they_are(tmp_path: Path) -> None:
    catalog = folder_catalog(tmp_path / "shop")
    store = CatalogMaterializer(str(tmp_path / "artifact"))
    store.save(catalog)
    assert store.load(type(catalog)) == catalog
    assert not (tmp_path / "artifact" / "images").exists()
    assert store.compute_content_hash(catalog) == store.compute_content_hash(replace(catalog, notes=("x",)))


def test_a_rendered_catalogue_takes_its_images_along(tmp_path: Path) -> None:
    work = tmp_path / "work"
    demo = DemoConfig(num_products=24, image_size_px=64, num_workers=1)
    catalog = load_catalog(CatalogConfig(demo=demo), work_dir=str(work))
    store = CatalogMaterializer(str(tmp_path / "artifact"))
    store.save(catalog)
    loaded = store.load(type(catalog))
    assert loaded.image_root == EMBEDDED_ROOT
    assert loaded.root == str(tmp_path / "artifact")
    for image in (work / "images").iterdir():
        image.unlink()
    assert all(photo.read_bytes() for item in loaded.items() for photo in item.photos)
    assert str(work) not in (tmp_path / "artifact" / "manifest.json").read_text(encoding="utf-8")


def test_an_image_that_changed_since_ingestion_is_not_copied(tmp_path: Path) -> None:
    catalog = replace(folder_catalog(tmp_path / "shop"), image_root=EMBEDDED_ROOT)
    Image.new("RGB", (9, 9)).save(tmp_path / "shop" / "images" / "p0-0.png")
    with pytest.raises(ImageError, match="changed since"):
        CatalogMaterializer(str(tmp_path / "artifact")).save(catalog)
    with pytest.raises(StorageError, match="cut off"):
        CatalogMaterializer(str(tmp_path / "artifact")).load(type(catalog))


def test_a_model_folder_comes_back_with_its_digest(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    model = ModelFolder(str(tmp_path / "model"), "abc")
    store = DigestedFolderMaterializer(str(tmp_path / "artifact"))
    store.save(model)
    loaded = store.load(ModelFolder)
    assert loaded.digest == store.compute_content_hash(loaded) == "abc"
    assert [path.name for path in Path(loaded.path).iterdir()] == ["config.json"]


def test_regions_hash_by_content_not_by_order(tmp_path: Path) -> None:
    def regions(keys: str) -> RegionStore:
        store = RegionStore("detector")
        for key in keys:
            store.add(key, (10, 10), [Candidate((0, 0, ord(key) / 20, 5), 0.5)])
        return store

    store = RegionStoreMaterializer(str(tmp_path / "artifact"))
    store.save(regions("abc"))
    assert store.load(RegionStore).get("b") == regions("b").get("b")
    assert store.compute_content_hash(regions("abc")) == store.compute_content_hash(regions("cba"))
    assert store.compute_content_hash(regions("abc")) != store.compute_content_hash(regions("ab"))


def test_records_come_back_and_say_when_they_are_too_old(workplace: Workplace) -> None:
    record = Registration(refused=False, name="moon", version="3", model_digest="abc", is_new=True)
    folder = workplace.root / ".moon" / "artifacts" / "record"
    folder.mkdir()
    store = RecordMaterializer(str(folder))
    store.save(record)
    assert store.load(Registration) == record
    move = AliasMove("champion", "3", None, moved=True)
    assert store.compute_content_hash(record) != store.compute_content_hash(move)
    path = folder / "record.json"
    path.write_text(json.dumps({"schema_version": 0, "record": {}}), encoding="utf-8")
    with pytest.raises(StorageError, match="another schema version"):
        store.load(Registration)


def test_the_workplace_is_not_the_users(workplace: Workplace) -> None:
    from zenml.config.global_config import GlobalConfiguration

    assert str(workplace.root) in GlobalConfiguration().config_directory
    assert GlobalConfiguration().analytics_opt_in is False
