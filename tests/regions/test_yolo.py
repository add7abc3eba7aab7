from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from catalog import ModelError
from models.regions import NOTHING_KNOWN, RegionsConfig, RegionStore, YoloConfig, detect_catalog, make_detector
from models.regions.yolo import YoloDetector, build_detection_model, load_model_yaml, ultralytics_tasks
from tests.regions.bare import bare
from tests.regions.pictures import background, catalog_of, with_rectangle

_YAML = "yolo26n.yaml"


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with seed-fresh weights of the smallest detection model."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = ultralytics_tasks().DetectionModel(copy.deepcopy(load_model_yaml(_YAML)), ch=3, verbose=False)
    save_file(
        {name: value.clone().contiguous() for name, value in model.state_dict().items()}, folder / "w.safetensors"
    )
    return folder


def _state(weights_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(weights_dir / "w.safetensors")


def _cfg(**fields: object) -> RegionsConfig:
    base = {"weights": "w.safetensors", "model_yaml": _YAML, "side_px": 64, "min_score": 0.0}
    return RegionsConfig(backend="yolo", yolo=YoloConfig(**(base | fields)))


def _images() -> list[Image.Image]:
    sizes = [(90, 60), (60, 200), (64, 64), (1, 50), (700, 30)]
    return [with_rectangle(background("noise", size, 1), (0, 10, 30, 25)) for size in sizes]


def test_boxes_lie_inside_in_order_and_at_most_k(weights_dir: Path) -> None:
    images = _images()
    found = make_detector(_cfg(), weights_dir).detect(images, [NOTHING_KNOWN] * len(images))
    assert len(found) == len(images)
    for image, candidates in zip(images, found, strict=True):
        assert 1 <= len(candidates) <= 5
        scores = [candidate.score for candidate in candidates]
        assert scores == sorted(scores, reverse=True)
        for candidate in candidates:
            x0, y0, x1, y1 = candidate.box
            assert 0 <= x0 < x1 <= image.width
            assert 0 <= y0 < y1 <= image.height


def test_a_second_run_over_a_catalogue_calls_no_network(
    weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalog_of(tmp_path, {f"{index}.png": image for index, image in enumerate(_images())})
    detector = make_detector(_cfg(), weights_dir)
    store = RegionStore(detector.digest)
    assert detect_catalog(catalog, detector, store).num_detected == 5
    store.write(tmp_path)
    kept = RegionStore.read(tmp_path, detector.digest)
    again = make_detector(_cfg(), weights_dir)
    monkeypatch.setattr("models.regions.yolo.build_detection_model", None)
    stats = detect_catalog(catalog, again, kept)
    assert (stats.num_images, stats.num_hits, stats.num_detected) == (5, 5, 0)
    assert {key: kept.get(key) for key in kept} == {key: store.get(key) for key in store}


def test_the_answer_does_not_hang_on_the_call(weights_dir: Path) -> None:
    images = _images()
    detector = make_detector(_cfg(), weights_dir)
    together = detector.detect(images, [NOTHING_KNOWN] * len(images))
    again = pickle.loads(pickle.dumps(detector))  # noqa: S301 - our own bytes, as the process pool sends them
    assert together == [again.detect([image], [NOTHING_KNOWN])[0] for image in images]


def test_larger_batches_agree_closely(weights_dir: Path) -> None:
    images = _images()[:3]
    one = make_detector(_cfg(), weights_dir).detect(images, [NOTHING_KNOWN] * 3)
    three = make_detector(_cfg(batch_size=3), weights_dir).detect(images, [NOTHING_KNOWN] * 3)
    for left, right in zip(one, three, strict=True):
        assert [candidate.score for candidate in left] == pytest.approx([c.score for c in right], abs=1e-4)


def test_boxes_are_mapped_back_from_the_letterbox() -> None:
    """A network that always answers the middle half of its square answers the middle of any picture."""
    detector = YoloDetector.__new__(YoloDetector)
    detector._cfg, detector._num_candidates, detector._device = YoloConfig(side_px=64), 5, torch.device("cpu")
    detector._class_weights = torch.ones(1)
    rows = torch.zeros(1, 300, 6)
    rows[0, 0] = torch.tensor([16.0, 24.0, 48.0, 40.0, 0.9, 0.0])
    detector._model = lambda batch: (rows, None)  # type: ignore[assignment]
    (candidate,) = detector.detect([Image.new("RGB", (640, 320))], [NOTHING_KNOWN])[0]
    assert candidate.box == pytest.approx((160, 80, 480, 240))
    assert candidate.score == pytest.approx(0.9)


def test_heads_without_end_to_end_are_read_too() -> None:
    detector = YoloDetector.__new__(YoloDetector)
    detector._cfg, detector._num_candidates, detector._device = YoloConfig(side_px=64), 5, torch.device("cpu")
    detector._class_weights = torch.ones(2)
    # Two classes, three anchors: two boxes that overlap, whatever their class, and one under the threshold.
    columns = [[32, 32, 32, 16, 0.2, 0.8], [33, 32, 32, 16, 0.7, 0.1], [10, 10, 4, 4, 0.01, 0.0]]
    output = torch.tensor(columns, dtype=torch.float32).T[None]
    detector._model = lambda batch: output  # type: ignore[assignment]
    (candidate,) = detector.detect([Image.new("RGB", (64, 64))], [NOTHING_KNOWN])[0]
    assert candidate.box == pytest.approx((16, 24, 48, 40))
    assert candidate.score == pytest.approx(0.8)


def test_a_product_that_the_picture_is_not_of_scores_less_and_stays_a_candidate(weights_dir: Path) -> None:
    content = load_model_yaml(_YAML) | {"nc": 2, "names": ["product", "distractor"]}
    torch.manual_seed(0)
    state = ultralytics_tasks().DetectionModel(copy.deepcopy(content), ch=3, verbose=False).state_dict()
    save_file({name: value.clone().contiguous() for name, value in state.items()}, weights_dir / "two.safetensors")
    (weights_dir / "two.yaml").write_text(yaml.safe_dump(content))
    section = _cfg(weights="two.safetensors", model_yaml=None, other_score_frac=0.25).yolo
    detector = make_detector(bare(backend="yolo", yolo=section), weights_dir)
    assert isinstance(detector, YoloDetector)
    rows = torch.zeros(1, 300, 6)
    rows[0, 0] = torch.tensor([0.0, 0.0, 20.0, 20.0, 0.8, 1.0])
    rows[0, 1] = torch.tensor([30.0, 30.0, 60.0, 60.0, 0.4, 0.0])
    detector._model = lambda batch: (rows, None)  # type: ignore[assignment]
    core, other = detector.detect([Image.new("RGB", (64, 64))], [NOTHING_KNOWN])[0]
    assert (core.score, other.score) == pytest.approx((0.4, 0.2))
    assert core.box == pytest.approx((30, 30, 60, 60))


def test_the_digest_follows_weights_and_parameters(weights_dir: Path, tmp_path: Path) -> None:
    data = bytearray((weights_dir / "w.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "w.safetensors").write_bytes(bytes(data))
    digests = {
        make_detector(_cfg(), weights_dir).digest,
        make_detector(_cfg(), tmp_path).digest,
        make_detector(_cfg(side_px=96), weights_dir).digest,
    }
    assert len(digests) == 3
    (tmp_path / "w.safetensors").write_bytes((weights_dir / "w.safetensors").read_bytes())
    assert make_detector(_cfg(), tmp_path).digest in digests, "the folder's place does not count"


def test_missing_weights_say_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="saliency"):
        make_detector(_cfg(), tmp_path)
    with pytest.raises(ModelError, match="train_regions"):
        make_detector(_cfg(weights="elsewhere/w.safetensors"), tmp_path)


def test_the_yaml_beside_the_weights_is_theirs(weights_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes((weights_dir / "w.safetensors").read_bytes())
    with pytest.raises(ModelError, match="no model YAML beside"):
        make_detector(_cfg(model_yaml=None), tmp_path)
    (tmp_path / "w.yaml").write_text(yaml.safe_dump(load_model_yaml(_YAML)))
    assert make_detector(_cfg(model_yaml=None), tmp_path).digest == make_detector(_cfg(), weights_dir).digest


def test_bundled_weights_need_no_path_and_no_yaml(
    weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "product.safetensors").write_bytes((weights_dir / "w.safetensors").read_bytes())
    (tmp_path / "product.yaml").write_text(yaml.safe_dump(load_model_yaml(_YAML)))
    monkeypatch.setattr("models.regions.yolo.BUNDLED_WEIGHTS", tmp_path / "product.safetensors")
    assert YoloConfig().weights == "bundled"
    bundled = make_detector(_cfg(weights="bundled", model_yaml=None), tmp_path / "nowhere")
    assert bundled.digest == make_detector(_cfg(), weights_dir).digest


def test_weights_in_16_bits_are_computed_in_32(weights_dir: Path, tmp_path: Path) -> None:
    state = {name: value.half() if value.is_floating_point() else value for name, value in _state(weights_dir).items()}
    save_file(state, tmp_path / "w.safetensors")
    model = build_detection_model(load_model_yaml(_YAML), tmp_path / "w.safetensors")
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name].to(value.dtype))


def test_weights_that_are_not_finite_are_refused(weights_dir: Path, tmp_path: Path) -> None:
    state = _state(weights_dir)
    name = next(name for name, value in state.items() if value.is_floating_point())
    save_file(state | {name: torch.full_like(state[name], torch.nan)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="not finite"):
        make_detector(_cfg(), tmp_path).detect(_images()[:1], [NOTHING_KNOWN])


def test_the_device_is_no_part_of_the_digest_and_an_absent_one_is_refused(weights_dir: Path) -> None:
    assert make_detector(_cfg(device="auto"), weights_dir).digest == make_detector(_cfg(), weights_dir).digest
    with pytest.raises(ModelError, match="no device has this name"):
        make_detector(_cfg(device="abacus"), weights_dir)
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match=r"regions\.yolo\.device"):
            make_detector(_cfg(device="cuda"), weights_dir)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"")
    with pytest.raises(ModelError, match="pickle"):
        make_detector(_cfg(weights="w.pt"), tmp_path)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="damaged"):
        make_detector(_cfg(), tmp_path).detect(_images()[:1], [NOTHING_KNOWN])


