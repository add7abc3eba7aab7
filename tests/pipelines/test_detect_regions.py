"""The step's own store: what is kept of it, what of it becomes the artifact, and what an error leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from catalog import Catalog, ModelError
from models.regions import Candidate, RegionsConfig, RegionStore, Wanted, detect
from models.regions.store import FILE_NAME
from steps import detect_regions as module
from tests.regions.pictures import background, catalog_of


class Titled:
    """Reads titles; fails at the one it was told to."""

    digest = "titled" * 8

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.fails_at = ""

    def prompt(self, wanted: Wanted) -> str:
        return wanted.title or ""

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        for one in wanted:
            if one.title == self.fails_at:
                raise ModelError("the accelerator is out of memory")
            self.asked.append(one.title)
        return [[Candidate((1.0, 1.0, 20.0, 20.0), 0.9)] for _ in images]


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Titled:
    made = Titled()
    monkeypatch.setenv("MOON_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(module, "make_detector", lambda _: made)
    monkeypatch.setattr(module, "detection_processes", lambda _: 1)
    monkeypatch.setattr(detect, "_CHUNK_IMAGES", 1)
    return made


@pytest.fixture
def shop(tmp_path: Path) -> Catalog:
    return catalog_of(tmp_path / "shop", {f"{index}.png": background("noise", (40, 40), index) for index in range(3)})


def run(shop: Catalog) -> RegionStore:
    found, page = module.detect_regions.entrypoint(shop, RegionsConfig())
    assert page.count("<figure ") == 3
    return found


def kept(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "work").rglob(FILE_NAME)
    return path


def test_an_earlier_runs_titles_are_kept_and_stay_out_of_the_artifact(
    shop: Catalog, detector: Titled, tmp_path: Path
) -> None:
    first = run(shop)
    renamed = [row.model_copy(update={"title": f"New {row.title}"}) for row in shop.products]
    second = run(replace(shop, products=tuple(renamed)))
    assert len(detector.asked) == 6
    assert len(first) == len(second) == 3
    assert not set(first) & set(second)
    assert len(RegionStore.read(kept(tmp_path).parent)) == 6
    assert set(run(shop)) == set(first)
    assert len(detector.asked) == 6, "what was found before is asked for no more"


def test_what_was_found_before_an_error_is_not_asked_for_again(shop: Catalog, detector: Titled) -> None:
    detector.fails_at = "Mug 2"
    with pytest.raises(ModelError, match="out of memory"):
        run(shop)
    detector.fails_at = ""
    assert len(run(shop)) == 3
    assert detector.asked == ["Mug 0", "Mug 1", "Mug 2"]


def test_a_store_of_its_own_that_cannot_be_read_is_found_anew(
    shop: Catalog, detector: Titled, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(shop)
    kept(tmp_path).write_bytes(b"damaged")
    assert list(run(shop)) == list(first)
    assert len(detector.asked) == 6
    assert "found anew" in caplog.text
    assert len(RegionStore.read(kept(tmp_path).parent)) == 3
