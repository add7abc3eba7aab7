"""Gallery rows with their photographs small enough for a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from catalog.rows import Box
from validation.benchmark import GalleryRow
from validation.report.thumbnails import Thumbnail, Thumbnails

THUMBNAIL_PX = 150
MOST_ROWS = 24
"""Rows of one task on a page."""
MOST_WORST = 8
"""Rows of the worst of all tasks."""


@dataclass(frozen=True)
class Picture:
    """A row and its thumbnails."""

    row: GalleryRow
    query: Thumbnail | None
    hits: tuple[Thumbnail | None, ...]
    right: Thumbnail | None

    @property
    def is_found(self) -> bool:
        """Whether a right product is among the hits shown."""
        return any(hit.right for hit in self.row.hits)


@dataclass(frozen=True)
class TaskPictures:
    """What is shown of one task."""

    anchor: str
    name: str
    pictures: tuple[Picture, ...]
    num_more: int

    @property
    def num_right(self) -> int:
        """Rows whose first hit is right."""
        return sum(own.row.rank == 1 for own in self.pictures)


class Album:
    """Rows of a run by task, each photograph decoded once."""

    def __init__(self, rows: Sequence[GalleryRow], cores: Mapping[str, Box]) -> None:
        self._rows, self._cores = rows, cores
        self._thumbnails = Thumbnails(THUMBNAIL_PX)

    def sample(self) -> list[TaskPictures]:
        """The fair sample of each task."""
        return self._by_task("gallery", [row for row in self._rows if not row.worst])

    def worst(self) -> list[TaskPictures]:
        """The failures of each task."""
        return self._by_task("worst", [row for row in self._rows if row.worst])

    def worst_of_all(self) -> TaskPictures | None:
        """Failures of all tasks by how far down the pool the right product lies, each query once."""
        rows: dict[str, GalleryRow] = {}
        for row in sorted((row for row in self._rows if row.worst), key=lambda row: (-row.depth, row.query_id)):
            rows.setdefault(row.query_id, row)
        if not rows:
            return None
        return TaskPictures("worst-all", "all tasks", self._pictures(list(rows.values())[:MOST_WORST]), 0)

    def _by_task(self, prefix: str, rows: Iterable[GalleryRow]) -> list[TaskPictures]:
        by_task: dict[str, list[GalleryRow]] = {}
        for row in rows:
            by_task.setdefault(row.task, []).append(row)
        return [
            TaskPictures(f"{prefix}-{number}", task, self._pictures(own[:MOST_ROWS]), max(0, len(own) - MOST_ROWS))
            for number, (task, own) in enumerate(by_task.items(), start=1)
        ]

    def _pictures(self, rows: Sequence[GalleryRow]) -> tuple[Picture, ...]:
        of = self._thumbnails.of
        return tuple(
            Picture(
                row=row,
                query=of(row.photo, self._cores.get(row.query_id)),
                hits=tuple(of(hit.photo) for hit in row.hits),
                right=of(row.right.photo) if row.right else None,
            )
            for row in rows
        )
