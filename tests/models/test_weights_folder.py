"""Weights at hand: whole or not, one file or shards, and whether the parts belong together."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from catalog import ModelError
from models.weights import (
    check_architecture,
    check_manifest,
    check_pair,
    folder_digest,
    missing_files,
    read_manifest,
    read_safetensors,
    weights_folder,
    weights_root,
)
from models.weights.folder import CONFIG, INDEX, WEIGHTS
from models.weights.manifest import MANIFEST, file_sha256, write_manifest
from models.weights.pair import NEEDED_TOKENS, vocabulary_rows

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def folder(root: Path) -> Path:
    """`smollm2-135m` under the root, as if fetched; its one tensor is small."""
    place = root / "smollm2-135m"
    place.mkdir(parents=True)
    save_file({"a": torch.arange(6.0).reshape(2, 3)}, place / WEIGHTS)
    (place / CONFIG).write_text('{"model_type": "llama"}')
    (place / "tokenizer.json").write_text("{}")
    write_manifest(place, "smollm2-135m", "Apache-2.0", {"kind": "wheel"})
    return place


def shard(place: Path) -> dict[str, torch.Tensor]:
    place.mkdir(parents=True, exist_ok=True)
    tensors = {name: torch.full((2,), float(index)) for index, name in enumerate("abc")}
    names = {"a": "model-1-of-2.safetensors", "b": "model-1-of-2.safetensors", "c": "model-2-of-2.safetensors"}
    for file in set(names.values()):
        save_file({name: tensors[name] for name in tensors if names[name] == file}, place / file)
    (place / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    (place / CONFIG).write_text("{}")
    return tensors


def test_the_root_is_the_variables_else_the_users_cache(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    assert weights_root() == root
    monkeypatch.delenv("MOON_WEIGHTS")
    assert weights_root() == Path.home() / ".cache" / "moon" / "weights"
    monkeypatch.setenv("MOON_WEIGHTS", "~/elsewhere")
    assert weights_root() == Path.home() / "elsewhere"


def test_a_name_and_a_path_lead_to_the_folder(folder: Path) -> None:
    assert weights_folder("smollm2-135m") == folder
    assert weights_folder(str(folder)) == folder
    assert torch.equal(read_safetensors(folder)["a"], torch.arange(6.0).reshape(2, 3))


def test_weights_that_are_not_here_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not at hand") as caught:
        weights_folder("efficientnet-lite0")
    assert caught.value.fix == "moon weights fetch efficientnet-lite0"
    with pytest.raises(ModelError, match="not at hand"):
        weights_folder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "tokenizer.json"])
def test_an_incomplete_folder_lists_what_is_missing(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match="incomplete") as caught:
        weights_folder("smollm2-135m")
    assert caught.value.got == f"{name} missing"
    assert caught.value.fix == "moon weights fetch smollm2-135m --force"


def test_a_file_that_was_cut_is_found_by_its_size(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-4])
    with pytest.raises(ModelError, match="incomplete") as caught:
        weights_folder("smollm2-135m")
    assert f"{WEIGHTS} has" in caught.value.got
    with pytest.raises(ModelError, match="cannot be read"):
        read_safetensors(folder)


def test_shards_are_read_together(tmp_path: Path) -> None:
    tensors = shard(tmp_path / "big")
    assert not missing_files(tmp_path / "big")
    found = read_safetensors(weights_folder(str(tmp_path / "big")))
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shard(tmp_path / "big")
    (tmp_path / "big" / "model-2-of-2.safetensors").unlink()
    with pytest.raises(ModelError, match="incomplete") as caught:
        weights_folder(str(tmp_path / "big"))
    assert caught.value.got == "model-2-of-2.safetensors missing"


def test_an_index_whose_tensors_are_in_no_shard(tmp_path: Path) -> None:
    shard(tmp_path / "big")
    save_file({"x": torch.zeros(1)}, tmp_path / "big" / "model-2-of-2.safetensors")
    with pytest.raises(ModelError, match="lack tensors") as caught:
        read_safetensors(tmp_path / "big")
    assert caught.value.got == "c"


@pytest.mark.parametrize("map_", [{}, [], {"a": "../x.safetensors"}, {"a": "x.bin"}, {"a": 3}])
def test_an_index_that_leads_elsewhere_is_refused(map_: Any, tmp_path: Path) -> None:
    shard(tmp_path / "big")
    (tmp_path / "big" / INDEX).write_text(json.dumps({"weight_map": map_}))
    with pytest.raises(ModelError, match="index of the weights"):
        weights_folder(str(tmp_path / "big"))


def test_a_changed_byte_is_found(folder: Path) -> None:
    check_manifest(folder)
    path = folder / "tokenizer.json"
    path.write_text("[]")
    assert weights_folder("smollm2-135m") == folder
    with pytest.raises(ModelError, match="not those that were fetched") as caught:
        check_manifest(folder)
    assert caught.value.got == "tokenizer.json has another SHA-256"
    assert caught.value.fix == "moon weights fetch smollm2-135m --force"


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"schema_version": 2, "files": {}}',
        '{"schema_version": 1}',
        '{"schema_version": 1, "files": {}}',
        '{"schema_version": 1, "name": "a", "licence": "", "source": [], "files": {}}',
        '{"schema_version": 1, "name": "a", "licence": "", "source": {}, "files": {"a": 1}}',
        '{"schema_version": 1, "name": "", "licence": "", "source": {}, "files": {"../a": {"bytes": 1, "sha256": ""}}}',
        '{"schema_version": 1, "name": "a", "licence": "", "source": {}, "files": {"/a": {"bytes": 1, "sha256": "0"}}}',
    ],
)
def test_a_damaged_manifest_is_told(text: str, folder: Path) -> None:
    (folder / MANIFEST).write_text(text)
    for read in (check_manifest, read_manifest, folder_digest, missing_files):
        with pytest.raises(ModelError, match="manifest"):
            read(folder)


def test_a_folder_without_a_manifest_has_nothing_to_check_against(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert read_manifest(folder) is None
    with pytest.raises(ModelError, match=r"no manifest\.json"):
        check_manifest(folder)


def test_the_digest_is_of_names_and_contents_alone(folder: Path, tmp_path: Path) -> None:
    expected = hashlib.sha256()
    for name in sorted([CONFIG, WEIGHTS, "tokenizer.json"]):
        expected.update(f"{name}\x00{file_sha256(folder / name)}\n".encode())
    assert folder_digest(folder) == expected.hexdigest()
    (folder / MANIFEST).unlink()
    assert folder_digest(folder) == expected.hexdigest()
    moved = folder.rename(tmp_path / "moved")
    assert folder_digest(moved) == expected.hexdigest()
    (moved / "tokenizer.json").write_text("[]")
    assert folder_digest(moved) != expected.hexdigest()


def test_a_file_more_changes_the_digest(folder: Path) -> None:
    before = folder_digest(folder)
    (folder / "added.json").write_text("{}")
    assert folder_digest(folder) != before


def make_tokenizer(size: int, **named: int) -> Tokenizer:
    """Words `w0` and on; an id of `named` has the token that its key of config.json stands for, if it is below size."""
    words = {f"w{index}": index for index in range(size)}
    tokens = NEEDED_TOKENS["qwen2_5_vl"] | {"smolvlm": "<image>"}
    for key, index in (PICTURE_IDS | named).items():
        if index < size:
            del words[f"w{index}"]
            words[tokens[key]] = index
    return Tokenizer(WordLevel(words, unk_token="w0"))


PICTURE_IDS = {"image_token_id": 3, "vision_start_token_id": 4, "vision_end_token_id": 5, "smolvlm": 6}


QWEN = {
    "model_type": "qwen2_5_vl",
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    **{name: index for name, index in PICTURE_IDS.items() if name != "smolvlm"},
    "text_config": {"vocab_size": 10},
}


def test_parts_that_belong_together_pass() -> None:
    check_pair(QWEN, make_tokenizer(10), "qwen2_5_vl")
    check_pair({"model_type": "llama", "vocab_size": 12}, make_tokenizer(10), "llama")


def test_weights_of_another_model_name_both() -> None:
    with pytest.raises(ModelError, match="another model") as caught:
        check_pair(QWEN, make_tokenizer(10), "qwen3_vl")
    assert caught.value.got == "qwen2_5_vl (Qwen2_5_VLForConditionalGeneration)"
    assert caught.value.allowed == "qwen3_vl"
    with pytest.raises(ModelError, match="another model") as caught:
        check_architecture({"hidden_size": 3}, "llama")
    assert "names none" in caught.value.got


def test_a_tokenizer_larger_than_the_embeddings_is_refused() -> None:
    with pytest.raises(ModelError, match="disagree") as caught:
        check_pair(QWEN, make_tokenizer(11), "qwen2_5_vl")
    assert caught.value.got == "token ids up to 10, embeddings for 10"
    added = make_tokenizer(10)
    added.add_special_tokens(["<mine>"])
    with pytest.raises(ModelError, match="disagree"):
        check_pair(QWEN, added, "qwen2_5_vl")


@pytest.mark.parametrize("model_type", sorted(NEEDED_TOKENS))
def test_every_picture_token_must_be_named_and_known(model_type: str) -> None:
    config = QWEN | {"model_type": model_type} | ({} if "qwen" in model_type else {"image_token_id": 6})
    check_pair(config, make_tokenizer(9), model_type)
    faults = {None: "not named", 9: "9, which the tokenizer does not have", -1: "-1, which the tokenizer does not have"}
    faults |= {True: "True, which is no id", 2: "2, which is w2 in the tokenizer"}
    for key, token in NEEDED_TOKENS[model_type].items():
        for value, got in faults.items():
            with pytest.raises(ModelError, match="disagree") as caught:
                check_pair(config | {key: value}, make_tokenizer(9), model_type, "/some/where")
            assert caught.value.where == f"{key} of config.json in /some/where"
            assert token in caught.value.allowed
            assert caught.value.got == got


def test_a_silent_configuration_means_its_classs_default() -> None:
    from transformers import LlamaConfig

    assert vocabulary_rows({"model_type": "llama"}) == LlamaConfig().vocab_size
    with pytest.raises(ModelError, match="how many tokens"):
        vocabulary_rows({"model_type": "no-such-model"})


def test_the_tokens_asked_for_are_those_that_the_templates_write() -> None:
    from models.backbones import qwen, smolvlm

    needed = {"image_token_id": qwen.IMAGE, "vision_start_token_id": qwen.VISION_START}
    needed["vision_end_token_id"] = qwen.VISION_END
    assert NEEDED_TOKENS["qwen2_5_vl"] == NEEDED_TOKENS["qwen3_vl"] == needed
    assert NEEDED_TOKENS["smolvlm"] == NEEDED_TOKENS["idefics3"] == {"image_token_id": smolvlm.IMAGE}


def test_a_tokenizer_much_smaller_than_the_embeddings_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    # As Qwen2.5 and DeepSeek are published: tables filled up to a round number.
    for tokens, rows in ((15_167, 15_194), (10_002, 10_240)):
        check_pair({"model_type": "llama", "vocab_size": rows}, make_tokenizer(tokens), "llama", "/some/where")
    assert not caplog.records
    check_pair({"model_type": "llama", "vocab_size": 300}, make_tokenizer(20), "llama", "/some/where")
    assert "/some/where has 20 tokens for 300 embedding rows" in caplog.text


def test_a_transformers_folder_lacks_its_tokenizer(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / WEIGHTS)
    for text, missing in (
        ('{"model_type": "llama"}', ["tokenizer.json missing"]),
        ('{"architecture": "resnet18"}', []),
        ('{"architecture": "resnet18", "model_type": "timm_wrapper"}', []),
        ("no json", []),
    ):
        (tmp_path / CONFIG).write_text(text)
        assert missing_files(tmp_path) == missing
