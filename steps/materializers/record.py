"""Records as JSON."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, ClassVar

from zenml.enums import ArtifactType
from zenml.materializers.base_materializer import BaseMaterializer

from catalog import StorageError
from steps.records import SCHEMA_VERSION, Record
from steps.store import remembered

_FILE = "record.json"


class RecordMaterializer(BaseMaterializer):
    """One JSON file with a schema version."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Record,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA_ANALYSIS

    def load(self, data_type: type[Any]) -> Record:
        with remembered(self.artifact_store, self.uri):
            with self.artifact_store.open(os.path.join(self.uri, _FILE), "r") as stream:
                data = json.load(stream)
            if data["schema_version"] != SCHEMA_VERSION:
                raise StorageError(
                    "record has another schema version",
                    where=self.uri,
                    got=str(data["schema_version"]),
                    allowed=str(SCHEMA_VERSION),
                )
            return data_type.from_dict(data["record"])

    def save(self, data: Record) -> None:
        with self.artifact_store.open(os.path.join(self.uri, _FILE), "w") as stream:
            stream.write(json.dumps({"schema_version": SCHEMA_VERSION, "record": data.to_dict()}, indent=1))

    def compute_content_hash(self, data: Record) -> str:
        rows = json.dumps(data.to_dict(), sort_keys=True)
        return hashlib.sha256(f"{type(data).__name__}:{rows}".encode()).hexdigest()
