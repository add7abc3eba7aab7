"""Weights folders with a damaged file: the file and what is wrong in it are named, and nothing loads by accident."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, models

from catalog import ModelError
from models.backbones import composed, qwen3_vl
from models.weights import check_config, read_config
from tests.models import composed_models, qwen_models
from tests.models.qwen_models import SPECIAL, STORED, VOCAB
from tests.models.test_backbone_composed_weights import write_folders
from tests.models.test_backbone_qwen_weights import write_folder

KIND = "qwen3_vl"


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole folder of each kind, to be copied: writing them takes seconds."""
    place = tmp_path_factory.mktemp("published")
    write_folder(place / "qwen", KIND)
    write_folders(place / "composed")
    return place


@pytest.fixture
def qwen(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published / "qwen", tmp_path / "qwen"))


@pytest.fixture
def parts(published: Path, tmp_path: Path) -> tuple[Path, Path]:
    place = Path(shutil.copytree(published / "composed", tmp_path / "composed"))
    return place / "language", place / "vision"


def load_qwen(folder: Path, **changes: Any) -> Any:
    return qwen3_vl.load(qwen_models.config(KIND, weights=str(folder), **changes))


def load_composed(parts: tuple[Path, Path], **changes: Any) -> Any:
    return composed.load(composed_models.config(language=str(parts[0]), vision=str(parts[1]), **changes))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "no json",
        '{"image_mean": 0.5}',
        '{"image_mean": [0.5], "image_std": [0.5]}',
        '{"image_std": [0, 0, 0]}',
        '{"image_std": [1, 1, -1]}',
        '{"image_mean": [0.5, 0.5, NaN]}',
        '{"image_std": [1, 1, Infinity]}',
        '{"image_mean": ["a", 0.5, 0.5]}',
        '{"image_mean": [true, 0.5, 0.5]}',
        '{"image_mean": []}',
    ],
)
def test_statistics_of_pixels_must_be_three_numbers(text: str, qwen: Path) -> None:
    path = qwen / "preprocessor_config.json"
    path.write_text(text)
    for use in (load_qwen, lambda folder: qwen3_vl.layout(qwen_models.config(KIND, weights=str(folder)), None)):
        with pytest.raises(ModelError) as caught:
            use(qwen)
        assert caught.value.where == str(path)
        assert caught.value.fix


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"text_config": {"hidden_size": "big"}}, "'hidden_size' expected int, got str"),
        ({"vision_config": {"patch_size": 0}}, "vision_config.patch_size 0"),
        ({"vision_config": {"spatial_merge_size": -1}}, "vision_config.spatial_merge_size -1"),
        ({"text_config": {"num_hidden_layers": 0}}, "text_config.num_hidden_layers 0"),
        ({"text_config": []}, ""),
    ],
)
def test_a_configuration_that_its_class_does_not_take_names_the_file(
    changes: dict[str, Any], got: str, qwen: Path
) -> None:
    path = qwen / "config.json"
    for name, change in changes.items():
        edit(path, **{name: STORED[KIND][name] | change if isinstance(change, dict) else change})
    for use in (load_qwen, lambda folder: qwen3_vl.layout(qwen_models.config(KIND, weights=str(folder)), None)):
        with pytest.raises(ModelError, match="configuration of the weights cannot be used") as caught:
            use(qwen)
        assert caught.value.where == str(path)
        assert got in caught.value.got


def test_values_that_only_the_model_itself_refuses_name_the_weights(qwen: Path, parts: tuple[Path, Path]) -> None:
    change = {"hidden_act": "gelly"}  # its class takes any name
    stored = json.loads((qwen / "config.json").read_text())
    edit(qwen / "config.json", text_config=stored["text_config"] | change)
    edit(parts[0] / "config.json", **change)
    for load in (lambda: load_qwen(qwen), lambda: load_composed(parts)):
        with pytest.raises(ModelError) as caught:
            load()
        assert "config.json" in str(caught.value.where)
        assert "gelly" in str(caught.value.got)
        assert caught.value.fix


def test_a_language_models_configuration_names_the_file(parts: tuple[Path, Path]) -> None:
    edit(parts[0] / "config.json", hidden_size="x")
    with pytest.raises(ModelError, match="configuration of the weights cannot be used") as caught:
        load_composed(parts)
    assert caught.value.where == str(parts[0] / "config.json")


@pytest.mark.parametrize(
    ("changes", "problem", "said"),
    [
        ({"model_args": {"junk": 1}}, "cannot be built from its arguments", "junk"),
        ({"model_args": {"block_args": 3}}, "cannot be built from its arguments", "block_args"),
        ({"model_args": [1]}, "cannot be used", "[1]"),
        ({"pretrained_cfg": [1]}, "cannot be used", "[1]"),
        ({"pretrained_cfg": {"mean": None}}, "pixels cannot be used", "mean None"),
        ({"pretrained_cfg": {"std": [0, 0, 0]}}, "pixels cannot be used", "deviation [0, 0, 0]"),
        ({"architecture": f"{composed_models.CONV}x"}, "not a vision tower's", f"{composed_models.CONV}x"),
        ({"architecture": "hf-hub:own/er"}, "not a vision tower's", "hf-hub:own/er"),
    ],
)
def test_a_towers_configuration_says_what_is_wrong(
    changes: dict[str, Any], problem: str, said: str, parts: tuple[Path, Path]
) -> None:
    edit(parts[1] / "config.json", **changes)
    with pytest.raises(ModelError, match=problem) as caught:
        load_composed(parts)
    assert said in caught.value.got + caught.value.where
    assert "config.json" in caught.value.where or str(parts[1]) in caught.value.where
    assert "model.composed.vision" in caught.value.fix


