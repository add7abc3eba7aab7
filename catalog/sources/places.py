"""Where data lies: a path or an fsspec URL to its file system."""

from __future__ import annotations

import fsspec
from fsspec import AbstractFileSystem

from catalog.errors import CatalogError


def place_of(root: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a resolved path, and the path on it without a slash at its end.

    Raises:
        CatalogError: A protocol that fsspec does not know, or one whose package is not installed.
    """
    try:
        fs, base = fsspec.url_to_fs(root)
    except (ImportError, ValueError) as error:
        raise CatalogError(
            "no file system for this path",
            where=root,
            got=str(error),
            allowed="a path on this machine, or a URL of a protocol that fsspec knows and whose package is installed",
            fix="install the package it names, or bring the data onto this machine",
        ) from None
    return fs, base.rstrip("/")
