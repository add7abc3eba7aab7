"""The model registry: versions by alias and by digest, and the champions of the past."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from catalog import Alias, ArtifactName, ModelError
from catalog.names import REGISTERED_MODEL
from models.config import Crops
from validation.benchmark.record import SCHEMA_VERSION, BenchmarkRecord
from validation.statistics import Outcome, outcomes_from_dict

MODEL_DIGEST_TAG = "model_digest"
CROPS_TAG, ENCODER_DIGEST_TAG = "served_crops", "encoder_digest"
"""Of a version that is served with fewer crops than it was trained with: which, and what its encoder then is."""
BENTO_TAG = "bento_tag"
HISTORY_TAG = "previous_champions"
CANDIDATE_FILE = "candidate.json"
OUTCOMES_FILE = "outcomes.json"
WAIVER_TAG = "waiver"


class Registry:
    """The versions of one registered model in the MLflow registry that is set up.

    Args:
        name: Registered model.
    """

    def __init__(self, name: str = REGISTERED_MODEL) -> None:
        self.name = name
        self._client = mlflow.MlflowClient()

    def by_alias(self, alias: Alias) -> ModelVersion | None:
        """The version that `alias` points at, None where there is none."""
        model = self._registered()
        version = (model.aliases if model else {}).get(alias.value)
        return self.by_version(version) if version is not None else None

    def best(self) -> ModelVersion | None:
        """The champion, else the challenger, else None."""
        return self.by_alias(Alias.CHAMPION) or self.by_alias(Alias.CHALLENGER)

    def by_version(self, version: str | int) -> ModelVersion:
        """One version.

        Raises:
            ModelError: No such version.
        """
        try:
            return self._client.get_model_version(self.name, str(version))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            known = ", ".join(str(row.version) for row in self.versions()) or "none"
            raise ModelError(
                "no such model version", where=self.name, got=str(version), allowed=known, fix="moon runs"
            ) from None

    def versions(self) -> list[ModelVersion]:
        """All versions, oldest first."""
        rows = list(self._client.search_model_versions(f"name='{self.name}'"))
        return sorted(rows, key=lambda row: int(row.version))

    def versions_with_aliases(self) -> list[ModelVersion]:
        """All versions; unlike a search, each knows its aliases."""
        return [self.by_version(row.version) for row in self.versions()]

    def by_digest(self, digest: str, crops: str | None = None) -> ModelVersion | None:
        """The newest version of exactly these weights, configuration and tokenizer, served with these crops.

        Args:
            digest: Of the model.
            crops: `CROPS_TAG` of the version; None: it is served as it was trained.
        """
        asked = (digest, crops)
        same = [one for one in self.versions() if (one.tags.get(MODEL_DIGEST_TAG), one.tags.get(CROPS_TAG)) == asked]
        return same[-1] if same else None

    def register(self, run_id: str, digest: str, tags: dict[str, str], description: str) -> ModelVersion:
        """Add a version whose files lie in the run's artifact folder `model`."""
        if self._registered() is None:
            self._client.create_registered_model(self.name, description="MOON product embeddings")
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{ArtifactName.MODEL}"
        return self._client.create_model_version(
            self.name, source, run_id, tags=tags | {MODEL_DIGEST_TAG: digest}, description=description
        )

    def point(self, alias: Alias, version: str | int) -> None:
        """Move `alias` to `version`."""
        self._client.set_registered_model_alias(self.name, alias.value, str(version))

    def tag(self, version: str | int, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._client.set_model_version_tag(self.name, str(version), key, value)

    def model_path(self, version: ModelVersion) -> str:
        """Local folder with the version's model files; fetched where the store is remote.

        Raises:
            ModelError: The files are gone from the artifact store.
        """
        return str(self._artifact(version, ArtifactName.MODEL))

    def benchmark_of(self, version: ModelVersion) -> BenchmarkRecord | None:
        """The scores the version was registered with; None where its run did not get as far as keeping them.

        Scores that an older or newer version of the record holds are none either: the version is scored again.
        """
        text = self._benchmark_file(version, CANDIDATE_FILE)
        if text is None or json.loads(text).get("schema_version") != SCHEMA_VERSION:
            return None
        return BenchmarkRecord.from_json(text)

    def outcomes_of(self, version: ModelVersion) -> dict[str, Outcome] | None:
        """The version's values item by item that go with those scores; None where they were not kept."""
        text = self._benchmark_file(version, OUTCOMES_FILE)
        return None if text is None else outcomes_from_dict(json.loads(text))

    def keep_waivers(self, version: ModelVersion, waivers: Iterable[Mapping[str, str]]) -> None:
        """Tag the version with what it was forgiven: `waiver.1.rule`, `.name`, `.reason`, `.expires`; never taken off.

        Args:
            version: That was let through.
            waivers: rule, name, reason, expires of each; one that the version has already is not kept twice.
        """
        kept = waivers_of(version.tags)
        for waiver in waivers:
            if dict(waiver) not in kept:
                kept.append(dict(waiver))
                for part, text in waiver.items():
                    self.tag(version.version, f"{WAIVER_TAG}.{len(kept)}.{part}", text)

    def previous_champions(self) -> list[str]:
        """Versions that were champion before the present one, oldest first."""
        model = self._registered()
        return list(json.loads((model.tags if model else {}).get(HISTORY_TAG, "[]")))

    def remember_champions(self, versions: list[str]) -> None:
        """Keep the list of former champions with the registered model."""
        self._client.set_registered_model_tag(self.name, HISTORY_TAG, json.dumps(versions))

    def _registered(self) -> mlflow.entities.model_registry.RegisteredModel | None:
        try:
            return self._client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            return None

    def _benchmark_file(self, version: ModelVersion, name: str) -> str | None:
        path = f"{ArtifactName.BENCHMARK}/{name}"
        there = [row.path for row in self._client.list_artifacts(str(version.run_id), ArtifactName.BENCHMARK.value)]
        return Path(self._artifact(version, path)).read_text(encoding="utf-8") if path in there else None

    def _artifact(self, version: ModelVersion, path: str) -> Path:
        try:
            return Path(mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path=path))
        except (OSError, MlflowException) as error:
            raise ModelError(
                "files of a registered version are gone",
                where=f"{self.name} version {version.version}, {path}",
                got=str(error).splitlines()[0],
                fix="run train_moon again, or move the alias to a version whose files are there",
            ) from None


def waivers_of(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Waivers in a version's tags, in the order they were kept."""
    kept: dict[int, dict[str, str]] = {}
    for tag, text in tags.items():
        head, _, rest = tag.partition(".")
        number, _, part = rest.partition(".")
        if head == WAIVER_TAG and number.isdigit():
            kept.setdefault(int(number), {})[part] = text
    return [kept[number] for number in sorted(kept)]


def crops_of(version: ModelVersion) -> Crops | None:
    """The crops that a version is served with; None: as it was trained."""
    return cast("Crops | None", version.tags.get(CROPS_TAG))
