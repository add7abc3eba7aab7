"""Results that are gone are not served: marks of the store, and what is said where only a part was deleted."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from zenml import pipeline
from zenml.client import Client
from zenml.enums import ExecutionMode

import steps.store
from catalog import CatalogConfig, StorageError
from models.regions import RegionsConfig
from moon.recipes import RecipeSchema
from pipelines import train_moon
from steps.code import cache_key
from steps.detect_regions import detect_regions
from steps.ingest_catalog import ingest_catalog
from steps.store import MARK_FILE, check_store, store_mark
from steps.validate_catalog import validate_catalog
from tests.pipelines.conftest import Workplace, make_shop
from validation.config import DataChecksConfig

STEPS = ("validate_catalog", "train_model")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "artifacts"
    stored_in(str(folder), monkeypatch)
    return folder


def stored_in(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = SimpleNamespace(active_stack=SimpleNamespace(artifact_store=SimpleNamespace(path=place)))
    monkeypatch.setattr(steps.store, "Client", lambda: client)


def marks() -> dict[str, str]:
    return {step: store_mark(step) for step in STEPS}


def empty_as_a_shell_does(folder: Path) -> None:
    """`rm -r FOLDER/*`, which leaves what begins with a dot."""
    for path in folder.glob("[!.]*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_mark_stays_and_is_the_steps_own(store: Path) -> None:
    first = marks()
    assert marks() == first
    assert len(set(first.values())) == 2
    assert [path.name for path in (store / "train_model").iterdir()] == [MARK_FILE]
    assert cache_key("steps.train_model").split()[1] == first["train_model"]


@pytest.mark.parametrize("deleted", ["", "*", "train_model", "train_model/*"])
def test_what_was_emptied_is_marked_anew(store: Path, deleted: str) -> None:
    before = marks()
    folder, every, _ = (store / deleted).as_posix().partition("*")
    if every:
        empty_as_a_shell_does(Path(folder))
    else:
        shutil.rmtree(folder)
    stale = {step for step, mark in marks().items() if mark != before[step]}
    assert stale == ({"train_model"} if "train_model" in deleted else set(STEPS))


def test_a_mark_that_was_cut_off_is_none(store: Path) -> None:
    before = store_mark("train_model")
    (store / "train_model" / MARK_FILE).write_text("", encoding="utf-8")
    after = store_mark("train_model")
    assert after
    assert after != before


def test_a_remote_store_has_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    stored_in("s3://bucket/artifacts", monkeypatch)
    assert set(marks().values()) == {""}
    check_store(STEPS)


def test_a_store_that_cannot_be_written_is_refused_before_a_run(
    workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    stored_in(str(tmp_path / "file"), monkeypatch)
    monkeypatch.setattr(type(train_moon), "recipe_schema", lambda _: RecipeSchema((), (), {}, {"train_model": ()}))
    with pytest.raises(StorageError, match="the folder of artifacts cannot be written"):
        train_moon()


@pytest.mark.pipeline
def test_a_result_of_which_a_part_was_deleted_is_named_with_the_way_out(workplace: Workplace, tmp_path: Path) -> None:
    # A shop of its own: what is remembered of it is served to no other test.
    make_shop(tmp_path / "shop", num_products=31)
    section = CatalogConfig(source="folder", path=str(tmp_path / "shop"))

    # Fail fast as ours do, or the error of the step is lost.
    @pipeline(enable_cache=True, execution_mode=ExecutionMode.FAIL_FAST)
    def store_and_look() -> None:
        catalog = ingest_catalog(section, "stop")
        validated, _ = validate_catalog(catalog, section, DataChecksConfig())
        detect_regions(validated, RegionsConfig(num_candidates=1 + next(runs)))

    runs = iter(range(9))
    folder = Path(Client().active_stack.artifact_store.path) / "validate_catalog"

    def run() -> bool:
        done = store_and_look()
        assert done is not None
        return done.steps["validate_catalog"].status.value == "cached"

    run()
    assert run()
    for manifest in folder.rglob("manifest.json"):
        manifest.unlink()
    with pytest.raises(StorageError, match="cannot be read any more") as caught:
        run()
    assert f"delete {folder} and run again" in caught.value.fix
    shutil.rmtree(folder)
    assert not run()
