"""What a Bento carries besides code: model folder, index, and a manifest that says which version it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.config import ServingConfig
from serving.errors import ServingError

BUNDLE_SCHEMA_VERSION = 1
MANIFEST = "bundle.json"


@dataclass(frozen=True)
class Bundle:
    """A model, its index and how to serve them. The folder may lie anywhere: the manifest holds no path."""

    folder: Path
    version: str
    config: ServingConfig = field(default_factory=ServingConfig)
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def model_folder(self) -> Path:
        return self.folder / "model"

    @property
    def index_folder(self) -> Path:
        return self.folder / "index"

    def write_manifest(self) -> None:
        """Write the manifest; model and index are the caller's to put beside it."""
        manifest = {
            "schema_version": BUNDLE_SCHEMA_VERSION,
            "version": self.version,
            "labels": self.labels,
            "config": self.config.model_dump(mode="json"),
        }
        (self.folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))

    @classmethod
    def read(cls, folder: str | Path) -> Bundle:
        """Read the manifest in `folder`.

        Raises:
            ServingError: There is none, or it has another schema version.
        """
        path = Path(folder) / MANIFEST
        if not path.is_file():
            raise ServingError("not a bundle", where=str(folder), fix="build the Bento again")
        manifest: dict[str, Any] = json.loads(path.read_text())
        if manifest.get("schema_version") != BUNDLE_SCHEMA_VERSION:
            raise ServingError(
                "bundle has another schema version",
                where=str(folder),
                got=str(manifest.get("schema_version")),
                allowed=str(BUNDLE_SCHEMA_VERSION),
                fix="build the Bento again",
            )
        config = ServingConfig.model_validate(manifest["config"])
        return cls(Path(folder), manifest["version"], config, manifest["labels"])
