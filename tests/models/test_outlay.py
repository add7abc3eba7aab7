"""What pictures cost before the first step is told, and refused where a disk has no room, before any is decoded."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from catalog import Catalog, ModelError, StorageError
from models.pictures import PictureMaker
from models.training import costs, train
from models.training.outlay import Kept, Outlay, check_disk, in_bytes
from models.training.picture_features import FeatureStore
from models.training.prepare import assemble
from models.training.sight import Sight
from tests.models import shop

FROZEN: dict[str, Any] = {"parameters": {"freeze": ["*.visual.*"]}, "feature_variants": 3}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return shop.make_shop(tmp_path_factory.mktemp("shop"))


def _sight(catalog: Catalog, work: Path, features: Path | None = None, **changes: Any) -> Sight:
    work.mkdir(parents=True, exist_ok=True)
    splits, regions = shop.all_train(catalog), shop.regions()
    made = assemble(catalog, splits, shop.default_model(), shop.tiny_train(**changes), regions)
    return Sight(made.model, made.dataset, regions, work, features)


def _train(catalog: Catalog, root: Path, **changes: Any) -> None:
    train(
        catalog,
        shop.all_train(catalog),
        model=shop.default_model(),
        train=shop.tiny_train(steps=1, **changes),
        regions=shop.regions(),
        regions_config=shop.REGIONS,
        work_dir=root / "work",
        out_dir=root / "model",
    )


def _with_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))


def _refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a photograph is decoded nor a picture seen."""

    def refuse(self: PictureMaker, *args: object) -> np.ndarray:
        raise AssertionError("decoded")

    monkeypatch.setattr(PictureMaker, "squares", refuse)


