from __future__ import annotations

import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from catalog import ModelError, StorageError
from models.region_training import (
    DetectorExportConfig,
    DetectorFitConfig,
    ScenePart,
    SceneSet,
    SceneSetConfig,
    TrainedDetector,
    fit_detector,
    judge_detector,
    make_card,
    read_card,
    weights_digest,
    write_detector,
    write_scene_set,
    write_weights,
)
from models.region_training.judging import read_scene
from models.regions import NOTHING_KNOWN, RegionsConfig, YoloConfig, make_detector
from models.regions.yolo import ultralytics_tasks
from models.scenes import CutoutSet, SceneConfig
from tests.region_training.sets import SIDE_PX, scene_set, tiny_fit
from tests.regions.pictures import background, catalog_of


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    return scene_set(tmp_path_factory.mktemp("scenes") / "set")


@pytest.fixture(scope="module")
def trained(scenes: SceneSet, tmp_path_factory: pytest.TempPathFactory) -> TrainedDetector:
    return fit_detector(scenes, tiny_fit(), tmp_path_factory.mktemp("fit"))


@pytest.fixture(scope="module")
def weights(trained: TrainedDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"), "tiny", trained.model_cfg, trained.state)


def test_every_epoch_leaves_a_row(trained: TrainedDetector) -> None:
    assert [row["step"] for row in trained.curve] == [1.0, 2.0]
    assert {"train/box_loss", "val/box_loss", "val/map50", "rate/group0", "seconds"} <= set(trained.curve[0])
    assert trained.seconds == pytest.approx(sum(row["seconds"] for row in trained.curve))


def test_training_moves_the_weights_and_they_are_finite(trained: TrainedDetector) -> None:
    moved = [name for name, value in trained.state.items() if name.endswith("running_mean") and bool(value.any())]
    assert moved
    assert all(bool(torch.isfinite(value).all()) for value in trained.state.values())


class _KilledError(Exception):
    pass


def test_after_a_kill_it_ends_as_it_would_have(scenes: SceneSet, trained: TrainedDetector, tmp_path: Path) -> None:
    def kill(row: dict[str, float]) -> None:
        raise _KilledError

    with pytest.raises(_KilledError):
        fit_detector(scenes, tiny_fit(), tmp_path, kill)
    told: list[float] = []
    again = fit_detector(scenes, tiny_fit(), tmp_path, lambda row: told.append(row["step"]))
    assert told == [1.0, 2.0], "the epoch before the kill is told again"
    assert again.state.keys() == trained.state.keys()
    assert all(torch.equal(value, trained.state[name]) for name, value in again.state.items())
    once_more = fit_detector(scenes, tiny_fit(), tmp_path)
    assert all(torch.equal(value, trained.state[name]) for name, value in once_more.state.items())


def test_other_settings_do_not_take_the_checkpoint(scenes: SceneSet, trained: TrainedDetector, tmp_path: Path) -> None:
    fit_detector(scenes, tiny_fit(epochs=1), tmp_path)
    other = fit_detector(scenes, tiny_fit(epochs=1, seed=1), tmp_path)
    assert len(list(tmp_path.glob("fit-*"))) == 2
    assert any(not torch.equal(value, trained.state[name]) for name, value in other.state.items())


def test_global_random_sources_are_left_as_they_were(scenes: SceneSet, tmp_path: Path) -> None:
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    fit_detector(scenes, tiny_fit(epochs=1), tmp_path)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == expected


def test_a_checkpoint_that_is_a_pickle_of_objects_is_refused(scenes: SceneSet, tmp_path: Path) -> None:
    fit_detector(scenes, tiny_fit(epochs=1), tmp_path)
    (checkpoint,) = tmp_path.glob("fit-*/last.pt")
    torch.save({"model": tiny_fit()}, checkpoint)
    with pytest.raises(ModelError, match="checkpoint is damaged"):
        fit_detector(scenes, tiny_fit(epochs=1), tmp_path)
    checkpoint.write_bytes(pickle.dumps({"epoch": 0}))
    with pytest.raises(ModelError, match="checkpoint is damaged"):
        fit_detector(scenes, tiny_fit(epochs=1), tmp_path)


def test_no_logger_of_ultralytics_is_attached_and_it_is_offline(scenes: SceneSet, tmp_path: Path) -> None:
    from models.region_training.fit import architecture
    from models.region_training.trainer import make_trainer

    trainer = make_trainer(scenes, tiny_fit(), architecture(tiny_fit()), tmp_path, torch.device("cpu"), "fp32")
    modules = {callback.__module__ for callbacks in trainer.callbacks.values() for callback in callbacks}
    assert not [name for name in modules if name.startswith("ultralytics.utils.callbacks.") and "base" not in name]
    from ultralytics.utils import ONLINE
    from ultralytics.utils.events import events

    assert not ONLINE
    assert not events.enabled


def test_half_precision_trains_too(scenes: SceneSet, tmp_path: Path) -> None:
    half = fit_detector(scenes, tiny_fit(epochs=1, precision="bf16"), tmp_path)
    assert all(value.dtype != torch.bfloat16 for value in half.state.values())
    assert all(bool(torch.isfinite(value).all()) for value in half.state.values())


def test_scenes_without_a_product_are_refused(tmp_path: Path) -> None:
    empty = SceneConfig(side_px=64, empty_frac=1.0, studio_frac=0.0, whole_frame_frac=0.0, collage_frac=0.0)
    parts = [ScenePart(name, 2, CutoutSet(()), empty) for name in ("train", "val")]
    with pytest.raises(ModelError, match="no scene holds a product"):
        fit_detector(write_scene_set(tmp_path / "set", parts), tiny_fit(), tmp_path)


def test_boxes_and_classes_are_those_that_were_asked_for(scenes: SceneSet) -> None:
    from models.region_training.trainer import label_of

    truth = next(one for one in scenes.truths("distractors") if one.distractors)
    width, height = truth.size_px
    num_others = len(truth.distractors)
    for positives, classes in (("core", [0]), ("products", [0] * (1 + num_others)), ("both", [0] + [1] * num_others)):
        label = label_of(truth, positives)
        assert label["cls"].ravel().tolist() == classes
        x, y, w, h = label["bboxes"][0]
        box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        assert box == pytest.approx(truth.core[0], abs=0.01)


def test_one_class_or_two(scenes: SceneSet, tmp_path: Path) -> None:
    one = fit_detector(scenes, tiny_fit(epochs=1, positives="core"), tmp_path)
    two = fit_detector(scenes, tiny_fit(epochs=1, positives="both"), tmp_path)
    assert (one.model_cfg["nc"], two.model_cfg["nc"]) == (1, 2)
    assert two.model_cfg["names"] == ["product", "distractor"]


@pytest.mark.parametrize("name", ["yolo26n-seg.yaml", "no_such.yaml"])
def test_another_architecture_is_refused(scenes: SceneSet, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"another task|no such model YAML"):
        fit_detector(scenes, tiny_fit(model_yaml=name), tmp_path)


def test_the_export_finds_what_the_trained_network_finds(
    scenes: SceneSet, trained: TrainedDetector, weights: Path, tmp_path: Path
) -> None:
    """In 16 bits nearly, in 32 bits exactly: the network by hand against the detector from files."""
    whole = write_weights(tmp_path, "whole", trained.model_cfg, trained.state, half=False)
    network = ultralytics_tasks().DetectionModel(dict(trained.model_cfg), ch=3, verbose=False)
    network.load_state_dict(trained.state)
    images = [read_scene(truth) for truth in scenes.truths("distractors")]
    found = {}
    for path in (whole, weights):
        yolo = YoloConfig(weights=str(path), side_px=SIDE_PX, min_score=0.0)
        detector = make_detector(RegionsConfig(backend="yolo", num_candidates=1, yolo=yolo))
        found[path] = detector.detect(images, [NOTHING_KNOWN] * len(images))
        if path is whole:
            detector._model = network.eval()  # type: ignore[attr-defined]
            assert detector.detect(images, [NOTHING_KNOWN] * len(images)) == found[path]
    for (one,), (other,) in zip(found[whole], found[weights], strict=True):
        assert one.score == pytest.approx(other.score, abs=0.01)


def test_the_files_are_small_and_complete(trained: TrainedDetector, weights: Path) -> None:
    assert weights.stat().st_size < 6_000_000
    content = yaml.safe_load(weights.with_suffix(".yaml").read_text())
    assert content["nc"] == 2
    assert content["scale"] == "n"
    assert load_file(weights).keys() == trained.state.keys()


def test_weights_that_do_not_fit_into_16_bits_are_refused(trained: TrainedDetector, tmp_path: Path) -> None:
    name = next(name for name, value in trained.state.items() if value.is_floating_point())
    state = trained.state | {name: torch.full_like(trained.state[name], 1e6)}
    with pytest.raises(ModelError, match="not finite"):
        write_weights(tmp_path, "tiny", trained.model_cfg, state)
    assert write_weights(tmp_path, "tiny", trained.model_cfg, state, half=False).is_file()


def _card(scenes: SceneSet, weights: Path, tmp_path: Path, name: str = "tiny"):  # type: ignore[no-untyped-def]
    (tmp_path / "images").mkdir(parents=True)
    catalog = catalog_of(tmp_path / "images", {"a.png": background("white", (20, 20))})
    yolo = YoloConfig(weights=str(weights), side_px=SIDE_PX)
    truths = scenes.truths("distractors")
    ours = judge_detector("distractors", truths, make_detector(RegionsConfig(backend="yolo", yolo=yolo))).scores
    plain = judge_detector("distractors", truths, make_detector(RegionsConfig())).scores
    scenes.manifest["notes"] = {"cutouts": {"train": 3, "val": 3, "test": 3}, "refused": 0}
    sections = (SceneSetConfig(), tiny_fit(), DetectorExportConfig(name=name))
    return make_card(catalog, scenes, sections, weights, 1.5, [ours], [plain], "abc")


def test_the_card_says_what_it_was_made_of_and_reads_back(scenes: SceneSet, weights: Path, tmp_path: Path) -> None:
    card = _card(scenes, weights, tmp_path)
    write_detector(tmp_path / "out", weights, card)
    assert read_card(tmp_path / "out") == card
    assert card.weights_digest == weights_digest(tmp_path / "out" / "tiny.safetensors")
    text = (tmp_path / "out" / "card.md").read_text()
    for told in (
        card.data_digest,
        scenes.digest,
        "AGPL-3.0",
        "Apache-2.0",
        "derivative works",
        "8 train",
        "abc",
        "n 6",
    ):
        assert told in text
    yolo = YoloConfig(weights="tiny.safetensors", side_px=SIDE_PX)
    assert make_detector(RegionsConfig(backend="yolo", yolo=yolo), tmp_path / "out").digest


def test_an_older_detector_is_replaced_and_other_files_never(scenes: SceneSet, weights: Path, tmp_path: Path) -> None:
    card = _card(scenes, weights, tmp_path)
    write_detector(tmp_path / "out", weights, card)
    write_detector(tmp_path / "out", weights, card)
    assert len(list((tmp_path / "out").iterdir())) == 4
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(StorageError, match="holds other files"):
        write_detector(tmp_path / "mine", weights, card)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_a_detector_that_cannot_be_written_leaves_the_older(scenes: SceneSet, weights: Path, tmp_path: Path) -> None:
    card = _card(scenes, weights, tmp_path)
    write_detector(tmp_path / "out", weights, card)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(StorageError, match="cannot be written"):
        write_detector(tmp_path / "out", tmp_path / "absent.safetensors", card)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


def test_a_damaged_card_is_refused(scenes: SceneSet, weights: Path, tmp_path: Path) -> None:
    card = _card(scenes, weights, tmp_path)
    write_detector(tmp_path / "out", weights, card)
    for text in ("{", "{}", json.dumps(card.to_dict() | {"schema_version": 0}), json.dumps({"schema_version": 1})):
        (tmp_path / "out" / "card.json").write_text(text)
        with pytest.raises(ModelError, match="card cannot be read"):
            read_card(tmp_path / "out")


def test_mosaics_that_never_come_are_refused() -> None:
    with pytest.raises(ValueError, match="close_mosaic_epochs"):
        DetectorFitConfig(epochs=3, mosaic_frac=0.5, close_mosaic_epochs=3)
