"""`moon gate`: what was decided and why, from wherever the decision lies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import mlflow
import pytest
from typer.testing import CliRunner

from catalog.names import EXPERIMENT
from moon.cli import app
from steps.records import GateResult
from tests.gate.records import items, record
from validation.gate import Decision, GatePolicy, decide

RUNNER = CliRunner()
R1, T10 = "image_to_product/recall@1", "text_to_product/recall@10"
POLICY = {
    "floors": {R1: 0.45, T10: 0.1},
    "champion": {R1: {}},
    "gain": "none",
    "waivers": [{"rule": f"floor/{R1}", "name": "Ada", "reason": "new season", "expires": "2027-06-30"}],
}


@pytest.fixture
def decision() -> Decision:
    own, old = record(image_to_product__recall_at_1=0.4), record("old")
    return decide(
        GatePolicy.model_validate(POLICY),
        own,
        {},
        old,
        outcomes=items(own),
        champion_outcomes=items(old),
        today=date(2027, 1, 15),
    )


@pytest.fixture
def result(decision: Decision) -> dict[str, object]:
    return GateResult(decision.passed, decision.as_text(), decision.to_dict()).to_dict()


@pytest.fixture
def tracked(result: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of a run named train_moon-first whose decision MLflow keeps."""
    before = mlflow.get_tracking_uri()
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setattr("moon.stack.tracking_uri", lambda: uri)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=f"{EXPERIMENT}-first") as run:
        mlflow.log_text(json.dumps(result), "decision/decision.json")
    with mlflow.start_run(run_name=f"{EXPERIMENT}-killed"):
        pass
    yield str(run.info.run_id)
    mlflow.set_tracking_uri(before)


def explained(words: str | Path) -> str:
    done = RUNNER.invoke(app, ["gate", "explain", str(words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def check_is_whole(output: str) -> None:
    assert output.startswith(f"REFUSE: 2 of 6 rules failed, 1 of them waived; first champion/{R1}")
    order = [output.index(word) for word in ("\nNO ", "\nWAIVED ", "\nok ")]
    assert order == sorted(order)
    text = " ".join(output.split())
    assert "waived by Ada until 2027-06-30: new season" in text
    assert "a loss is shown at level 0.05: -10.0 [" in text
    assert "on 100 items in 100 groups" in text
    assert "value 0.4000, incumbent 0.5000, power" in text
    assert "digest-of-old" in text


@pytest.mark.parametrize("name", ["decision.json", "decision/decision.json", "record.json"])
def test_a_decision_is_read_from_a_folder_as_either_platform_keeps_it(
    name: str, result: dict[str, object], tmp_path: Path
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"schema_version": 1, "record": result} if name == "record.json" else result))
    check_is_whole(explained(tmp_path))
    check_is_whole(explained(file))


def test_a_bare_decision_is_read_too(decision: Decision, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(decision.to_json())
    check_is_whole(explained(tmp_path / "mine.json"))


def test_a_run_is_found_by_name_short_name_and_id(tracked: str) -> None:
    for words in (f"{EXPERIMENT}-first", "first", tracked):
        check_is_whole(explained(words))


@pytest.mark.parametrize("words", ["second", "killed"])
def test_a_run_that_is_not_there_or_has_not_decided_is_an_error_with_a_way_out(
    words: str, tracked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moon.commands.gate._from_zenml", lambda run: None)
    done = RUNNER.invoke(app, ["gate", "explain", words])
    assert done.exit_code == 1
    assert "no such run, or it has no decision" in done.output
    assert "moon runs" in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "decision cannot be read"),
        ("[1]", "this is no decision of the gate"),
        ("{}", "this is no decision of the gate"),
        ('{"rules": [], "schema_version": 1}', "decision has another schema version"),
        ('{"rules": [], "schema_version": 2}', "decision is damaged"),
    ],
)
def test_a_file_that_is_no_decision_is_a_short_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    done = RUNNER.invoke(app, ["gate", "explain", str(tmp_path / "x.json")])
    assert done.exit_code == 1
    assert said in done.output
    assert "fix:" in done.output


def test_a_folder_without_a_decision_is_an_error(tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["gate", "explain", str(tmp_path)])
    assert done.exit_code == 1
    assert "the folder holds no decision" in done.output


def test_check_lists_the_rules_of_a_shipped_policy() -> None:
    done = RUNNER.invoke(app, ["gate", "check", "configs/gates/demo.yaml"])
    assert done.exit_code == 0, done.output
    for name in ("finite", f"floor/{R1}", f"beat/random/{R1}", f"champion/{R1}", "champion/gain"):
        assert f"  {name}\n" in done.output


def test_check_refuses_a_policy_that_would_refuse_everything(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("min_n: {image_to_product: 3}")
    done = RUNNER.invoke(app, ["gate", "check", str(tmp_path / "p.yaml")])
    assert done.exit_code == 1
    assert "it judges no score" in done.output
