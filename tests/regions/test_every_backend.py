"""What every backend keeps, whatever the picture: one contract, run over all detectors that need no download."""

from __future__ import annotations

import copy
import functools
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from catalog import ImageError, ImageLimits, Photo
from models.regions import (
    NOTHING_KNOWN,
    CoreRegion,
    RegionDetector,
    RegionsConfig,
    Wanted,
    make_chooser,
    make_detector,
)
from models.regions.yolo import load_model_yaml, ultralytics_tasks
from models.regions.yolo_world import EMBEDDINGS, NAMES
from tests.regions import tiny_models
from tests.regions.bare import bare
from tests.regions.pictures import background, with_rectangle

BACKENDS: dict[str, dict[str, Any]] = {
    "none": {"backend": "none"},
    "saliency": {"backend": "saliency"},
    "yolo": {
        "backend": "yolo",
        "yolo": {"weights": "yolo.safetensors", "model_yaml": "yolo26n.yaml", "side_px": 64, "min_score": 0.0},
    },
    "yolo_world": {
        "backend": "open_vocabulary",
        "open_vocabulary": {
            "weights": "world.safetensors",
            "model_yaml": "yolov8n-worldv2.yaml",
            "side_px": 64,
            "min_score": 0.0,
        },
    },
    "grounding_dino": {
        "backend": "open_vocabulary",
        "open_vocabulary": {"weights": "grounding_dino", "min_score": 0.0},
    },
    "owlv2": {"backend": "open_vocabulary", "open_vocabulary": {"weights": "owlv2", "min_score": 0.0}},
    "grounding": {
        "backend": "grounding",
        "grounding": {
            "weights": "qwen3_vl",
            "dtype": "fp32",
            "max_new_tokens": 16,
            "min_pixels": 4096,
            "max_pixels": 16_384,
        },
    },
}
_K = 3
_WANTED = (Wanted("Red Mug", ("Home", "Mugs")), NOTHING_KNOWN, Wanted("图中的红色马克杯"), Wanted(None, ("Home",)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seed-fresh weights of every kind, as small as they come."""
    place = tmp_path_factory.mktemp("every_backend")
    tasks = ultralytics_tasks()
    heads = ("Detect", "WorldDetect")
    for name, build in (("yolo26n.yaml", tasks.DetectionModel), ("yolov8n-worldv2.yaml", tasks.WorldModel)):
        torch.manual_seed(0)
        model = build(copy.deepcopy(load_model_yaml(name, heads=heads)), ch=3, verbose=False)
        state = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
        if "world" in name:
            words = torch.nn.functional.normalize(torch.randn(2, 512), dim=-1)
            save_file(state | {EMBEDDINGS: words}, place / "world.safetensors", {NAMES: json.dumps(["mug", "shoe"])})
        else:
            save_file(state, place / "yolo.safetensors")
    tiny_models.grounding_dino(place / "grounding_dino")
    tiny_models.owlv2(place / "owlv2")
    tiny_models.qwen(place / "qwen3_vl", "qwen3_vl")
    return place


@pytest.fixture(scope="module", params=BACKENDS)
def detector(request: pytest.FixtureRequest, folder: Path) -> RegionDetector:
    """Each backend alone."""
    return make_detector(bare(**BACKENDS[request.param], num_candidates=_K), folder)


def _saved(image: Image.Image, kind: str = "PNG", **options: Any) -> Image.Image:
    """The picture as the catalogue decodes it from a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return Photo(ref="file", data=stream.getvalue()).load()


def _object(size: tuple[int, int] = (90, 70)) -> Image.Image:
    width, height = size
    box = (width // 4, height // 4, max(width * 3 // 4, 1), max(height * 3 // 4, 1))
    return with_rectangle(background("noise", size, 3), box)


def _many() -> Image.Image:
    image = background("white", (120, 120))
    for row in range(4):
        for column in range(4):
            corner = (column * 30 + 5, row * 30 + 5)
            image = with_rectangle(image, (*corner, corner[0] + 18, corner[1] + 18), (30 * row, 60 * column, 90))
    return image


def _turned() -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _saved(_object((120, 60)), "JPEG", exif=exif)


def _transparent() -> Image.Image:
    image = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
    image.paste((200, 30, 40, 255), (20, 30, 60, 70))
    return _saved(image)


def _sixteen_bit() -> Image.Image:
    values = np.full((60, 80), 60_000, dtype=np.uint16)
    values[15:45, 20:60] = 9_000
    return _saved(Image.fromarray(values))


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "one object": _object,
    "no object, white": lambda: Image.new("RGB", (80, 60), "white"),
    "no object, black": lambda: Image.new("RGB", (80, 60)),
    "many objects": _many,
    "whole-frame product": lambda: with_rectangle(background("white", (80, 60)), (0, 0, 80, 60)),
    "one pixel": lambda: Image.new("RGB", (1, 1), "red"),
    "one pixel high": lambda: _object((60, 1)),
    "one pixel wide": lambda: _object((1, 60)),
    "two pixels high": lambda: _object((50, 2)),
    "20,000 pixels wide": lambda: with_rectangle(Image.new("RGB", (20_000, 600)), (900, 100, 1400, 500)),
    "20,000 pixels wide, one high": lambda: Image.new("RGB", (20_000, 1), "red"),
    "20,000 pixels high": lambda: with_rectangle(Image.new("RGB", (700, 20_000)), (100, 900, 500, 1400)),
    "turned by its EXIF mark": _turned,
    "transparent": _transparent,
    "transparent in a palette": lambda: _saved(_object().quantize(8), transparency=0),
    "palette": lambda: _saved(_object().quantize(8)),
    "grey": lambda: _saved(_object().convert("L")),
    "grey with alpha": lambda: _saved(_object().convert("LA")),
    "CMYK": lambda: _saved(_object().convert("CMYK"), "JPEG"),
    "16 bits": _sixteen_bit,
    "one bit": lambda: _saved(_object().convert("1")),
}


@functools.cache
def _picture(name: str) -> Image.Image:
    return PICTURES[name]()


@pytest.mark.parametrize("name", PICTURES)
def test_any_picture_gives_candidates_that_keep_the_contract(detector: RegionDetector, name: str) -> None:
    image = _picture(name)
    assert image.mode == "RGB"
    before = image.tobytes() if image.width < 1000 > image.height else b""
    (candidates,) = detector.detect([image], [_WANTED[0]])
    assert len(candidates) <= _K
    scores = [candidate.score for candidate in candidates]
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert all(type(score) is float for score in scores)
    for candidate in candidates:
        x0, y0, x1, y1 = candidate.box
        assert 0.0 <= x0 < x1 <= image.width
        assert 0.0 <= y0 < y1 <= image.height
        assert all(type(value) is float for value in candidate.box)
        assert candidate.label
    assert not before or image.tobytes() == before, "the picture is not changed"


@pytest.mark.parametrize("name", PICTURES)
def test_any_picture_gets_a_core_region_with_its_reason(detector: RegionDetector, name: str) -> None:
    image = _picture(name)
    (candidates,) = detector.detect([image], [_WANTED[0]])
    core = make_chooser(RegionsConfig()).choose(candidates, image.size, _WANTED[0])
    assert isinstance(core, CoreRegion)
    x0, y0, x1, y1 = core.box
    assert 0.0 <= x0 < x1 <= image.width
    assert 0.0 <= y0 < y1 <= image.height
    assert core.reason
    assert candidates or core.box == (0.0, 0.0, image.width, image.height)


def test_n_in_is_n_out_in_order_and_equal_alone_and_together(detector: RegionDetector) -> None:
    small = [_picture(name) for name in PICTURES]
    images = [image for image in small if max(image.size) < 1000]
    wanted = [_WANTED[index % len(_WANTED)] for index in range(len(images))]
    together = detector.detect(images, wanted)
    assert len(together) == len(images)
    alone = [detector.detect([image], [words])[0] for image, words in zip(images, wanted, strict=True)]
    assert together == alone
    assert detector.detect(images[::-1], wanted[::-1]) == together[::-1]
    assert detector.detect([], []) == []


def test_a_detector_and_its_answer_are_picklable(detector: RegionDetector) -> None:
    image = _object()
    found = detector.detect([image], [_WANTED[0]])
    again = pickle.loads(pickle.dumps(detector))  # noqa: S301 - our own bytes, as the process pool sends them
    assert again.digest == detector.digest
    assert again.detect([image], [_WANTED[0]]) == found
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own bytes


def test_words_that_are_not_in_the_prompt_change_nothing(detector: RegionDetector) -> None:
    """Candidates are filed under the prompt: equal prompts must mean equal answers."""
    image = _object()
    more = Wanted("Red Mug", ("Home", "Mugs"), (("colour", ("red",)),))
    assert detector.prompt(more) == detector.prompt(_WANTED[0])
    assert detector.detect([image], [more]) == detector.detect([image], [_WANTED[0]])
    assert detector.prompt(NOTHING_KNOWN) == ""


def test_every_digest_is_a_detector_of_its_own(folder: Path) -> None:
    digests = {
        make_detector(bare(**settings, num_candidates=count), folder).digest
        for settings in BACKENDS.values()
        for count in (_K, _K + 1)
    }
    # `none` finds as many whatever it is asked for.
    assert len(digests) == 2 * len(BACKENDS) - 1


def test_what_the_catalogue_decodes_is_upright_on_white_and_eight_bit() -> None:
    assert _turned().size == (60, 120)
    assert _transparent().getpixel((0, 0)) == (255, 255, 255)
    assert _sixteen_bit().getpixel((0, 0)) == (233, 233, 233)
    with pytest.raises(ImageError, match="bomb"):
        Photo(ref="file", data=_png((20_000, 300))).load(ImageLimits(max_pixels=1_000_000))


def _png(size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("1", size).save(stream, "PNG")
    return stream.getvalue()
