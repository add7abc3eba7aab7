"""Errors a user can cause, told so that the user can end them.

Every error of this kind says what failed, what was found, what is allowed, how to go on, and where. Commands and
pipelines print the text and leave with a non-zero status; a traceback is for our own mistakes, not for the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial


class MoonError(Exception):
    """A failure with a cause the user can see and a way out.

    Args:
        problem: What failed, in one sentence without a full stop.
        where: File, row, product, image or configuration key it concerns.
        got: What was found there.
        allowed: What would have been accepted.
        fix: What to do now; a command where there is one.
    """

    exit_status = 1
    """Of a process that this error ends."""

    def __init__(self, problem: str, *, where: str = "", got: str = "", allowed: str = "", fix: str = "") -> None:
        self.problem, self.where, self.got, self.allowed, self.fix = problem, where, got, allowed, fix
        super().__init__(problem, where, got, allowed, fix)

    def __reduce__(self) -> tuple[Callable[[], MoonError], tuple[()], dict[str, object]]:
        # So that one raised in a worker process arrives whole: the default would pass the keywords by position.
        again = partial(type(self), self.problem, where=self.where, got=self.got, allowed=self.allowed, fix=self.fix)
        return again, (), self.__dict__

    def __str__(self) -> str:
        rows = (("where", self.where), ("got", self.got), ("allowed", self.allowed), ("fix", self.fix))
        return "\n".join([self.problem, *(f"  {name + ':':9}{text}" for name, text in rows if text)])


class CatalogError(MoonError):
    """A catalogue, a row or a reference in it cannot be used."""


class ImageError(MoonError):
    """An image cannot be used: absent, truncated, of another type, or over a limit."""


class ConfigError(MoonError):
    """A configuration key or value is not one MOON knows."""


class ModelError(MoonError):
    """A model folder is incomplete, of another schema, or disagrees with itself."""


class StorageError(MoonError):
    """Something could not be written or locked: no space, read-only, or in use by another run."""
