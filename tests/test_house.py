"""The never-rules of the house: who imports whom, and what happens at import (nothing)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("catalog", "validation", "models", "serving", "steps", "pipelines", "moon")

IMPORT_EVERYTHING = """
import importlib, pkgutil, socket, sys

def refuse(*args, **kwargs):
    raise AssertionError("the network was asked for at import")

socket.socket.connect = refuse
socket.getaddrinfo = refuse
names = []
for room in sys.argv[1:]:
    package = importlib.import_module(room)
    names += [row.name for row in pkgutil.walk_packages(package.__path__, f"{room}.") if "__main__" not in row.name]
for name in names:
    importlib.import_module(name)
assert len(names) > 10 * len(sys.argv[1:]) / 2, names
"""


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 kept, 0 broken" in done.stdout


def test_import_needs_no_network_and_leaves_no_trace(tmp_path: Path) -> None:
    home = tmp_path / "home"
    here = tmp_path / "here"
    home.mkdir()
    here.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
        "PYTHONWARNINGS": "ignore",
    }
    # A file, because ZenML looks for a source root beside the main module when a step is declared.
    script = tmp_path / "import_everything.py"
    script.write_text(IMPORT_EVERYTHING, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script, *ROOMS],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == ""
    assert done.stderr == ""
    assert sorted(here.rglob("*")) == []
    assert sorted(str(path.relative_to(home)) for path in home.rglob("*")) == []


@pytest.mark.parametrize("room", ["catalog", "validation", "models"])
def test_rooms_load_no_platform(room: str) -> None:
    program = (
        f"import sys, importlib, pkgutil\nimport {room}\n"
        f"for row in pkgutil.walk_packages({room}.__path__, '{room}.'):\n"
        "    '__main__' in row.name or importlib.import_module(row.name)\n"
        "print([name for name in ('zenml', 'mlflow', 'bentoml', 'ultralytics') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1:] == ["[]"], done.stdout + done.stderr[-2000:]


def test_no_catch_all_modules() -> None:
    banned = {"utils", "helpers", "common", "misc", "util", "helper"}
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.stem in banned]
    assert found == []


def test_no_module_is_two_rooms() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 350
    }
    assert long == {}
