"""Artifacts that are folders of files: a model, and the stored regions."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from zenml.enums import ArtifactType
from zenml.materializers.base_materializer import BaseMaterializer

from models.regions import RegionStore
from steps.records import Files, FrozenSet, IndexFolder, ModelFolder
from steps.store import is_local, remembered


class _FolderMaterializer(BaseMaterializer):
    """Files are written where they stay when the artifact store is a local folder, else copied there and back."""

    SKIP_REGISTRATION: ClassVar[bool] = True

    @contextmanager
    def _folder_to_write(self) -> Iterator[str]:
        if is_local(self.uri):
            yield self.uri
            return
        with self.get_temporary_directory(delete_at_exit=True) as folder:
            yield folder
            fs, base = fsspec.url_to_fs(self.uri)
            fs.put(f"{folder}/", base, recursive=True)

    def _folder_to_read(self) -> str:
        if is_local(self.uri):
            return self.uri
        with self.get_temporary_directory(delete_at_exit=False) as folder:
            fs, base = fsspec.url_to_fs(self.uri)
            fs.get(f"{base}/", folder, recursive=True)
            return folder


class DigestedFolderMaterializer(_FolderMaterializer):
    """A model, an index, an evaluation set or other files; the digest decides what follows from the cache."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (ModelFolder, IndexFolder, FrozenSet, Files)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL

    def load(self, data_type: type[Any]) -> ModelFolder | IndexFolder | FrozenSet | Files:
        with remembered(self.artifact_store, self.uri):
            folder = Path(self._folder_to_read())
            return data_type(str(folder / _FILES), (folder / _DIGEST_FILE).read_text(encoding="utf-8"))

    def save(self, data: ModelFolder | IndexFolder | FrozenSet | Files) -> None:
        with self._folder_to_write() as folder:
            shutil.copytree(data.path, Path(folder) / _FILES)
            (Path(folder) / _DIGEST_FILE).write_text(data.digest, encoding="utf-8")

    def compute_content_hash(self, data: ModelFolder | IndexFolder | FrozenSet | Files) -> str:
        return data.digest

    def extract_metadata(self, data: ModelFolder | IndexFolder | FrozenSet | Files) -> dict[str, Any]:
        return {"digest": data.digest}


class RegionStoreMaterializer(_FolderMaterializer):
    """The candidate boxes of a catalogue's images."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (RegionStore,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def load(self, data_type: type[Any]) -> RegionStore:
        with remembered(self.artifact_store, self.uri):
            return RegionStore.read(self._folder_to_read())

    def save(self, data: RegionStore) -> None:
        with self._folder_to_write() as folder:
            data.write(folder)

    def compute_content_hash(self, data: RegionStore) -> str:
        with self.get_temporary_directory(delete_at_exit=True) as folder:
            data.write(folder)
            total = hashlib.sha256()
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    total.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
            return total.hexdigest()


_FILES = "files"
_DIGEST_FILE = "digest.txt"
