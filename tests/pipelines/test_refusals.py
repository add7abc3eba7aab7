"""What a user can get wrong: refused before or while a run, in a few lines, with a status that is not 0."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from zenml.cli.cli import cli

from pipelines import PIPELINES
from tests.pipelines.conftest import Workplace


def refused(*words: str) -> str:
    result = CliRunner().invoke(cli, ["pipeline", "run", *words])
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("paramters: {}\n", "did you mean `parameters`?"),
        ("steps:\n  trian_model: {enable_cache: false}\n", "did you mean `train_model`?"),
        ("steps:\n  train_model: {enable_cach: false}\n", "did you mean `enable_cache`?"),
        ("parameters:\n  config:\n    train: {stepz: 1}\n", "did you mean `steps`?"),
        ("parameters:\n  config:\n    train: {steps: 0}\n", "greater than or equal to 1"),
    ],
)
def test_a_wrong_recipe_starts_nothing(workplace: Workplace, tmp_path: Path, text: str, told: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text, encoding="utf-8")
    output = refused("train_moon", "-c", str(recipe))
    assert told in output
    assert "recipe.yaml" in output
    assert "has started" not in output


@pytest.mark.pipeline
def test_an_error_in_a_step_is_told_once_and_short(workplace: Workplace, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "parameters:\n  config:\n    catalog: {source: folder, path: /no/such/folder}\n", encoding="utf-8"
    )
    output = refused("train_moon", "-c", str(recipe))
    assert output.count("catalogue folder does not exist") == 1
    assert "fix:" in output
    assert len(output.splitlines()) < 40


def test_pipelines_answer_to_their_bare_name() -> None:
    program = (
        "import zenml\nfrom zenml.cli.pipeline import _import_pipeline\n"
        f"for name in {list(PIPELINES)}:\n"
        "    bare, dotted = _import_pipeline(name), _import_pipeline('pipelines.' + name)\n"
        "    assert bare is dotted and bare.name == name\n"
    )
    script = f"import sys; sys.modules['__main__'].__file__ = {__file__!r}\n{program}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