def test_a_side_that_a_tower_does_not_take_is_still_told() -> None:
    spec = composed_models.spec(composed_models.VIT)
    with pytest.raises(ModelError, match="cannot take pictures of this side") as caught:
        composed.fresh(composed_models.config(image_side_px=97), VOCAB, spec)
    assert caught.value.where == "model.image_side_px"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_name_tensor_and_file(value: float, qwen: Path, parts: tuple[Path, Path]) -> None:
    for folder, name, load in (
        (qwen, "model.language_model.layers.0.mlp.up_proj.weight", lambda: load_qwen(qwen)),
        (parts[0], "model.layers.1.mlp.up_proj.weight", lambda: load_composed(parts)),
        (parts[1], "conv_stem.weight", lambda: load_composed(parts)),
    ):
        path = folder / "model.safetensors"
        kept = load_file(path)
        changed = {key: tensor.clone() for key, tensor in kept.items()}
        changed[name].view(-1)[0] = value
        save_file(changed, path)
        with pytest.raises(ModelError, match="not finite") as caught:
            load()
        assert caught.value.where == str(path)
        assert caught.value.got == name.removeprefix("model.")
        save_file(kept, path)


def test_of_shards_the_one_with_the_fault_is_named(qwen: Path) -> None:
    tensors = load_file(qwen / "model.safetensors")
    (qwen / "model.safetensors").unlink()
    bad = "model.language_model.norm.weight"
    tensors[bad] = tensors[bad] * float("nan")
    shards = {name: f"model-0000{1 + (name == bad)}-of-00002.safetensors" for name in tensors}
    for shard in set(shards.values()):
        save_file({name: tensor for name, tensor in tensors.items() if shards[name] == shard}, qwen / shard)
    (qwen / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelError, match="not finite") as caught:
        load_qwen(qwen)
    assert caught.value.where == str(qwen / "model-00002-of-00002.safetensors")


@pytest.mark.parametrize(("keep_layers", "counted", "told"), [(None, 1, True), (1, 2, True), (1, 3, False)])
def test_a_checkpoint_deeper_than_config_json_is_another_models(
    keep_layers: int | None, counted: int, told: bool, parts: tuple[Path, Path]
) -> None:
    edit(parts[0] / "config.json", num_hidden_layers=counted)
    if not told:
        backbone, _ = load_composed(parts, keep_layers=keep_layers)
        assert len(backbone.decoder_layers()) == keep_layers
        assert "num_stored_layers" not in backbone.spec()["language"]
        return
    with pytest.raises(ModelError, match="do not fit their config") as caught:
        load_composed(parts, keep_layers=keep_layers)
    assert f"unknown: model.layers.{counted}." in caught.value.got


@pytest.mark.parametrize(("keep_layers", "counted", "told"), [(None, 2, True), (2, 3, True), (2, 4, False)])
def test_a_vision_language_checkpoint_deeper_than_config_json(
    keep_layers: int | None, counted: int, told: bool, qwen: Path
) -> None:
    edit(qwen / "config.json", text_config=STORED[KIND]["text_config"] | {"num_hidden_layers": counted})
    if not told:
        backbone, _ = load_qwen(qwen, keep_layers=keep_layers)
        assert len(backbone.decoder_layers()) == keep_layers
        assert "num_stored_layers" not in backbone.spec()["model"]["text_config"]
        return
    with pytest.raises(ModelError, match="do not fit their config") as caught:
        load_qwen(qwen, keep_layers=keep_layers)
    assert f"unknown: model.language_model.layers.{counted}." in caught.value.got


def test_picture_tokens_in_another_order_than_config_json_are_refused(qwen: Path) -> None:
    made = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB - len(SPECIAL))}, unk_token="w0"))
    made.add_special_tokens([AddedToken(token, special=True) for token in reversed(SPECIAL)])
    made.save(str(qwen / "tokenizer.json"))
    with pytest.raises(ModelError, match="tokenizer and configuration disagree") as caught:
        load_qwen(qwen)
    assert caught.value.where == f"image_token_id of config.json in {qwen}"
    assert "which is <|vision_start|>" in caught.value.got


@pytest.mark.parametrize("text", ["{}", "", "no json"])
def test_a_tokenizer_that_cannot_be_read_has_a_way_out(text: str, qwen: Path) -> None:
    (qwen / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match="tokenizer cannot be read") as caught:
        load_qwen(qwen)
    assert caught.value.where == str(qwen / "tokenizer.json")
    assert "copy it once more" in caught.value.fix


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_whole_configurations_pass_and_stay_as_they_are(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(STORED[kind]))
    assert read_config(tmp_path) == STORED[kind]
    given = json.loads(json.dumps(STORED[kind]))
    check_config(given, "here", "")
    assert given == STORED[kind]
    check: Callable[..., None] = check_config
    check({"model_type": "no-such-model", "hidden_size": "x"}, "here", "")


def test_published_configurations_pass() -> None:
    from models.backbones.describe import PUBLISHED

    found = sorted(PUBLISHED.glob("*.json"))
    assert found
    for path in found:
        check_config(json.loads(path.read_text())["model"], str(path), "")


def test_the_test_folders_are_whole(qwen: Path, parts: tuple[Path, Path]) -> None:
    assert torch.isfinite(next(load_qwen(qwen)[0].parameters())).all()
    assert load_composed(parts)[1].get_vocab_size() == VOCAB
