"""A run whose configuration names no ultralytics, on a machine that has neither it nor cv2, the Bento included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from steps.code import PROJECT_ROOT
from tests.pipelines.conftest import make_shop, write_recipe

HIDDEN = ("ultralytics", "cv2")
ASKED = "TEST_HIDDEN_ASKED"

SITE = f'''"""Read by every interpreter that begins here, data workers and the Bento's among them."""

import os
import traceback
from importlib.machinery import PathFinder

_find_spec = PathFinder.find_spec


def find_spec(fullname, path=None, target=None):
    name = fullname.partition(".")[0]
    if name in {HIDDEN!r}:
        with open(os.environ["{ASKED}"], "a", encoding="utf-8") as stream:
            stream.write(name + "\\n" + "".join(traceback.format_stack()[-12:]) + "\\n")
        return None
    return _find_spec(fullname, path, target)


PathFinder.find_spec = find_spec
'''

SCRIPT = """
import base64
import sys
from pathlib import Path

import httpx
from zenml.cli.cli import cli

from moon.stack import set_up_stack
from serving.launch import running_bento

root, recipe, photo = map(Path, sys.argv[1:])
set_up_stack(root)
cli(["pipeline", "run", "train_moon", "-c", str(recipe)], standalone_mode=False)
(bento,) = [path for path in (root / "bentos" / "bentos" / "moon").iterdir() if path.is_dir()]
with running_bento(f"moon:{bento.name}") as url:
    image = base64.b64encode(photo.read_bytes()).decode()
    answer = httpx.post(f"{url}/search", json={"image": image, "k": 3}, timeout=60)
    regions = httpx.get(f"{url}/info").json()["model"]["regions"]["backend"]
print("ANSWER", answer.status_code, len(answer.json()["hits"]), regions)
"""


@pytest.mark.pipeline
@pytest.mark.timeout(600)
def test_a_run_and_its_bento_need_neither_ultralytics_nor_cv2(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop", num_products=30)
    recipe = write_recipe(tmp_path, tmp_path / "shop")
    tree = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    config = tree["parameters"]["config"]
    config |= {"regions": {"backend": "saliency"}, "train": config["train"] | {"steps": 2}}
    recipe.write_text(yaml.safe_dump(tree), encoding="utf-8")
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    asked = tmp_path / "asked.txt"
    ours = {
        "PYTHONPATH": str(tmp_path / "hiding"),
        ASKED: str(asked),
        "ZENML_CONFIG_PATH": str(tmp_path / "zenml"),
        "ZENML_REPOSITORY_PATH": str(tmp_path),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "MOON_WORK": str(tmp_path / "work"),
        "BENTOML_HOME": str(tmp_path / "bentos"),
    }
    photo = tmp_path / "shop" / "images" / "p3-2.png"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(recipe), str(photo)],
        cwd=PROJECT_ROOT,
        env=os.environ | ours,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "ANSWER 200 3 saliency" in done.stdout
    # Hidden in vain is as good as there: nobody so much as asked for it.
    told = asked.read_text(encoding="utf-8") if asked.exists() else ""
    assert "ultralytics\n" not in told, told[:4000]


def test_what_is_hidden_is_hidden_from_child_processes_too(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    code = (
        "import importlib.util as u, subprocess, sys\n"
        "names = ('ultralytics', 'cv2', 'numpy')\n"
        "print([u.find_spec(name) is not None for name in names], flush=True)\n"
        "if len(sys.argv) > 1: subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)\n"
    )
    asked = tmp_path / "asked.txt"
    done = subprocess.run(
        [sys.executable, "-c", code, code],
        env=os.environ | {"PYTHONPATH": str(tmp_path), ASKED: str(asked)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == ["[False, False, True]"] * 2
    assert asked.read_text(encoding="utf-8").count("ultralytics\n") == 2
