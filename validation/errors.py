"""What goes wrong when an encoder is judged."""

from __future__ import annotations

from catalog.errors import MoonError


class BenchmarkError(MoonError):
    """An evaluation set, or a record of one, cannot be used."""
