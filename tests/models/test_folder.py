"""Model folders: equal after save and load, refused with a reason when damaged, never half-written."""

from __future__ import annotations

import errno
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from catalog import ImageError, ModelError, Photo, Product, ProductItem, QueryItem, StorageError
from models import folder as folders
from models.encoder import MoonEncoder
from models.folder import read_model_folder, write_model_folder
from models.moon import MoonModel
from models.pictures import PictureMaker
from models.processor import Processor
from models.regions import CoreRegions, OpenVocabularyConfig, RegionsConfig, YoloConfig, make_chooser, make_detector
from models.regions.yolo import load_model_yaml, ultralytics_tasks
from models.regions.yolo_world import EMBEDDINGS, NAMES
from models.tokenizer import train_tokenizer
from tests.models import shop

TOKENIZER = train_tokenizer(["lovely red mug", "box", "Home > Mug"], 320)


def _encoder(**changes: object) -> MoonEncoder:
    config = shop.tiny_model(**changes)
    model = MoonModel.seeded(config, TOKENIZER.get_vocab_size(), seed=2)
    return MoonEncoder(model, Processor.of(TOKENIZER, config, PictureMaker(32, shop.regions())), "digest")


def _write(place: Path, encoder: MoonEncoder) -> str:
    return write_model_folder(
        place, encoder.model, TOKENIZER, shop.REGIONS, shop.regions().digest, {"commit": "abc", "data": "def"}
    )


def _items() -> list[ProductItem]:
    def item(key: str, photos: int, title: str | None) -> ProductItem:
        refs = tuple(f"{key}-{number}" for number in range(photos))
        product = Product(product_id=key, group_id=key, title=title, category=("Home", "Mug"), images=refs)
        return ProductItem(product, tuple(shop.photo_of(shop.noise(zlib.crc32(ref.encode())), ref) for ref in refs))

    return [
        item("both", 2, "lovely red mug"),
        item("short", 1, "box"),
        item("long", 2, "lovely red mug box " * 9),
        item("words", 0, "red"),
        item("photo", 1, None),
    ]


def test_loaded_equals_saved(tmp_path: Path) -> None:
    ours = _encoder()
    digest = _write(tmp_path / "model", ours)
    theirs = MoonEncoder.load(tmp_path / "model")
    assert np.array_equal(ours.embed_products(_items()), theirs.embed_products(_items()))
    assert theirs.digest == digest
    assert theirs.lineage == {"commit": "abc", "data": "def"}
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "lineage.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_the_digest_covers_what_moves_vectors_and_not_the_lineage(tmp_path: Path) -> None:
    encoder = _encoder()
    first = _write(tmp_path / "a", encoder)
    again = write_model_folder(tmp_path / "b", encoder.model, TOKENIZER, shop.REGIONS, shop.regions().digest, {})
    assert first == again
    with torch.no_grad():
        encoder.model.head.project.weight[0, 0] += 1e-3
    assert _write(tmp_path / "c", encoder) != first


def test_a_vector_does_not_depend_on_its_batch() -> None:
    encoder = _encoder()
    items = _items()
    together = encoder.embed_products(items)
    alone = np.concatenate([_encoder().embed_products([item]) for item in items])
    in_pairs = _encoder()
    in_pairs.batch_size = 2
    for other in (alone, in_pairs.embed_products(items), encoder.embed_products(items[::-1])[::-1]):
        assert float((together * other).sum(axis=1).min()) >= 0.99999
    assert np.array_equal(together, encoder.embed_products(items))


def test_padding_leaves_nothing_behind() -> None:
    encoder = _encoder()
    short, long = _items()[1], _items()[2]
    alone = encoder.processor.collate([encoder.processor.product(short)])
    padded = encoder.processor.collate([encoder.processor.product(short), encoder.processor.product(long)])
    assert padded.ids_BL.shape[1] > alone.ids_BL.shape[1]
    with torch.inference_mode():
        one, two = encoder.model(alone)[0], encoder.model(padded)[0]
    assert torch.allclose(one, two, atol=1e-5)


def test_every_vector_is_of_unit_length_and_in_order() -> None:
    encoder = _encoder()
    items = _items()
    vectors = encoder.embed_products(item for item in items)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert np.allclose(encoder.embed_products(items[2:3])[0], vectors[2], atol=1e-5)
    assert encoder.embed_products([]).shape == (0, 24)
    assert encoder.embed_labels([]).shape == (0, 24)


def test_hiding_moves_the_vector_only_where_the_field_is() -> None:
    encoder = _encoder()
    items = _items()
    seen, hidden = encoder.embed_products(items), encoder.embed_products(items, frozenset(("title",)))
    moved = np.abs(seen - hidden).max(axis=1)
    assert (moved[:4] > 1e-4).all()
    assert moved[4] < 1e-6


def test_query_of_words_photo_and_both_differ() -> None:
    photo = shop.photo_of(shop.noise(3))
    queries = [QueryItem("a", "red mug", None), QueryItem("b", None, photo), QueryItem("c", "red mug", photo)]
    vectors = _encoder().embed_queries(queries)
    assert np.abs(vectors @ vectors.T - np.eye(3)).max() < 0.9999


