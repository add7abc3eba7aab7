"""What the data checks say: findings, what was set aside, and whether the run may go on."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.catalog import BadRow, Catalog
from catalog.errors import MoonError
from validation.checks import Level, Suite


class DataCheckFailed(MoonError):  # noqa: N818  (reads as what happened)
    """The catalogue did not pass its checks."""


@dataclass(frozen=True)
class Finding:
    """One check that found something."""

    suite: Suite
    check: str
    level: Level
    num_bad: int
    num_rows: int
    """Rows the check looked at."""
    text: str
    """What is wrong, in plain words, with the numbers."""
    fix: str
    examples: tuple[str, ...] = ()
    """The first bad rows, `row: value`."""


@dataclass(frozen=True)
class DataVerdict:
    """The outcome of all checks; `catalog` is what may be trained on."""

    passed: bool
    catalog: Catalog
    """Without what was set aside; the very catalogue that was given where nothing was."""
    findings: tuple[Finding, ...]
    quarantined: tuple[BadRow, ...]
    """Rows and images set aside, by ingestion first, each with its reason."""
    html: str
    """One self-contained page."""
    reason: str = ""
    """Why it did not pass; empty when it did."""

    def to_error(self) -> DataCheckFailed:
        """The error that stops a run, with the findings behind it."""
        errors = [finding for finding in self.findings if finding.level is Level.ERROR]
        lines = [f"{one.check}: {one.text}, e.g. {'; '.join(one.examples[:3])}" for one in errors]
        fixes = list(dict.fromkeys(one.fix for one in errors))
        return DataCheckFailed(
            f"data checks failed: {self.reason}",
            where=self.catalog.root or self.catalog.name,
            got="\n           ".join(lines),
            fix="; ".join([*fixes, "or set `checks.on_error: quarantine`, or a check's level in `checks.levels`"]),
        )
