"""Where weights come from: nothing fetched, nothing unpickled, no code of others run, unless asked."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from catalog import ModelError
from tests.rivals.tiny import ENCODERS, FOLDERS, tokenizer
from validation.rivals.folders import check_folder, find_folder, folder_digest, from_disk_alone, num_weight_bytes
from validation.rivals.placement import place


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("kind", [*FOLDERS])
def test_a_hub_id_that_is_not_in_the_cache_is_refused_without_the_network(kind: str) -> None:
    with pytest.raises(ModelError, match="nothing is fetched unasked") as caught:
        ENCODERS[kind]("owner/model")
    assert "--fetch" in caught.value.fix
    assert "hf download owner/model" in caught.value.fix


def test_a_hub_id_in_the_cache_is_its_snapshot(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--owner--model"
    commit = "0123456789" * 4
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = FOLDERS["clip"](repository / "snapshots" / commit)
    assert find_folder("owner/model").resolve() == snapshot.resolve()
    assert ENCODERS["clip"]("owner/model", device="cpu").dims == 8


@pytest.mark.parametrize("name", ["no/such/folder", "../x", "a b/c", "model"])
def test_what_is_neither_folder_nor_hub_id_is_said_to_be_so(name: str) -> None:
    with pytest.raises(ModelError, match="no model there"):
        find_folder(name)


@pytest.mark.parametrize("kind", [*FOLDERS])
def test_a_folder_without_safetensors_is_refused_and_a_pickle_is_not_opened(kind: str, tmp_path: Path) -> None:
    folder = FOLDERS[kind](tmp_path / kind)
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors") as caught:
        ENCODERS[kind](folder)
    assert "pytorch_model.bin" in caught.value.got


def test_open_clip_reads_the_safetensors_even_where_it_would_prefer_a_pickle(tmp_path: Path) -> None:
    folder = FOLDERS["open_clip"](tmp_path / "model")
    before = ENCODERS["open_clip"](folder, device="cpu").read_texts(["hat"])
    (folder / "open_clip_model.safetensors").rename(folder / "model.safetensors")
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"not even a pickle")
    assert (ENCODERS["open_clip"](folder, device="cpu").read_texts(["hat"]) == before).all()


def test_a_part_with_a_pickle_alone_is_refused_though_other_parts_have_safetensors(tmp_path: Path) -> None:
    folder = FOLDERS["st"](tmp_path / "st")
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    shape = {"in_features": 16, "out_features": 8, "bias": False, "activation_function": "torch.nn.Identity"}
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text(json.dumps(shape))
    torch.save({"linear.weight": torch.ones(8, 16)}, folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="a part of the model has no safetensors") as caught:
        ENCODERS["st"](folder)
    assert caught.value.got == "2_Dense/pytorch_model.bin"
    save_file({"linear.weight": torch.ones(8, 16)}, folder / "2_Dense" / "model.safetensors")
    assert ENCODERS["st"](folder, device="cpu").dims == 8


def test_code_of_the_model_is_fetched_and_in_the_digest_only_where_it_may_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def snapshot(_: str, *, local_files_only: bool, allow_patterns: list[str]) -> str:
        assert not local_files_only
        asked.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    find_folder("owner/name", fetch=True)
    find_folder("owner/name", fetch=True, code=True)
    assert ["*.py" in patterns for patterns in asked] == [False, True]

    folder = FOLDERS["st"](tmp_path / "st")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "custom_st.Words"
    (folder / "modules.json").write_text(json.dumps(modules))
    source = (
        "from sentence_transformers.sentence_transformer.modules import Transformer\nclass Words(Transformer): {}\n"
    )
    digests = set()
    for body in ("pass", "more = 1"):
        (folder / "custom_st.py").write_text(source.format(body))
        digests.add(ENCODERS["st"](folder, device="cpu", trust_remote_code=True).digest)
    assert len(digests) == 2


def test_code_that_another_library_would_run_does_not_keep_open_clip_from_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FOLDERS["open_clip"](tmp_path / "open_clip")
    tokenizer().save_pretrained(folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "owner/tokenizer"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    theirs = {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"}}
    (folder / "config.json").write_text(json.dumps(theirs))
    (folder / "theirs.py").write_text("raise SystemExit('their code ran')")

    def ask(*_: object) -> str:
        raise AssertionError("the user was asked at the terminal")

    monkeypatch.setattr("builtins.input", ask)
    assert ENCODERS["open_clip"](folder, device="cpu").read_texts(["red hat"]).shape == (1, 8)


@pytest.mark.parametrize("kind", ["clip", "text", "st", "open_clip"])
def test_a_model_with_code_of_its_own_is_refused_unless_asked(kind: str, tmp_path: Path) -> None:
    folder = FOLDERS[kind](tmp_path / kind)
    name = {"st": "config.json", "open_clip": "open_clip_config.json"}.get(kind, "config.json")
    content = json.loads((folder / name).read_text())
    content["auto_map"] = {"AutoModel": "theirs.Model"}
    (folder / name).write_text(json.dumps(content))
    (folder / "theirs.py").write_text("raise SystemExit('their code ran')")
    with pytest.raises(ModelError, match="Python code of its own") as caught:
        ENCODERS[kind](folder)
    assert "--trust-remote-code" in caught.value.fix


def test_code_named_deep_in_a_configuration_is_code_too(tmp_path: Path) -> None:
    folder = FOLDERS["clip"](tmp_path / "clip")
    content = json.loads((folder / "config.json").read_text())
    content["towers"] = [{"text": {"auto_map": {"AutoModel": "theirs.Model"}}}]
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="Python code of its own"):
        ENCODERS["clip"](folder)


def test_modules_of_a_package_other_than_the_library_are_code_too(tmp_path: Path) -> None:
    folder = FOLDERS["st"](tmp_path / "st")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "custom_st.Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=r"Python code of its own"):
        ENCODERS["st"](folder)
    assert check_folder(folder, configs=("modules.json",), trust_remote_code=True) == {}


@pytest.mark.parametrize(("kind", "other"), [("clip", "text"), ("clip", "vision"), ("open_clip", "clip")])
def test_a_folder_of_another_kind_is_refused_by_name(kind: str, other: str, tmp_path: Path) -> None:
    folder = FOLDERS[other](tmp_path / other)
    with pytest.raises(ModelError) as caught:
        ENCODERS[kind](folder)
    assert str(folder) in caught.value.where


@pytest.mark.parametrize("kind", ["clip", "text", "vision", "open_clip", "st"])
def test_damaged_weights_are_a_model_error(kind: str, tmp_path: Path) -> None:
    folder = FOLDERS[kind](tmp_path / kind)
    for path in folder.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:64])
    with pytest.raises(ModelError, match="cannot be loaded"):
        ENCODERS[kind](folder)


@pytest.mark.parametrize("content", ["", "[1", "\x00"])
def test_a_damaged_configuration_is_a_model_error(content: str, tmp_path: Path) -> None:
    folder = FOLDERS["clip"](tmp_path / "clip")
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match="configuration cannot be read"):
        ENCODERS["clip"](folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match="no configuration"):
        ENCODERS["clip"](folder)


def test_a_second_repository_that_a_configuration_names_is_not_fetched(tmp_path: Path) -> None:
    folder = FOLDERS["open_clip"](tmp_path / "model")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] = {"hf_model_name": "owner/text-tower", "hf_tokenizer_name": "owner/text-tower"}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot be loaded"):
        ENCODERS["open_clip"](folder)


def test_the_hub_is_switched_on_again_afterwards(tmp_path: Path) -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with from_disk_alone("model", tmp_path):
        assert constants.HF_HUB_OFFLINE
    with pytest.raises(ModelError), from_disk_alone("model", tmp_path):
        raise ValueError("x")
    assert before == constants.HF_HUB_OFFLINE


def test_digest_and_bytes_are_those_of_the_files_that_count(tmp_path: Path) -> None:
    folder = FOLDERS["clip"](tmp_path / "clip")
    digest = folder_digest(folder)
    (folder / "README.md").write_text("words")
    assert folder_digest(folder) == digest
    assert folder_digest(Path(shutil.copytree(folder, tmp_path / "copy"))) == digest
    assert num_weight_bytes(folder) == (folder / "model.safetensors").stat().st_size
    (folder / "tokenizer_config.json").write_text("{}")
    assert folder_digest(folder) != digest


def test_places_are_named_as_torch_names_them() -> None:
    assert place("cpu", "bf16") == (torch.device("cpu"), torch.bfloat16)
    for device, dtype, message in (("tpu9", "fp32", "no such device"), ("cpu", "int8", "no such number format")):
        with pytest.raises(ModelError, match=message):
            place(device, dtype)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="device is not there"):
        place("cuda:99", "fp32")