def test_a_broken_photo_names_its_product() -> None:
    item = ProductItem(
        Product(product_id="torn", group_id="torn", images=("x.png",)), (Photo(ref="x.png", data=b"\x89PNG nothing"),)
    )
    with pytest.raises(ImageError, match="torn"):
        _encoder().embed_products([item])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "lineage.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    _write(tmp_path / "model", _encoder())
    (tmp_path / "model" / name).unlink()
    with pytest.raises(ModelError, match=name):
        read_model_folder(tmp_path / "model")


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "model", _encoder())
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(ModelError, match="schema version"):
        read_model_folder(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.pop("head.residuals.vision.gate"), "missing: head.residuals.vision.gate"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "unknown: extra"),
        (
            lambda tensors: tensors.update({"head.residuals.vision.gate": torch.zeros(2)}),
            r"head.residuals.vision.gate: \(2,\) instead of \(\)",
        ),
        (lambda tensors: tensors["head.residuals.vision.gate"].fill_(float("nan")), "not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, change, told: str) -> None:  # type: ignore[no-untyped-def]
    _write(tmp_path / "model", _encoder())
    path = tmp_path / "model" / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(ModelError, match=told):
        read_model_folder(tmp_path / "model")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    _write(tmp_path / "model", _encoder())
    (tmp_path / "model" / name).write_bytes(b"\x80\x04garbage")
    with pytest.raises(ModelError, match="cannot be read"):
        read_model_folder(tmp_path / "model")


def test_another_detector_is_refused(tmp_path: Path) -> None:
    encoder = _encoder()
    write_model_folder(tmp_path / "model", encoder.model, TOKENIZER, shop.REGIONS, "other detector", {})
    with pytest.raises(ModelError, match="core regions are found differently"):
        MoonEncoder.load(tmp_path / "model")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_nothing_is_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    encoder = _encoder()
    _write(tmp_path / "model", encoder)
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}

    def fail(*args: object) -> None:
        raise OSError(code, "injected")

    monkeypatch.setattr(folders, "folder_digest", fail)
    with pytest.raises(StorageError, match="injected"):
        _write(tmp_path / "model", encoder)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_picture_of_any_size_is_one_picture() -> None:
    encoder = _encoder()
    sizes = [(1, 1), (3, 200), (200, 3), (48, 48)]
    queries = [QueryItem(str(size), None, shop.photo_of(Image.new("RGB", size, (9, 99, 9)))) for size in sizes]
    assert encoder.embed_queries(queries).shape == (4, 24)


def test_asking_for_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    _write(tmp_path / "model", _encoder())
    with pytest.raises(ModelError, match="GPU"):
        MoonEncoder.load(tmp_path / "model", device="cuda")


def test_a_model_takes_its_detector_along(tmp_path: Path) -> None:
    weights = tmp_path / "elsewhere" / "weights.safetensors"
    weights.parent.mkdir()
    network = ultralytics_tasks().DetectionModel(load_model_yaml("yolo26n.yaml"), ch=3, verbose=False)
    save_file({name: value.clone().contiguous() for name, value in network.state_dict().items()}, weights)
    weights.with_suffix(".yaml").write_text(yaml.safe_dump(load_model_yaml("yolo26n.yaml")))
    regions = RegionsConfig(backend="yolo", yolo=YoloConfig(weights=str(weights), side_px=64))
    found = CoreRegions(make_detector(regions), make_chooser(regions))
    ours = _encoder()
    write_model_folder(tmp_path / "model", ours.model, TOKENIZER, regions, found.digest, {})
    weights.unlink()
    weights.with_suffix(".yaml").unlink()
    stored = json.loads((tmp_path / "model" / "config.json").read_text())
    assert stored["regions"]["yolo"]["weights"] == "detector.safetensors"
    theirs = MoonEncoder.load(tmp_path / "model")
    assert theirs.embed_products(_items()).shape == (5, theirs.dims)


def test_a_model_takes_the_bundled_detector_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ultralytics_tasks().DetectionModel(load_model_yaml("yolo26n.yaml"), ch=3, verbose=False)
    tensors = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, tmp_path / "product.safetensors")
    (tmp_path / "product.yaml").write_text(yaml.safe_dump(load_model_yaml("yolo26n.yaml")))
    monkeypatch.setattr("models.regions.yolo.BUNDLED_WEIGHTS", tmp_path / "product.safetensors")
    regions = RegionsConfig(backend="yolo", yolo=YoloConfig(side_px=64))
    found = CoreRegions(make_detector(regions), make_chooser(regions))
    ours = _encoder()
    write_model_folder(tmp_path / "model", ours.model, TOKENIZER, regions, found.digest, {})
    # A later version of the package bundles other weights: the model keeps its own.
    monkeypatch.setattr("models.regions.yolo.BUNDLED_WEIGHTS", tmp_path / "absent.safetensors")
    theirs = MoonEncoder.load(tmp_path / "model")
    assert theirs.embed_products(_items()).shape == (5, theirs.dims)


def test_a_model_takes_an_open_vocabulary_of_one_file_along(tmp_path: Path) -> None:
    weights = tmp_path / "elsewhere" / "world.safetensors"
    weights.parent.mkdir()
    content = load_model_yaml("yolov8n-worldv2.yaml", heads=("WorldDetect",))
    network = ultralytics_tasks().WorldModel(content, ch=3, verbose=False)
    state = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    save_file(state | {EMBEDDINGS: torch.randn(1, 512)}, weights, {NAMES: json.dumps(["mug"])})
    section = OpenVocabularyConfig(weights=str(weights), model_yaml="yolov8n-worldv2.yaml", side_px=64, device="cpu")
    regions = RegionsConfig(backend="open_vocabulary", open_vocabulary=section)
    found = CoreRegions(make_detector(regions), make_chooser(regions))
    write_model_folder(tmp_path / "model", _encoder().model, TOKENIZER, regions, found.digest, {})
    weights.unlink()
    stored = json.loads((tmp_path / "model" / "config.json").read_text())
    assert stored["regions"]["open_vocabulary"]["weights"] == "detector.safetensors"
    assert MoonEncoder.load(tmp_path / "model", device="cpu").embed_products(_items()).shape[0] == 5
