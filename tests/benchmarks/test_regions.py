from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from scipy import stats
from typer.testing import CliRunner

from benchmarks.regions.__main__ import _keep, app, as_table, summarise
from benchmarks.regions.finders import detector_files, read_finder, read_finders
from benchmarks.regions.labels import Label, Labels, read_labels
from benchmarks.regions.overlap import NUM_BOOTSTRAP, median_difference, overlaps
from benchmarks.regions.overlays import Overlay, write_sheets
from benchmarks.regions.pictures import asked_photos, read_data
from catalog import CatalogError, ConfigError, Photo, StorageError
from models.regions import NOTHING_KNOWN
from tests.regions.pictures import background, png_bytes, with_rectangle

_BOX = (20, 30, 60, 80)


def test_overlaps_are_those_of_masks() -> None:
    rng = np.random.default_rng(0)
    boxes = []
    for _ in range(200):
        x0, y0 = rng.integers(0, 30, 2)
        boxes.append((x0, y0, x0 + rng.integers(1, 20), y0 + rng.integers(1, 20)))
    found, true = boxes[:100], boxes[100:]
    for iou, one, other in zip(overlaps(found, true), found, true, strict=True):
        masks = np.zeros((2, 50, 50), dtype=bool)
        for mask, (x0, y0, x1, y1) in zip(masks, (one, other), strict=True):
            mask[y0:y1, x0:x1] = True
        assert iou == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


def test_the_interval_of_a_difference_of_medians_is_scipys() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.beta(8, 2, 60), rng.beta(6, 3, 60)
    found = median_difference(ours, theirs, [str(number) for number in range(60)], seed=0)
    other = stats.bootstrap(
        (ours, theirs),
        lambda a, b, axis: np.median(a, axis=axis) - np.median(b, axis=axis),
        paired=True,
        n_resamples=NUM_BOOTSTRAP,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.value == pytest.approx(np.median(ours) - np.median(theirs))
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.015)


def test_photographs_of_one_article_are_one_piece_of_evidence() -> None:
    rng = np.random.default_rng(5)
    ours, theirs = rng.random(12), rng.random(12)
    apart = median_difference(ours, theirs, [str(number) for number in range(12)], seed=0)
    copied = median_difference(
        np.repeat(ours, 4), np.repeat(theirs, 4), [str(number // 4) for number in range(48)], seed=0
    )
    assert (copied.low, copied.high) == pytest.approx((apart.low, apart.high), abs=0.03)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8))
def test_a_difference_turned_round_is_its_negative(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = (np.array(values) for values in zip(*pairs, strict=True))
    groups = [str(number) for number in range(len(pairs))]
    there, back = (median_difference(*pair, groups, 0, 200) for pair in ((ours, theirs), (theirs, ours)))
    assert there.value == pytest.approx(-back.value)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-12)


def test_finders_are_read_from_words(tmp_path: Path) -> None:
    assert read_finder("whole").config.backend == "none"
    assert read_finder("saliency").config.backend == "saliency"
    with pytest.raises(ConfigError, match="no such stage"):
        read_finder("saliency+magic")
    with pytest.raises(ConfigError, match="no such finder") as caught:
        read_finder("salience")
    assert "saliency" in str(caught.value.allowed)
    with pytest.raises(ConfigError, match="same name"):
        read_finders(["whole", "saliency", "whole"])
    with pytest.raises(ConfigError, match="not an exported detector"):
        read_finder(f"mine={tmp_path}")
    (tmp_path / "w.safetensors").write_bytes(b"")
    (tmp_path / "m.yaml").write_text("")
    assert detector_files(tmp_path) == (tmp_path / "w.safetensors", tmp_path / "m.yaml")


def test_a_finder_finds_what_the_configuration_would() -> None:
    image = with_rectangle(background("plain", (100, 120)), _BOX)
    whole, found = (read_finder(name).find([image], [NOTHING_KNOWN])[0] for name in ("whole", "saliency"))
    assert whole.box == (0, 0, 100, 120)
    assert overlaps([found.box], [_BOX])[0] > 0.8


@pytest.mark.parametrize("text", ["", "[]", '{"labels": []}', '{"about": "", "nonsense": 1}'])
def test_files_that_are_no_labels_are_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(CatalogError, match="labels") as caught:
        read_labels(path)
    assert str(path) in caught.value.where
    with pytest.raises(CatalogError, match="cannot be read"):
        read_labels(tmp_path / "absent.json")


