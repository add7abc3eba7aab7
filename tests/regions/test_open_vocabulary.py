from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from catalog import ModelError
from models.regions import (
    NOTHING_KNOWN,
    Candidate,
    OpenVocabularyConfig,
    RegionDetector,
    Wanted,
    make_detector,
    note_of,
)
from models.regions.open_vocabulary import OpenVocabularyDetector
from tests.regions.bare import bare
from tests.regions.pictures import background, with_rectangle
from tests.regions.tiny_models import grounding_dino, owlv2, qwen

KINDS = ("grounding_dino", "owlv2")
_MUG = Wanted("Red Mug - large", ("Home", "Mugs & Cups"))
_SIZES = ((100, 80), (300, 20), (60, 200), (64, 64), (7, 9))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("detectors")
    grounding_dino(place / "grounding_dino")
    owlv2(place / "owlv2")
    return place


def _detector(folder: Path, kind: str | None, **fields: Any) -> RegionDetector:
    base = {"weights": kind, "device": "cpu", "min_score": 0.0}
    settings = OpenVocabularyConfig(**(base | fields))
    return make_detector(bare(backend="open_vocabulary", open_vocabulary=settings), folder)


def _noise(size: tuple[int, int], seed: int = 1) -> Image.Image:
    return with_rectangle(background("noise", size, seed), (1, 2, size[0] // 2, size[1] // 2))


def _assert_close(one: list[Candidate], other: list[Candidate], image: Image.Image) -> None:
    """Scores agree in order, and wherever a score stands alone its box agrees too."""
    assert [c.score for c in one] == pytest.approx([c.score for c in other], abs=1e-4)
    for left in one:
        near = [right for right in other if abs(right.score - left.score) < 2e-4]
        assert any(right.box == pytest.approx(left.box, abs=1e-2 * max(image.size)) for right in near)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_picture_s_answer_does_not_hang_on_the_others(folder: Path, kind: str, batch_size: int) -> None:
    images = [_noise(size, seed) for seed, size in enumerate((*_SIZES, *_SIZES))]
    wanted = [_MUG, NOTHING_KNOWN, Wanted("A cup")] * 3 + [_MUG]
    together = _detector(folder, kind, batch_size=batch_size).detect(images, wanted)
    alone = _detector(folder, kind)
    for image, words, found in zip(images, wanted, together, strict=True):
        single = alone.detect([image], [words])[0]
        if batch_size == 1:
            assert found == single
        else:
            _assert_close(found, single, image)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_lie_inside_in_order_and_at_most_k(folder: Path, kind: str) -> None:
    images = [_noise(size) for size in _SIZES]
    found = _detector(folder, kind).detect(images, [_MUG] * len(images))
    for image, candidates in zip(images, found, strict=True):
        assert 1 <= len(candidates) <= 5
        scores = [candidate.score for candidate in candidates]
        assert scores == sorted(scores, reverse=True)
        assert all(0.0 <= score <= 1.0 for score in scores)
        for candidate in candidates:
            x0, y0, x1, y1 = candidate.box
            assert 0 <= x0 < x1 <= image.width
            assert 0 <= y0 < y1 <= image.height


@pytest.mark.parametrize("kind", KINDS)
def test_the_words_steer_the_answer(folder: Path, kind: str) -> None:
    image = _noise((100, 80))
    found = _detector(folder, kind).detect([image] * 2, [Wanted("Mug"), Wanted("Trousers")])
    assert found[0] != found[1]


def _scripted(detector: RegionDetector, boxes: list[list[float]], scores: list[float]) -> None:
    """Let the network answer `boxes` (centre and size, shares of what it sees) for every picture."""
    assert isinstance(detector, OpenVocabularyDetector)
    model, processor = detector._load()

    class Answer:
        def __init__(self, batch: int) -> None:
            self.logits = torch.logit(torch.tensor(scores))[None, :, None].repeat(batch, 1, 1)
            self.pred_boxes = torch.tensor(boxes)[None].repeat(batch, 1, 1)

    class Model:
        config, device, dtype = model.config, model.device, model.dtype

        def __call__(self, pixel_values: torch.Tensor, **inputs: Any) -> Answer:
            return Answer(len(pixel_values))

    detector._loaded = (Model(), processor)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (3000, 1000), (20, 30)])
