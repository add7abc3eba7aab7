"""Model folders whose configuration is damaged: told with the file and the key, never filled in from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from catalog import ModelError, StorageError
from models.folder import read_model_folder, write_model_folder
from models.moon import MoonModel
from models.tokenizer import train_tokenizer
from tests.models import composed_models, qwen_models, shop
from tests.models.test_backbone_composed_weights import write_folders

TOKENIZER = train_tokenizer(["lovely red mug", "box", "Home > Mug"], 320)
DIGEST = "the detector's"


def save(place: Path, model: MoonModel, tokenizer: Any = TOKENIZER) -> Path:
    write_model_folder(place, model, tokenizer, shop.REGIONS, DIGEST, {})
    return place


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models")
    nano = shop.tiny_model()
    save(place / "nano", MoonModel.seeded(nano, TOKENIZER.get_vocab_size(), seed=0))
    words = composed_models.tokenizer()
    # Its weights folders are there: nothing of a damaged model folder may be filled in from them.
    language, vision = write_folders(place / "weights")
    config = composed_models.config(language=str(language), vision=str(vision))
    spec = composed_models.spec()
    save(place / "composed", MoonModel.seeded(config, words.get_vocab_size(), seed=0, spec=spec), words)
    config, words = qwen_models.config("qwen3_vl"), qwen_models.tokenizer()
    spec = qwen_models.spec("qwen3_vl")
    save(place / "qwen3_vl", MoonModel.seeded(config, words.get_vocab_size(), seed=0, spec=spec), words)
    return place


def edited(written: Path, kind: str, place: Path, **changes: Any) -> Path:
    shutil.copytree(written / kind, place)
    stored = json.loads((place / "config.json").read_text())
    for name, change in changes.items():
        stored[name] = change(stored[name]) if callable(change) else change
    stored = {name: value for name, value in stored.items() if value is not ...}
    (place / "config.json").write_text(json.dumps(stored))
    return place


@pytest.mark.parametrize("kind", ["nano", "composed", "qwen3_vl"])
def test_what_was_written_is_read(kind: str, written: Path) -> None:
    assert read_model_folder(written / kind).regions_digest == DIGEST


@pytest.mark.parametrize("kind", ["nano", "composed", "qwen3_vl"])
@pytest.mark.parametrize("spec", [{}, None, [], "qwen"])
def test_a_backbone_that_is_not_told_is_not_taken_from_the_weights_folder(
    kind: str, spec: Any, written: Path, tmp_path: Path
) -> None:
    folder = edited(written, kind, tmp_path / "model", backbone=spec)
    with pytest.raises(ModelError, match="does not tell its backbone") as caught:
        read_model_folder(folder)
    assert caught.value.where == str(folder / "config.json")
    assert "train again" in caught.value.fix


@pytest.mark.parametrize(
    ("kind", "part", "change", "where", "got"),
    [
        ("composed", "language", {"hidden_size": "x"}, "backbone.language", "'hidden_size' expected int"),
        ("composed", "language", {"num_hidden_layers": 0}, "backbone.language", "num_hidden_layers 0"),
        ("composed", "language", ..., "backbone", "KeyError: 'language'"),
        ("composed", "vision", ..., "backbone", "KeyError: 'vision'"),
        ("composed", "vision", {"architecture": "nope"}, "model.composed.vision", "architecture nope"),
        (
            "composed",
            "vision",
            {"architecture": "hf-hub:own/er"},
            "model.composed.vision",
            "architecture hf-hub:own/er",
        ),
        ("composed", "vision", {"args": {"junk": 1}}, "model.composed.vision", "junk"),
        ("composed", "vision", {"mean": [0.5]}, "backbone", "mean [0.5]"),
        ("composed", "vision", {"std": [0, 0, 0]}, "backbone", "deviation [0, 0, 0]"),
        ("qwen3_vl", "model", {"vision_config": {"patch_size": 0}}, "backbone.model", "vision_config.patch_size 0"),
        ("qwen3_vl", "model", ..., "backbone", "KeyError: 'model'"),
        ("qwen3_vl", "std", ..., "backbone", "KeyError: 'std'"),
    ],
)
def test_a_damaged_backbone_names_the_key(
    kind: str, part: str, change: Any, where: str, got: str, written: Path, tmp_path: Path
) -> None:
    def damage(spec: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in spec.items() if k != part} | ({} if change is ... else {part: spec[part] | change})

    folder = edited(written, kind, tmp_path / "model", backbone=damage)
    with pytest.raises(ModelError) as caught:
        read_model_folder(folder)
    assert where in caught.value.where
    assert got in caught.value.got
    assert "pictures of this side" not in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("digest", [..., None, "", 3])
def test_without_the_detectors_digest_nothing_could_be_checked(digest: Any, written: Path, tmp_path: Path) -> None:
    folder = edited(written, "nano", tmp_path / "model", regions_digest=digest)
    with pytest.raises(ModelError, match="how its core regions were found") as caught:
        read_model_folder(folder)
    assert caught.value.where == str(folder / "config.json")


def test_a_move_that_fails_leaves_the_old_model(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "model"
    shutil.copytree(written / "nano", place)
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    whole, calls = os.replace, []

    def replace(old: Any, new: Any) -> None:
        calls.append(new)
        if len(calls) == 2:
            raise OSError("second rename failed")
        whole(old, new)

    model = MoonModel.seeded(shop.tiny_model(), TOKENIZER.get_vocab_size(), seed=1)
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(StorageError, match="second rename failed"):
        save(place, model)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