def test_sheets_show_both_boxes(tmp_path: Path) -> None:
    image = Image.new("RGB", (95, 186), "white")
    overlays = [Overlay(image, (10, 10, 50, 100), "0.5 a", (20, 20, 60, 120))] * 61
    paths = write_sheets(overlays, tmp_path, "found")
    assert [path.name for path in paths] == ["found_00.png", "found_01.png"]
    pixels = np.asarray(Image.open(paths[1]))[:186, :95]
    for colour, box in (((214, 39, 40), (10, 10, 50, 100)), ((31, 160, 60), (20, 20, 60, 120))):
        rows, columns = np.nonzero((pixels == colour).all(axis=2))
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == box


def test_the_command_compares_and_keeps_the_figures(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(4):
        picture = with_rectangle(background("plain", (100, 120)), _BOX, (40 * number, 30, 90))
        (folder / "images" / f"{number}.png").write_bytes(png_bytes(picture))
        rows.append({"query_id": str(number), "type": "photo_label", "image": f"images/{number}.png", "label": "mug"})
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = [Label(image=f"images/{number}.png", box=_BOX, kind="ab"[number % 2], agreement=0.9) for number in range(4)]
    told = Labels(about="a", source="b", drawn="c", how="d", labels=tuple(made))
    (tmp_path / "labels.json").write_text(told.model_dump_json())
    results, options = tmp_path / "results.json", ["--finder", "whole", "--finder", "saliency"]
    asked = ["photos", str(folder), "--labels", str(tmp_path / "labels.json"), "--results", str(results)]
    done = CliRunner().invoke(app, [*asked, *options, "--sheets", str(tmp_path / "sheets")])
    assert done.exit_code == 0, done.output
    summary = json.loads(results.read_text())["labels"]["summary"]
    assert summary["median"]["whole"] == pytest.approx(40 * 50 / (100 * 120))
    assert summary["median"]["saliency"] > 0.8
    assert summary["differences"]["saliency"]["whole"][1] > 0
    assert summary["kinds"]["whole"]["a"][1] == 2
    assert len(list((tmp_path / "sheets").iterdir())) == 2
    done = CliRunner().invoke(app, ["cost", str(folder), *options, "--rounds", "1", "--results", str(results)])
    assert done.exit_code == 0, done.output
    cost = json.loads(results.read_text())["cost_data"]["cost"]
    assert (cost["saliency"]["first_run_calls"], cost["saliency"]["second_run_calls"]) == (4, 0)


def test_labels_that_one_person_drew_have_no_agreement_to_tell() -> None:
    label = Label(image="a", box=_BOX, agreement=None)
    told = Labels(about="", source="", drawn="", how="", labels=(label,))
    summary = summarise({"one": np.array([0.5])}, ["g"], told, 0)
    assert summary["labellers"] is None
    assert "labellers" not in str(as_table(summary).caption)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 4, 9), (-1, 0, 4, 9), (0, 0, float("nan"), 9)])
def test_a_label_without_area_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="x0 < x1"):
        Label(image="a", box=box, agreement=None)  # type: ignore[arg-type]


def test_figures_are_added_to_those_kept_and_a_file_that_is_none_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "regions.json"
    _keep(path, "one", {"n": 1})
    _keep(path, "two", {"n": 2})
    assert json.loads(path.read_text()) == {"one": {"n": 1}, "two": {"n": 2}}
    path.write_text("{half")
    with pytest.raises(StorageError, match="cannot be kept"):
        _keep(path, "three", {"n": 3})
    assert path.read_text() == "{half"
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_only_the_photographs_asked_for_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    for number in range(5):
        Image.new("RGB", (30, 30)).save(tmp_path / f"{number}.png")
        rows.append({"query_id": str(number), "type": "photo_label", "image": f"{number}.png", "label": "mug"})
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    loaded = []
    load = Photo.load
    monkeypatch.setattr(Photo, "load", lambda photo, *rest: loaded.append(photo.ref) or load(photo, *rest))
    catalog = read_data(tmp_path)
    loaded.clear()
    assert [one.ref for one in asked_photos(catalog, None, 2)] == ["0.png", "1.png"]
    assert loaded == ["0.png", "1.png"]


def test_the_summary_keeps_kinds_with_their_photographs() -> None:
    labels = [Label(image=name, box=_BOX, kind=kind, agreement=1) for name, kind in (("b", "top"), ("a", "bra"))]
    told = Labels(about="", source="", drawn="", how="", labels=tuple(labels))
    summary = summarise({"one": np.array([0.25, 0.75])}, ["g", "h"], told, 0)
    assert summary["kinds"]["one"] == {"bra": (0.25, 1), "top": (0.75, 1)}
