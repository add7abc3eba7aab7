"""Photographs decoded once before the first step, or whenever they are drawn: the same batches, the same training."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from catalog import Catalog, ImageError
from models.config import ModelConfig, TrainConfig
from models.pictures import PictureMaker
from models.regions import CoreRegions, RegionStore, detect_catalog, make_chooser, make_detector
from models.training import TrainingRecord, train
from models.training.job import FOLDER, JobFolder, Task, read_job, write_job
from models.training.loader import BatchLoader
from models.training.module import MoonModule
from models.training.prepare import Prepared, prepare
from models.training.train_batch import TrainBatch
from tests.models import shop

FROZEN: dict[str, Any] = {"parameters": {"freeze": ["*.visual.*"]}, "feature_variants": 3}
SETTINGS: dict[str, Any] = {"steps": 5, "photos_per_product": 2, "checkpoint_every_steps": 2}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return shop.make_shop(tmp_path_factory.mktemp("shop"))


def _prepared(catalog: Catalog, folder: Path, train: TrainConfig, model: ModelConfig | None = None) -> Prepared:
    folder.mkdir(parents=True, exist_ok=True)
    return prepare(catalog, shop.all_train(catalog), model or shop.default_model(), train, shop.regions(), folder)


def _train(catalog: Catalog, root: Path, **changes: Any) -> TrainingRecord:
    return train(
        catalog,
        shop.all_train(catalog),
        model=shop.default_model(),
        train=shop.tiny_train(**SETTINGS | changes),
        regions=shop.regions(),
        regions_config=shop.REGIONS,
        work_dir=root / "work",
        out_dir=root / "model",
    )


def _curve(record: TrainingRecord) -> list[dict[str, float]]:
    return [{name: one for name, one in row.items() if "per_s" not in name} for row in record.history]


def _equal(one: Any, other: Any) -> bool:
    """To the last bit, through dataclasses, mappings and tuples."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if hasattr(one, "__dataclass_fields__"):
        return all(_equal(getattr(one, name.name), getattr(other, name.name)) for name in fields(one))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("crops", ["both", "products", "queries", "none"])
def test_batches_are_those_of_the_map(catalog: Catalog, tmp_path: Path, num_workers: int, crops: str) -> None:
    model = shop.default_model(crops=crops)
    asked = SETTINGS | {"num_workers": num_workers, "accumulate_batches": 2}
    made = {
        decode: _prepared(catalog, tmp_path / decode, shop.tiny_train(**asked, decode=decode), model)
        for decode in ("once", "drawn")
    }
    assert (tmp_path / "once" / "pictures.npy").exists()
    assert not list((tmp_path / "drawn").iterdir())
    once, drawn = ([*BatchLoader(one.dataset, 2)] for one in made.values())
    assert [one.step for one in drawn] == [2, 2, 3, 3, 4, 4]
    # Augmented: no two squares are alike, and yet the two are the same.
    assert len(once[0].pixels_NCHW.unique(dim=0)) > 0.9 * len(once[0].pixels_NCHW)
    assert all(map(_equal, once, drawn))
    # Residuals started from the same pictures.
    states = [one.objective.state_dict() for one in made.values()]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_curve_is_that_of_the_map(catalog: Catalog, tmp_path: Path, num_workers: int) -> None:
    once = _train(catalog, tmp_path / "once")
    drawn = _train(catalog, tmp_path / "drawn", decode="drawn", num_workers=num_workers)
    assert _curve(drawn) == _curve(once)
    assert drawn.digest == once.digest
    assert not (tmp_path / "drawn" / "work" / "pictures.npy").exists()


class _Cut(BaseException):
    """Ends a training between two checkpoints, as a kill does."""


def test_a_training_goes_on_with_the_other_way(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How photographs are decoded decides no weight, so it may be changed while a training is stopped."""
    start = MoonModule.on_train_batch_start

    def cut_at_3(self: MoonModule, batch: TrainBatch, batch_idx: int) -> None:
        if self.step == 3:
            raise _Cut
        start(self, batch, batch_idx)

    whole = _train(catalog, tmp_path / "whole")
    for first, then in (("drawn", "drawn"), ("once", "drawn"), ("drawn", "once")):
        root = tmp_path / f"{first}-{then}"
        with monkeypatch.context() as patch:
            patch.setattr(MoonModule, "on_train_batch_start", cut_at_3)
            with pytest.raises(_Cut):
                _train(catalog, root, decode=first, num_workers=1)
        rest = _train(catalog, root, decode=then)
        assert rest.resumed_from_step == 2
        assert _curve(rest) == _curve(whole)
        assert rest.digest == whole.digest


def test_kept_features_are_the_same_and_are_decoded_for_once(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = _train(catalog, tmp_path / "once", **FROZEN)
    drawn = _train(catalog, tmp_path / "drawn", **FROZEN, decode="drawn")
    assert _curve(drawn) == _curve(once)
    assert not (tmp_path / "drawn" / "work" / "pictures.npy").exists()

    def refuse(self: PictureMaker, *args: object) -> np.ndarray:
        raise AssertionError("decoded again")

    monkeypatch.setattr(PictureMaker, "squares", refuse)
    (tmp_path / "drawn" / "work" / "checkpoint.pt").unlink()
    assert _curve(_train(catalog, tmp_path / "drawn", **FROZEN, decode="drawn")) == _curve(once)


@pytest.mark.parametrize("text", ["", "null", '{"digest": "of others"}', '{"contents": 3}'])
def test_damaged_contents_are_looked_at_again(catalog: Catalog, tmp_path: Path, text: str) -> None:
    config = shop.tiny_train(**FROZEN, decode="drawn")
    whole = _prepared(catalog, tmp_path, config).dataset
    told = (tmp_path / "contents.json").read_text()
    (tmp_path / "contents.json").write_text(text)
    assert _equal(_prepared(catalog, tmp_path, config).dataset[1].seen, whole[1].seen)
    assert (tmp_path / "contents.json").read_text() == told


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_photograph_that_vanished_is_told_as_such(tmp_path: Path, num_workers: int) -> None:
    catalog = shop.make_shop(tmp_path / "data")
    config = shop.tiny_train(decode="drawn", num_workers=num_workers)
    dataset = _prepared(catalog, tmp_path / "work", config, shop.tiny_model()).dataset
    for path in (tmp_path / "data" / "images").iterdir():
        path.unlink()
    with pytest.raises(ImageError) as caught:
        next(iter(BatchLoader(dataset, 0)))
    assert "Traceback" not in str(caught.value)
    assert "images/" in caught.value.where


def test_processes_are_handed_the_regions_that_were_found(catalog: Catalog, tmp_path: Path) -> None:
    detector, chooser = make_detector(shop.REGIONS), make_chooser(shop.REGIONS)
    store = RegionStore(detector.digest)
    detect_catalog(catalog, detector, store)
    task = Task(
        catalog,
        shop.all_train(catalog),
        shop.tiny_model(),
        shop.tiny_train(),
        CoreRegions(detector, chooser, store),
        shop.REGIONS,
        tmp_path,
        tmp_path / "model",
    )
    write_job(task, scored=False)
    found = read_job(JobFolder(tmp_path / FOLDER))[0].regions.store
    assert found is not None
    assert set(found) == set(store)
    assert all(found.get(key) == store.get(key) for key in store)
