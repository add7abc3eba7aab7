from __future__ import annotations

import copy
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from catalog import ModelError
from models.regions import NOTHING_KNOWN, OpenVocabularyConfig, Wanted, make_detector, note_of
from models.regions.yolo import load_model_yaml, ultralytics_tasks
from models.regions.yolo_world import EMBEDDINGS, NAMES, YoloWorldDetector, named_classes
from tests.regions.bare import bare
from tests.regions.pictures import background, with_rectangle
from tests.regions.tiny_models import clip_text

_WORLD, _YOLOE = "yolov8n-worldv2.yaml", "yoloe-26n.yaml"
_YAMLS = (_WORLD, _YOLOE)
_CLASSES = ["mug", "running shoe", "Hoodies"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seed-fresh networks: each alone, and with the embeddings of three classes."""
    place = tmp_path_factory.mktemp("worlds")
    clip_text(place / "clip")
    tasks = ultralytics_tasks()
    for name in _YAMLS:
        content = load_model_yaml(name, heads=("WorldDetect", "YOLOEDetect"))
        torch.manual_seed(0)
        build = tasks.WorldModel if name == _WORLD else tasks.YOLOEModel
        model = build(copy.deepcopy(content), ch=3, verbose=False)
        state = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
        stem = name.removesuffix(".yaml")
        save_file(state, place / f"{stem}.safetensors")
        words = torch.nn.functional.normalize(torch.randn(len(_CLASSES), 512), dim=-1)
        save_file(state | {EMBEDDINGS: words}, place / f"{stem}-set.safetensors", {NAMES: json.dumps(_CLASSES)})
    return place


def _detector(folder: Path, model_yaml: str, **fields: Any) -> YoloWorldDetector:
    stem = model_yaml.removesuffix(".yaml")
    base = {"weights": f"{stem}-set.safetensors", "model_yaml": model_yaml, "side_px": 96, "device": "cpu"}
    settings = OpenVocabularyConfig(**(base | {"min_score": 0.0} | fields))
    made = make_detector(bare(backend="open_vocabulary", open_vocabulary=settings), folder)
    assert isinstance(made, YoloWorldDetector)
    return made


def _images() -> list[Image.Image]:
    sizes = [(90, 60), (60, 200), (64, 64), (1, 50), (700, 30)]
    return [with_rectangle(background("noise", size, 1), (0, 10, 30, 25)) for size in sizes]


@pytest.mark.parametrize("model_yaml", _YAMLS)
def test_a_fixed_vocabulary_runs_without_a_text_encoder(folder: Path, model_yaml: str) -> None:
    images = _images()
    words = [Wanted("Red Mug"), NOTHING_KNOWN, Wanted("A lamp"), Wanted("Mug"), Wanted("Mug")]
    found = _detector(folder, model_yaml).detect(images, words)
    assert [len(one) > 0 for one in found] == [True, True, True, False, True]
    assert note_of(found[3]) == "too narrow to be judged"
    for image, candidates in zip(images, found, strict=True):
        assert len(candidates) <= 5
        scores = [candidate.score for candidate in candidates]
        assert scores == sorted(scores, reverse=True)
        for candidate in candidates:
            x0, y0, x1, y1 = candidate.box
            assert 0 <= x0 < x1 <= image.width
            assert 0 <= y0 < y1 <= image.height
    assert not {"clip", "mobileclip", "ultralytics.nn.text_model"} & set(sys.modules), "that module installs packages"


@pytest.mark.parametrize("model_yaml", _YAMLS)
def test_the_classes_that_the_words_name_count_alone(folder: Path, model_yaml: str) -> None:
    detector = _detector(folder, model_yaml, nms_iou=1.0)
    image = _images()[0]
    model, vocabulary_QD = detector._load()
    assert vocabulary_QD is not None
    row = detector._look(model, _square(image), [vocabulary_QD])[0]
    assert row.shape[0] == 4 + len(_CLASSES)
    for words, columns in ((Wanted("Mugs"), [0]), (Wanted("hoodie"), [2]), (NOTHING_KNOWN, [0, 1, 2])):
        best = detector.detect([image], [words])[0][0].score
        assert best <= float(row[4:][columns].max()) + 1e-6
        inside = detector.detect([image], [words])[0]
        assert all(
            any(abs(candidate.score - float(score)) < 1e-6 for score in row[4:][columns].flatten())
            for candidate in inside
        )


def _square(image: Image.Image) -> torch.Tensor:
    from models.regions.yolo import letterbox

    return letterbox(image, 96)[0][None]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_answer_does_not_hang_on_the_call(folder: Path, batch_size: int) -> None:
    images = _images()
    words = [Wanted("Mug"), Wanted("Mug", ("Cups",)), NOTHING_KNOWN, Wanted("Shoe"), Wanted("Mug")]
    fields = {"weights": "yolov8n-worldv2.safetensors", "text_encoder": "clip"}
    together = _detector(folder, _WORLD, batch_size=batch_size, **fields).detect(images, words)
    alone = pickle.loads(pickle.dumps(_detector(folder, _WORLD, **fields)))  # noqa: S301 - our own bytes
    for image, asked, found in zip(images, words, together, strict=True):
        single = alone.detect([image], [asked])[0]
        if batch_size == 1:
            assert found == single
        else:
            assert [one.score for one in found] == pytest.approx([one.score for one in single], abs=1e-5)


def test_words_are_embedded_by_a_local_text_encoder(folder: Path) -> None:
    detector = _detector(folder, _WORLD, weights="yolov8n-worldv2.safetensors", text_encoder="clip")
    assert detector.prompt(Wanted("Red Mug", ("Home", "Cups"))) == "cups. red mug"
    embedded = detector._embed(Wanted("Red Mug", ("Home", "Cups")))
    assert embedded.shape == (2, 512)
    assert torch.linalg.norm(embedded, dim=1).tolist() == pytest.approx([1.0, 1.0])
    assert detector._embed(Wanted("m" * 180)).shape == (1, 512)
    assert detector._embed(NOTHING_KNOWN).shape == (1, 512)
    image = _images()[0]
    found = detector.detect([image] * 2, [Wanted("Mug"), Wanted("Trousers")])
    assert found[0] != found[1]
    assert "ultralytics.nn.text_model" not in sys.modules


def test_the_prompt_of_a_fixed_vocabulary_is_what_the_words_name(folder: Path) -> None:
    detector = _detector(folder, _WORLD)
    assert detector.prompt(Wanted("Running Shoes for Mugs", ("Hoodies",))) == "mug. running shoe. Hoodies"
    assert detector.prompt(Wanted("Lamp")) == detector.prompt(NOTHING_KNOWN) == ""


def test_a_class_is_named_by_whole_words() -> None:
    assert named_classes(["cap", "running shoe", "bus"], Wanted("Captioned running shoes")) == [1]
    assert named_classes(["cap"], Wanted("A red CAP!")) == [0]
    assert named_classes(["cap"], Wanted(None, ("Caps & Hats",))) == [0]
    assert named_classes(["bus"], Wanted("Bu")) == []


@pytest.mark.parametrize("model_yaml", _YAMLS)
def test_without_encoder_and_embeddings_the_way_out_is_said(folder: Path, model_yaml: str) -> None:
    plain = model_yaml.replace(".yaml", ".safetensors")
    with pytest.raises(ModelError, match="text encoder of this detector is not present") as caught:
        _detector(folder, model_yaml, weights=plain)
    assert EMBEDDINGS in str(caught.value)
    assert ("clip-vit-base-patch32" in str(caught.value)) == (model_yaml == _WORLD)
    assert "ultralytics.nn.text_model" not in sys.modules


def test_the_text_encoder_of_yoloe_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="TorchScript, which is code"):
        _detector(folder, _YOLOE, text_encoder="clip")


def test_another_text_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    for path in (folder / "clip").iterdir():
        (tmp_path / "bert" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="another task"):
        _detector(folder, _WORLD, text_encoder=str(tmp_path / "bert"))


def test_the_digest_follows_weights_vocabulary_and_encoder(folder: Path, tmp_path: Path) -> None:
    clip_text(tmp_path / "clip", seed=1)
    plain = {"weights": "yolov8n-worldv2.safetensors"}
    digests = {
        _detector(folder, _WORLD).digest,
        _detector(folder, _YOLOE).digest,
        _detector(folder, _WORLD, min_score=0.2).digest,
        _detector(folder, _WORLD, text_encoder="clip", **plain).digest,
        _detector(folder, _WORLD, text_encoder=str(tmp_path / "clip"), **plain).digest,
    }
    assert len(digests) == 5
    assert _detector(folder, _WORLD, batch_size=4).digest in digests


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({EMBEDDINGS: torch.zeros(2, 512)}, None),
        ({EMBEDDINGS: torch.zeros(2, 512)}, {NAMES: '["mug"]'}),
        ({EMBEDDINGS: torch.zeros(1, 64)}, {NAMES: '["mug"]'}),
        ({EMBEDDINGS: torch.zeros(1, 512)}, {NAMES: "mug"}),
        ({EMBEDDINGS: torch.zeros(1, 512)}, {NAMES: '[" "]'}),
        ({"other": torch.zeros(1)}, {NAMES: '["mug"]'}),
    ],
)
def test_names_and_embeddings_that_do_not_match_are_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None
) -> None:
    save_file(tensors, tmp_path / "w.safetensors", metadata)
    with pytest.raises(ModelError, match="do not match"):
        _detector(tmp_path, _WORLD, weights="w.safetensors")


def test_weights_of_another_size_or_task_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="do not fit"):
        _detector(folder, "yolov8s-worldv2.yaml", weights="yolov8n-worldv2-set.safetensors").detect(
            _images()[:1], [NOTHING_KNOWN]
        )
    with pytest.raises(ModelError, match="another task"):
        _detector(folder, "yolo26n.yaml", weights="yolov8n-worldv2-set.safetensors")


def test_pickles_missing_and_damaged_files_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"")
    (tmp_path / "w.safetensors").write_bytes(b"damaged")
    for weights, match in ((None, "no weights"), ("w.pt", "pickles"), ("gone.safetensors", "missing")):
        with pytest.raises(ModelError, match=match):
            _detector(tmp_path, _WORLD, weights=weights)
    with pytest.raises(ModelError, match="damaged"):
        _detector(tmp_path, _WORLD, weights="w.safetensors")
