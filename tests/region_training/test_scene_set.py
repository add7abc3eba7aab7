from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from PIL import Image

from catalog import Catalog, ImageLimits, ModelError, Side, SplitConfig, StorageError, split_catalog
from models.region_training import SceneSet, SceneSetConfig, compose, write_scene_set
from models.region_training.scene_set import read_truth, scene_lines
from models.scenes import Backgrounds, CutoutSet, Scene, SceneBox, SceneConfig
from tests.region_training.sets import cutouts, parts, scene_set
from tests.regions.pictures import background, catalog_of, with_rectangle


def test_boxes_on_disk_are_those_of_the_composer(tmp_path: Path) -> None:
    written = scene_set(tmp_path / "set")
    for part in parts():
        for number, truth in enumerate(written.truths(part.name)):
            scene = part.composer().scene(number)
            assert truth.size_px == scene.image.size
            core = [one.box for one in scene.boxes if one.role == "product"]
            others = [one.box for one in scene.boxes if one.role == "distractor"]
            for true, wanted in ((truth.core, core), (truth.distractors, others)):
                assert len(true) == len(wanted)
                for box, exact in zip(true, wanted, strict=True):
                    assert box == pytest.approx(exact, abs=1e-3)


def test_lines_are_yolo_format_by_hand() -> None:
    image = Image.new("RGB", (200, 100))
    boxes = (
        SceneBox((20.0, 10.0, 60.0, 30.0), "product", "a"),
        SceneBox((100.0, 0.0, 200.0, 100.0), "distractor", "b"),
    )
    assert scene_lines(Scene(image, boxes)) == [
        "0 0.200000 0.200000 0.200000 0.200000",
        "1 0.750000 0.500000 0.500000 1.000000",
    ]


def test_the_yaml_names_parts_and_classes(tmp_path: Path) -> None:
    scene_set(tmp_path / "set")
    data = yaml.safe_load((tmp_path / "set" / "data.yaml").read_text())
    assert data["names"] == {0: "product", 1: "distractor"}
    assert (tmp_path / "set" / data["path"] / data["train"]).is_dir()


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_interrupted_set_is_filled_up_and_the_same(tmp_path: Path) -> None:
    scene_set(tmp_path / "whole")
    scene_set(tmp_path / "torn")
    kept = tmp_path / "torn" / "images" / "train" / "000001.jpg"
    before = kept.stat().st_mtime_ns
    # A kill between a picture and its boxes, and one before both.
    (tmp_path / "torn" / "labels" / "train" / "000003.txt").unlink()
    (tmp_path / "torn" / "labels" / "train" / "000005.txt").unlink()
    (tmp_path / "torn" / "images" / "train" / "000005.jpg").unlink()
    (tmp_path / "torn" / "manifest.json").unlink()
    scene_set(tmp_path / "torn")
    assert _bytes(tmp_path / "torn") == _bytes(tmp_path / "whole")
    assert kept.stat().st_mtime_ns == before


def test_worker_processes_compose_the_same_scenes(tmp_path: Path) -> None:
    scene_set(tmp_path / "one", num_train=40)
    write_scene_set(tmp_path / "two", parts(40), num_workers=2)
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


def test_a_growing_set_keeps_its_scenes_and_a_shrinking_one_drops_the_rest(tmp_path: Path) -> None:
    small = scene_set(tmp_path / "set", num_train=4)
    large = scene_set(tmp_path / "set", num_train=6)
    assert len(large.truths("train")) == 6
    assert small.digest != large.digest
    again = scene_set(tmp_path / "set", num_train=4)
    assert again.digest == small.digest
    assert len(list((tmp_path / "set" / "images" / "train").iterdir())) == 4


@pytest.mark.parametrize("change", ["cutouts", "config", "version"])
def test_whatever_decides_a_scene_composes_anew(tmp_path: Path, change: str) -> None:
    first = scene_set(tmp_path / "set")
    new = parts()
    if change == "cutouts":
        new[0] = replace(new[0], cutouts=cutouts("other"))
    if change == "config":
        new[0] = replace(new[0], config=SceneConfig(side_px=64))
    second = write_scene_set(tmp_path / "set", new, version="2" if change == "version" else "")
    assert first.digest != second.digest
    assert len(second.truths("train")) == 8


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_scene_set(tmp_path / "set", parts(), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (18, 18)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_damaged_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no set of scenes"):
        SceneSet(tmp_path)
    written = scene_set(tmp_path / "set")
    label = tmp_path / "set" / "labels" / "train" / "000000.txt"
    for text in ("0 0.5 0.5 0.1\n", "7 0.5 0.5 0.1 0.1\n", "0 a b c d\n"):
        label.write_text(text)
        with pytest.raises(ModelError, match=r"damaged|cannot be read"):
            written.truths("train")
    label.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        read_truth(tmp_path / "set" / "images" / "train" / "000000.jpg", label.parent)
    (tmp_path / "set" / "manifest.json").write_text('{"schema_version": 0}')
    with pytest.raises(ModelError, match="another schema"):
        SceneSet(tmp_path / "set")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        scene_set(tmp_path / "file")


def test_how_backgrounds_are_used_is_part_of_a_parts_digest() -> None:
    photos = (Image.new("RGB", (40, 40), (9, 90, 200)),)
    plain, shown, hidden = (
        replace(parts()[0], backgrounds=one).digest for one in (None, Backgrounds(photos), Backgrounds(photos, True))
    )
    assert len({plain, shown, hidden}) == 3


def test_backgrounds_are_made_of_the_train_sides_photographs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {
        f"images/{index}.png": with_rectangle(background("noise", (64, 64), index), (20, 20, 40, 40))
        for index in range(12)
    }
    catalog = catalog_of(tmp_path / "shop", pictures)
    splits = split_catalog(catalog, SplitConfig(test_frac=0.3, val_frac=0.3))
    (shape,) = cutouts(count=1).cutouts
    cut = [replace(shape, product_id=one.product_id, group_id=one.group_id) for one in catalog.products]
    seen: list[set[str]] = []

    def spy(given: Catalog, limits: ImageLimits) -> None:
        seen.append({product.product_id for product in given.products})

    monkeypatch.setattr(compose, "cut_catalog", lambda *_, **__: CutoutSet(tuple(cut)))
    monkeypatch.setattr(compose, "catalog_backgrounds", spy)
    cfg = SceneSetConfig(num_train=8, num_val=4, num_held_out=4, num_workers=1, catalog_backgrounds=True)
    compose.compose_scenes(catalog, splits, cfg, tmp_path / "set")
    assert seen == [set(splits.product_ids(Side.TRAIN))]