def test_weights_of_another_shape_are_refused(weights_dir: Path, tmp_path: Path) -> None:
    content = load_model_yaml(_YAML)
    content["nc"] = 3
    (weights_dir / "three.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ModelError, match="do not fit"):
        make_detector(_cfg(model_yaml="three.yaml"), weights_dir).detect(_images()[:1], [NOTHING_KNOWN])


@pytest.mark.parametrize("name", ["yolo26n-seg.yaml", "yolo26n-cls.yaml", "yolo26n-pose.yaml"])
def test_a_model_of_another_task_is_refused(weights_dir: Path, name: str) -> None:
    with pytest.raises(ModelError, match="another task"):
        make_detector(_cfg(model_yaml=name), weights_dir)


@pytest.mark.parametrize("name", ["no_such.yaml", "sub/folder.yaml"])
def test_an_unknown_model_yaml_is_refused(weights_dir: Path, name: str) -> None:
    with pytest.raises(ModelError, match="no such model YAML"):
        make_detector(_cfg(model_yaml=name), weights_dir)


def test_code_in_a_model_yaml_is_refused(weights_dir: Path) -> None:
    content = load_model_yaml(_YAML) | {"activation": "__import__('os').system('true')"}
    (weights_dir / "evil.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ModelError, match="run as code"):
        make_detector(_cfg(model_yaml="evil.yaml"), weights_dir)


def test_without_ultralytics_the_error_names_the_way_out(monkeypatch: pytest.MonkeyPatch, weights_dir: Path) -> None:
    for name in [name for name in sys.modules if name == "ultralytics" or name.startswith("ultralytics.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(ModelError, match="pip install ultralytics") as caught:
        make_detector(_cfg(), weights_dir)
    assert "saliency" in str(caught.value)


_HIDDEN = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ultralytics", "torch", "cv2"):
            raise ImportError(name + " is hidden")

sys.meta_path.insert(0, Hide())
from PIL import Image
from models.regions import NOTHING_KNOWN, RegionsConfig, make_chooser, make_detector
for backend in ("saliency", "none"):
    cfg = RegionsConfig(backend=backend)
    image = Image.new("RGB", (80, 80), (200, 200, 200))
    image.paste((150, 20, 30), (20, 30, 50, 60))
    found = make_detector(cfg).detect([image], [NOTHING_KNOWN])[0]
    print(make_chooser(cfg).choose(found, image.size, NOTHING_KNOWN).reason)
assert not {"ultralytics", "torch", "transformers"} & set(sys.modules)
"""


def test_the_other_backends_run_with_ultralytics_and_torch_hidden() -> None:
    done = subprocess.run([sys.executable, "-c", _HIDDEN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("the only candidate: score")
    assert done.stdout.splitlines()[1] == "whole picture: regions.backend is none"
