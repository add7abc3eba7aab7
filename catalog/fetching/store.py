"""Pictures on disk, each under the digest of its URL."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import ImageError, StorageError
from catalog.fetched import Reason
from catalog.fetching.faults import FetchError
from catalog.images import ImageLimits, decode_image, probe_image, sha256_hex

_EXTENSIONS = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tiff",
}
"""By what a file is, not by what its URL or its server calls it."""

_PARTIAL = ".partial"


@dataclass(frozen=True)
class Stored:
    """A picture that lies in its place."""

    path: str
    """Relative to the folder, with forward slashes."""
    sha256: str
    num_bytes: int
    width: int
    height: int


def url_digest(url: str) -> str:
    """SHA-256 of the URL as the catalogue has it, 64 hexadecimal characters: the name of its file."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


class ImageStore:
    """The pictures of a folder.

    Args:
        folder: Where they lie.
        limits: What one may cost.
    """

    def __init__(self, folder: Path, limits: ImageLimits) -> None:
        self.folder, self.limits = folder, limits
        self._listed: dict[str, dict[str, list[str]]] = {}
        # A picture of the most pixels allowed takes hundreds of megabytes while it is decoded.
        self._decoding = threading.BoundedSemaphore(os.cpu_count() or 1)

    def clear_partial(self) -> None:
        """Drop what a killed run left half-written."""
        shutil.rmtree(self.folder / _PARTIAL, ignore_errors=True)

    def save(self, url: str, data: bytes) -> Stored:
        """Put a body in its place, if it is a whole picture of an allowed kind.

        Raises:
            FetchError: It is none.
            StorageError: It cannot be written.
        """
        stored = self._examine(url, data)
        partial = self.folder / _PARTIAL / url_digest(url)
        target = self.folder / stored.path
        try:
            partial.parent.mkdir(exist_ok=True)
            target.parent.mkdir(exist_ok=True)
            partial.write_bytes(data)
            os.replace(partial, target)
        except OSError as error:
            raise StorageError(
                "a picture cannot be written", where=str(target), got=str(error), fix="make room; then run it again"
            ) from None
        return stored

    def find(self, url: str) -> Stored | None:
        """The picture of a URL that lies in its place already, such as one whose row a kill prevented."""
        digest = url_digest(url)
        for extension in self._found_at_first(digest[:2]).get(digest, ()):
            path = self.folder / digest[:2] / f"{digest}{extension}"
            try:
                data = path.read_bytes() if path.stat().st_size <= self.limits.max_bytes else b""
                found = self._examine(url, data)
            except (OSError, FetchError):
                continue
            if found.path.endswith(extension):
                return found
        return None

    def _found_at_first(self, name: str) -> dict[str, list[str]]:
        """Digests to endings of what lay in a subfolder when it was first looked at: millions are asked for."""
        found = self._listed.get(name)
        if found is None:
            found = self._listed[name] = {}
            try:
                files = os.listdir(self.folder / name)
            except OSError:
                files = []
            for file in files:
                digest, extension = os.path.splitext(file)
                found.setdefault(digest, []).append(extension)
        return found

    def holds(self, path: str, num_bytes: int) -> bool:
        """Whether a file of a manifest's row is still there, in its size."""
        try:
            return (self.folder / path).stat().st_size == num_bytes
        except OSError:
            return False

    def _examine(self, url: str, data: bytes) -> Stored:
        digest = url_digest(url)
        try:
            with self._decoding:
                kind = probe_image(data, url, self.limits).format or ""
                image = decode_image(data, url, self.limits)
        except ImageError as error:
            raise FetchError(Reason.PICTURE, error.problem) from None
        path = f"{digest[:2]}/{digest}{_EXTENSIONS[kind]}"
        return Stored(path, sha256_hex(data), len(data), image.width, image.height)