def test_what_is_told_is_what_is_written(catalog: Catalog, tmp_path: Path) -> None:
    sight = _sight(catalog, tmp_path, **FROZEN)
    before = sight.outlay()
    pictures, features = before.kept
    sight.open()
    assert before.photographs == len(sight.wanted.shots)
    assert pictures.most == np.load(tmp_path / "pictures.npy").nbytes
    written = sum(np.load(path).nbytes for path in (tmp_path / "features").rglob("*.npy"))
    seen = sum(len(np.load(path)) for path in (tmp_path / "features").rglob("grid.npy"))
    assert features.least <= written <= features.most
    assert before.least <= 3 * seen <= before.most
    assert features.most == before.most * (written // (3 * seen))
    assert before.tower_flops > 0
    # All is there, and nothing is counted any more.
    after = _sight(catalog, tmp_path, **FROZEN).outlay()
    assert (after.photographs, after.most, after.kept, after.lines(1.0)) == (0, 0, (), [])


def test_what_others_have_seen_costs_nothing_once_it_is_known(catalog: Catalog, tmp_path: Path) -> None:
    _sight(catalog, tmp_path / "a", tmp_path / "features", **FROZEN).open()
    sight = _sight(catalog, tmp_path / "b", tmp_path / "features", **FROZEN, lr_text=1e-3)
    before = sight.outlay()
    # Another working folder: only decoding tells that these are the pictures that were seen.
    assert before.least == 0 < before.most
    sight.open()
    assert sight.outlay().most == 0


def test_a_tower_that_learns_is_told_for_the_start_of_the_residuals_alone(catalog: Catalog, tmp_path: Path) -> None:
    outlay = _sight(catalog, tmp_path, decode="drawn").outlay()
    assert outlay.least == outlay.most == 2 * len(_sight(catalog, tmp_path).wanted.shots)
    assert outlay.kept == ()
    assert "decoded when they are drawn, by this process" in outlay.lines()[0]


def test_a_full_disk_is_told_before_anything_is_decoded(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = _sight(catalog, tmp_path / "asked", **FROZEN).outlay().kept
    least, photographs = sum(one.least for one in kept), kept[0].most
    with monkeypatch.context() as patch:
        _refuse(patch)
        _with_free(patch, least - 1)
        with pytest.raises(StorageError, match="no room") as caught:
            _train(catalog, tmp_path, **FROZEN)
    assert str(tmp_path / "work") in caught.value.where
    assert f"{least:,} bytes needed" in caught.value.got
    assert f"{least - 1:,} bytes free" in caught.value.allowed
    assert "train.decode: drawn" in caught.value.fix
    # Without the map of decoded photographs there is room.
    _with_free(monkeypatch, sum(one.most for one in kept) - photographs)
    _train(catalog, tmp_path, **FROZEN, decode="drawn")


def test_features_that_do_not_fit_are_told_before_the_tower_sees_any(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It shows only when all is decoded how many of the squares are the same."""
    kept = _sight(catalog, tmp_path / "asked", **FROZEN).outlay().kept
    _with_free(monkeypatch, sum(one.least for one in kept))
    monkeypatch.setattr(FeatureStore, "fill", lambda *args, **changes: _stop())
    # Decoded photographs are written for good: what was free before is not after.
    decoded = Sight.open

    def opening(self: Sight) -> None:
        _with_free(monkeypatch, kept[1].least - 1)
        decoded(self)

    monkeypatch.setattr(Sight, "open", opening)
    with pytest.raises(StorageError, match="no room") as caught:
        _train(catalog, tmp_path, **FROZEN)
    assert "features" in caught.value.got
    assert "decoded" not in caught.value.got
    assert "the disk may not have the room" in caplog.text


def test_lines_come_before_what_they_tell_of(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Sight, "open", lambda self: told.append(caplog.text) or _stop())
    with caplog.at_level(logging.INFO, logger="models"), pytest.raises(InterruptedError):
        _train(catalog, tmp_path, **FROZEN)
    for line in ("a step computes", "memory ", "photographs are decoded", "the vision tower sees", "disk: decoded"):
        assert line in told[0], line
    assert "(each in 3 variants)" in told[0]


def _stop() -> None:
    raise InterruptedError


def test_memory_is_checked_before_anything_is_decoded(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch)
    monkeypatch.setattr(costs, "check_experts", lambda *args: None)
    monkeypatch.setattr(costs, "free_bytes", lambda device: 10)
    with pytest.raises(ModelError, match="does not fit into memory"):
        _train(catalog, tmp_path)
    assert not (tmp_path / "work" / "pictures.npy").exists()


def _outlay(*kept: Kept, least: int = 0, most: int = 0) -> Outlay:
    return Outlay(0, None, least, most, 4, 10**9, kept)


def test_folders_of_one_disk_are_taken_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Kept("squares", tmp_path / "a" / "b", 60, 60), Kept("features", tmp_path, 30, 50)
    _with_free(monkeypatch, 90)
    check_disk(_outlay(one, two))
    _with_free(monkeypatch, 89)
    with pytest.raises(StorageError) as caught:
        check_disk(_outlay(one, two))
    assert caught.value.where == f"{tmp_path / 'a' / 'b'}, {tmp_path}"
    # What is replaced makes room.
    check_disk(_outlay(Kept("squares", tmp_path, 60, 60, given_back=1), two))


def test_the_pass_of_the_tower_is_told_with_its_time() -> None:
    assert _outlay(least=400, most=400).lines(1e9) == [
        "before the first step the vision tower sees 400 pictures (each in 4 variants): 400 GFLOP, at least 7 min"
    ]
    assert "sees 4 to 400 pictures" in _outlay(least=4, most=400).lines()[0]
    assert "at most 400 GFLOP" in _outlay(most=400).lines()[0]
    assert "time" not in _outlay(most=400).lines()[0]


@pytest.mark.parametrize(("number", "text"), [(2**19, "0.5 MiB"), (3 * 2**30, "3.0 GiB"), (2**41, "2.0 TiB")])
def test_bytes_have_a_unit(number: int, text: str) -> None:
    assert in_bytes(number) == text
