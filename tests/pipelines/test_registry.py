"""The registry on a store of its own: versions by digest and alias, promotion and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from catalog import Alias, ModelError
from steps.move_alias import move_alias
from steps.records import Parity
from steps.registry import CROPS_TAG, HISTORY_TAG, Registry, crops_of, waivers_of
from steps.rollback_alias import rollback_alias
from tests.gate.records import items, record
from validation.statistics import outcomes_to_dict


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"


@pytest.fixture
def registry(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Registry]:
    before = mlflow.get_tracking_uri()
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(store)
    name = request.node.name
    monkeypatch.setattr(Registry.__init__, "__defaults__", (name,))
    yield Registry()
    mlflow.set_tracking_uri(before)


def register(registry: Registry, digest: str, more: dict[str, str] | None = None) -> str:
    with mlflow.start_run(experiment_id="0") as run:
        mlflow.log_text("weights", "model/model.safetensors")
    return str(registry.register(run.info.run_id, digest, {"gate": "pass"} | (more or {}), "card").version)


def promote(version: str) -> object:
    return move_alias.entrypoint(Parity(version, "moon:x", 1.0, 0.0, 2))


def test_an_empty_registry_answers_with_nothing(registry: Registry) -> None:
    assert registry.by_alias(Alias.CHAMPION) is None
    assert registry.best() is None
    assert registry.versions() == []
    assert registry.by_digest("x") is None
    assert registry.previous_champions() == []


def test_versions_are_found_by_digest_and_their_files_are_there(registry: Registry) -> None:
    first, second = register(registry, "aaa"), register(registry, "bbb")
    assert [str(row.version) for row in registry.versions()] == [first, second]
    found = registry.by_digest("aaa")
    assert found is not None
    assert str(found.version) == first
    assert (Path(registry.model_path(found)) / "model.safetensors").read_text() == "weights"
    assert registry.benchmark_of(found) is None


def test_a_model_served_with_fewer_crops_is_a_version_of_its_own(registry: Registry) -> None:
    whole = register(registry, "aaa")
    plain = register(registry, "aaa", {CROPS_TAG: "none"})
    found = {crops: registry.by_digest("aaa", crops) for crops in (None, "none", "products")}
    assert {crops: str(one.version) if one else "" for crops, one in found.items()} == {
        None: whole,
        "none": plain,
        "products": "",
    }
    assert crops_of(registry.by_version(whole)) is None
    assert crops_of(registry.by_version(plain)) == "none"


def test_waivers_stay_on_a_version_and_none_is_kept_twice(registry: Registry) -> None:
    version = register(registry, "aaa")
    one = {"rule": "floor/a/b", "name": "Ada", "reason": "new season", "expires": "2027-06-30"}
    other = one | {"rule": "min_n/a", "name": "Bo"}
    registry.keep_waivers(registry.by_version(version), [])
    assert waivers_of(registry.by_version(version).tags) == []
    registry.keep_waivers(registry.by_version(version), [one])
    registry.keep_waivers(registry.by_version(version), [one, other])
    tags = registry.by_version(version).tags
    assert waivers_of(tags) == [one, other]
    assert tags["waiver.1.rule"] == "floor/a/b"
    assert tags["waiver.2.name"] == "Bo"
    assert tags["gate"] == "pass"


def test_a_versions_items_are_read_back_where_they_were_kept(registry: Registry) -> None:
    own = record()
    with mlflow.start_run(experiment_id="0") as run:
        mlflow.log_text("weights", "model/model.safetensors")
        mlflow.log_text(own.to_json(), "benchmark/candidate.json")
        mlflow.log_text(json.dumps(outcomes_to_dict(items(own))), "benchmark/outcomes.json")
    version = registry.register(run.info.run_id, "aaa", {}, "card")
    assert registry.benchmark_of(version) == own
    found = registry.outcomes_of(version)
    assert found is not None
    assert outcomes_to_dict(found) == outcomes_to_dict(items(own))
    assert registry.outcomes_of(registry.by_version(register(registry, "bbb"))) is None


def test_scores_of_another_version_of_the_record_are_none(registry: Registry) -> None:
    older = record().to_dict() | {"schema_version": 1}
    with mlflow.start_run(experiment_id="0") as run:
        mlflow.log_text("weights", "model/model.safetensors")
        mlflow.log_text(json.dumps(older), "benchmark/candidate.json")
    assert registry.benchmark_of(registry.register(run.info.run_id, "ccc", {}, "card")) is None


def test_a_version_that_is_not_there_is_named_with_those_that_are(registry: Registry) -> None:
    register(registry, "aaa")
    with pytest.raises(ModelError, match="no such model version") as caught:
        registry.by_version("7")
    assert "allowed: 1" in str(caught.value)


def test_files_that_are_gone_are_an_error_with_a_way_out(registry: Registry) -> None:
    version = registry.by_version(register(registry, "aaa"))
    mlflow.MlflowClient().delete_run(str(version.run_id))
    artifact = Path(mlflow.get_run(str(version.run_id)).info.artifact_uri.removeprefix("file://")) / "model"
    (artifact / "model.safetensors").unlink()
    artifact.rmdir()
    with pytest.raises(ModelError, match="files of a registered version are gone"):
        registry.model_path(version)


def test_the_champion_is_served_before_the_challenger(registry: Registry) -> None:
    first, second = register(registry, "aaa"), register(registry, "bbb")
    registry.point(Alias.CHALLENGER, second)
    best = registry.best()
    assert best is not None
    assert str(best.version) == second
    registry.point(Alias.CHAMPION, first)
    best = registry.best()
    assert best is not None
    assert str(best.version) == first


def test_promotions_roll_back_one_by_one(registry: Registry) -> None:
    versions = [register(registry, digest) for digest in ("aaa", "bbb", "ccc")]
    for version in versions:
        promote(version)
    assert registry.previous_champions() == versions[:2]
    for expected in (versions[1], versions[0]):
        move = rollback_alias.entrypoint()
        assert move.version == expected
        champion = registry.by_alias(Alias.CHAMPION)
        assert champion is not None
        assert str(champion.version) == expected
    with pytest.raises(ModelError, match="no champion before this one"):
        rollback_alias.entrypoint()


def test_promoting_the_champion_moves_nothing(registry: Registry) -> None:
    version = register(registry, "aaa")
    promote(version)
    move = promote(version)
    assert (move.version, move.previous, move.moved) == (version, version, False)  # type: ignore[attr-defined]
    assert registry.previous_champions() == []


def test_a_promotion_that_was_killed_half_way_does_not_confuse_the_way_back(registry: Registry) -> None:
    first, second = register(registry, "aaa"), register(registry, "bbb")
    promote(first)
    promote(second)
    # Killed after the history was written and before the alias moved: the champion stands in its own history.
    registry.remember_champions([first, second])
    assert rollback_alias.entrypoint().version == first


def test_rolling_back_nothing_is_refused(registry: Registry) -> None:
    with pytest.raises(ModelError, match="no champion to roll back"):
        rollback_alias.entrypoint()
    assert HISTORY_TAG == "previous_champions"