def test_shares_of_the_picture_become_pixels_of_the_original(folder: Path, size: tuple[int, int]) -> None:
    detector = _detector(folder, "grounding_dino")
    _scripted(detector, [[0.5, 0.5, 0.25, 0.5]], [0.8])
    (candidate,) = detector.detect([background("white", size)], [_MUG])[0]
    width, height = size
    assert candidate.box == pytest.approx((0.375 * width, 0.25 * height, 0.625 * width, 0.75 * height), rel=1e-4)
    assert candidate.score == pytest.approx(0.8)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (3000, 1000), (20, 30)])
def test_owlv2_counts_shares_of_the_padded_square(folder: Path, size: tuple[int, int]) -> None:
    detector = _detector(folder, "owlv2")
    side = max(size)
    wanted = (0.1 * size[0], 0.2 * size[1], 0.6 * size[0], 0.9 * size[1])
    centre = [(wanted[0] + wanted[2]) / 2 / side, (wanted[1] + wanted[3]) / 2 / side]
    _scripted(detector, [[*centre, (wanted[2] - wanted[0]) / side, (wanted[3] - wanted[1]) / side]], [0.8])
    (candidate,) = detector.detect([background("white", size)], [_MUG])[0]
    # A picture that is shrunk first has its shorter side rounded to a whole pixel.
    assert candidate.box == pytest.approx(wanted, rel=1e-2)


def test_a_box_in_the_padding_of_owlv2_is_no_candidate(folder: Path) -> None:
    detector = _detector(folder, "owlv2")
    _scripted(detector, [[0.5, 0.9, 0.2, 0.1], [0.5, 0.1, 0.2, 0.1]], [0.9, 0.4])
    (candidate,) = detector.detect([background("white", (200, 50))], [_MUG])[0]
    assert candidate.score == pytest.approx(0.4)


def test_thresholds_and_overlaps_are_kept(folder: Path) -> None:
    detector = _detector(folder, "grounding_dino", min_score=0.3, nms_iou=0.5)
    boxes = [[0.3, 0.5, 0.4, 0.5], [0.31, 0.5, 0.4, 0.5], [0.8, 0.5, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]]
    _scripted(detector, boxes, [0.9, 0.8, 0.6, 0.2])
    found = detector.detect([background("white", (100, 100))], [_MUG])[0]
    assert [candidate.score for candidate in found] == pytest.approx([0.9, 0.6])


@pytest.mark.parametrize("kind", KINDS)
def test_a_stripe_is_not_looked_at_and_says_so(folder: Path, kind: str) -> None:
    images = [_noise((100, 80)), Image.new("RGB", (20_000, 1)), Image.new("RGB", (1, 50)), _noise((100, 80))]
    found = _detector(folder, kind).detect(images, [_MUG] * 4)
    assert found[1] == found[2] == []
    assert note_of(found[1]) == "too narrow to be judged"
    assert found[0] == found[3] != []


def test_grounding_dino_reads_one_text_with_full_stops(folder: Path) -> None:
    detector = _detector(folder, "grounding_dino")
    assert isinstance(detector, OpenVocabularyDetector)
    model, processor = detector._load()
    text: Callable[[Wanted], Any] = lambda wanted: detector._text(processor.tokenizer, model.config, wanted)  # noqa: E731
    assert text(_MUG) == "mugs & cups. red mug."
    assert text(NOTHING_KNOWN) == "product."
    assert text(Wanted("Dr. Mug")) == "dr mug."
    long = text(Wanted("m" * 90, ("Home", "Cups")))
    assert long.startswith("cups. mmm")
    assert long.endswith(".")
    assert len(processor.tokenizer(long)["input_ids"]) == 48


