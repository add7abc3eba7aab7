"""The `moon` command: help that teaches, errors without a traceback, status codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from moon.cli import app
from moon.commands.doctor import SWITCHES, locked_versions, telemetry
from moon.commands.setup import BEGIN, END, write_switches
from moon.quiet import QUIET

RUNNER = CliRunner()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "images" / "a.png")
    rows = [
        {"product_id": "a", "title": "Red thing", "category": ["Things", "Red"], "images": ["images/a.png"]},
        {"product_id": "b", "title": "Blue thing", "attributes": {"colour": "blue"}, "images": ["images/b.png"]},
    ]
    (tmp_path / "products.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "words", [[], ["setup"], ["doctor"], ["runs"], ["serve"], ["check-config"], ["data", "inspect"]]
)
def test_help_teaches_by_example(words: list[str]) -> None:
    done = RUNNER.invoke(app, [*words, "--help"])
    assert done.exit_code == 0
    assert ("Example: moon" if words else "zenml pipeline run train_moon") in " ".join(done.output.split())


def test_inspect_shows_rows_and_bad_photos(shop: Path) -> None:
    done = RUNNER.invoke(app, ["data", "inspect", str(shop)])
    assert done.exit_code == 0, done.output
    assert "products     2 in 2 groups" in done.output
    assert "2, 1 cannot be used" in done.output
    assert "bad image: images/b.png" in done.output
    assert "colour 1" in done.output


def test_a_user_error_is_short_and_ends_with_status_one(tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["data", "inspect", str(tmp_path / "nowhere")])
    assert done.exit_code == 1
    assert "does not exist" in done.output
    assert "fix:" in done.output
    assert "Traceback" not in done.output


def test_check_config_names_the_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("parameters:\n  config:\n    train: {stepz: 3}\n", encoding="utf-8")
    done = RUNNER.invoke(app, ["check-config", str(path)])
    assert done.exit_code == 1
    assert "did you mean `steps`?" in done.output
    path.write_text("parameters:\n  config:\n    train: {steps: 3}\n", encoding="utf-8")
    done = RUNNER.invoke(app, ["check-config", str(path)])
    assert done.exit_code == 0, done.output


def test_check_config_refuses_an_unknown_pipeline(tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["check-config", str(tmp_path / "x.yaml"), "--pipeline", "train_mono"])
    assert done.exit_code == 1
    assert "train_moon" in done.output


def test_switches_are_written_once_and_renewed(tmp_path: Path) -> None:
    script = tmp_path / "activate"
    script.write_text("export VIRTUAL_ENV=x", encoding="utf-8")
    assert write_switches(script)
    first = script.read_text()
    assert first.startswith("export VIRTUAL_ENV=x\n")
    assert all(f"export {name}={value}" in first for name, value in QUIET.items())
    assert not write_switches(script)
    script.write_text(first.replace("YOLO_OFFLINE=true", "YOLO_OFFLINE=old") + "echo after\n", encoding="utf-8")
    assert write_switches(script)
    renewed = script.read_text()
    assert renewed == first + "echo after\n"
    assert renewed.count(BEGIN) == renewed.count(END) == 1


def test_doctor_reads_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("torch==2.14.1 ; sys_platform\nGreat_Expectations==1.0\n# torch==1\n", encoding="utf-8")
    assert locked_versions(lock) == {"torch": "2.14.1", "great-expectations": "1.0"}
    assert locked_versions(tmp_path / "absent") == {}


def test_doctor_sees_telemetry_that_is_on() -> None:
    quiet = {name: QUIET[name] for name in SWITCHES.values()}
    assert all(not row.mend for row in telemetry(quiet))
    by_tool = {row.what: row for row in telemetry(quiet | {"MLFLOW_DISABLE_TELEMETRY": "false"})}
    assert "on:" in by_tool["telemetry MLflow"].text
    unset = {row.what: row for row in telemetry({})}
    assert unset["telemetry BentoML"].mend
    assert not unset["telemetry ZenML"].mend


def test_every_switch_of_the_doctor_is_one_we_set() -> None:
    assert set(SWITCHES.values()) <= set(QUIET)