def test_owlv2_reads_a_list_within_its_sixteen_tokens(folder: Path) -> None:
    detector = _detector(folder, "owlv2")
    assert isinstance(detector, OpenVocabularyDetector)
    model, processor = detector._load()
    phrases = detector._text(processor.tokenizer, model.config, Wanted("Extraordinary Mug of Porcelain", ("Cups",)))
    assert phrases[0] == "cups"
    assert all(len(processor.tokenizer(phrase)["input_ids"]) <= 16 for phrase in phrases)
    assert detector._text(processor.tokenizer, model.config, NOTHING_KNOWN) == ["product"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("title", ["图中的红色马克杯" * 40, "!!!", "<|endoftext|>", "...", "ß" * 300, "\x00\n"])
def test_any_title_is_looked_for(folder: Path, kind: str, title: str) -> None:
    found = _detector(folder, kind).detect([_noise((64, 64))], [Wanted(title, (title,))])
    assert len(found) == 1


def test_the_prompt_is_what_is_looked_for(folder: Path) -> None:
    detector = _detector(folder, "owlv2")
    assert detector.prompt(_MUG) == "mugs & cups. red mug"
    assert detector.prompt(NOTHING_KNOWN) == ""
    templates = _detector(folder, "owlv2", phrases=["a photo of a {title}"])
    assert templates.prompt(_MUG) == "a photo of a red mug"
    assert templates.prompt(Wanted(None, ("Mugs",))) == ""


@pytest.mark.parametrize("phrases", [[], ["mug"], ["{title} {colour}"], ["{}{title}"]])
def test_templates_with_other_fields_are_refused(phrases: list[str]) -> None:
    with pytest.raises(ValueError, match="phrases"):
        OpenVocabularyConfig.model_validate({"phrases": phrases})


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_follows_weights_and_words_but_not_the_place(folder: Path, tmp_path: Path, kind: str) -> None:
    base = _detector(folder, kind).digest
    made = {"grounding_dino": grounding_dino, "owlv2": owlv2}[kind]
    made(tmp_path / "other", seed=1)
    made(tmp_path / "same")
    assert _detector(tmp_path, "same").digest == base
    assert _detector(folder, kind, batch_size=8).digest == base, "a batch is no other detector"
    others = {
        _detector(tmp_path, "other").digest,
        _detector(folder, kind, min_score=0.5).digest,
        _detector(folder, kind, phrases=["{title}"]).digest,
        _detector(folder, kind, generic_phrase="thing").digest,
        _detector(folder, kind, dtype="bf16").digest,
    }
    assert len(others | {base}) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_travels_to_another_process(folder: Path, kind: str) -> None:
    detector = _detector(folder, kind)
    image = _noise((100, 80))
    found = detector.detect([image], [_MUG])
    again = pickle.loads(pickle.dumps(detector))  # noqa: S301 - our own bytes, as the process pool sends them
    assert again._loaded is None
    assert again.detect([image], [_MUG]) == found


def test_half_precision_runs(folder: Path) -> None:
    for kind in KINDS:
        assert _detector(folder, kind, dtype="bf16").detect([_noise((100, 80))], [_MUG])[0]


def test_weights_of_another_task_are_refused(tmp_path: Path) -> None:
    qwen(tmp_path / "qwen", "qwen3_vl")
    with pytest.raises(ModelError, match="of another task") as caught:
        _detector(tmp_path, "qwen")
    assert "grounding-dino, owlv2" in str(caught.value)


def test_a_pickle_is_refused(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "owlv2").iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="pickles"):
        _detector(tmp_path, ".")
    with pytest.raises(ModelError, match="pickles"):
        _detector(tmp_path, "pytorch_model.bin")


def test_damaged_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "owlv2").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="cannot be loaded"):
        _detector(tmp_path, ".").detect([_noise((64, 64))], [_MUG])


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no weights"):
        _detector(tmp_path, None)
    with pytest.raises(ModelError, match="moon weights fetch IDEA-Research/grounding-dino-tiny"):
        _detector(tmp_path, "IDEA-Research/grounding-dino-tiny")


def test_weights_are_fetched_where_asked_alone(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str | None]] = []

    def fetch(name: str, *, revision: str | None = None) -> Path:
        calls.append((name, revision))
        return folder / "owlv2"

    monkeypatch.setattr("models.regions.pretrained.fetch_weights", fetch)
    with pytest.raises(ModelError, match="not at hand"):
        _detector(tmp_path, "google/owlv2-base-patch16-ensemble", revision="a" * 40)
    assert not calls
    _detector(folder, "owlv2", download=True)
    assert not calls, "what is at hand is not fetched"
    asked = {"download": True, "revision": "a" * 40}
    detector = _detector(tmp_path, "google/owlv2-base-patch16-ensemble", **asked)
    assert calls == [("google/owlv2-base-patch16-ensemble", "a" * 40)]
    assert detector.digest == _detector(folder, "owlv2").digest


def test_owlv2_needs_one_of_the_two_forms_of_its_tokenizer(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "owlv2").iterdir():
        if path.name != "merges.txt":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match=r"tokenizer\.json missing"):
        _detector(tmp_path, ".")
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "owlv2"
