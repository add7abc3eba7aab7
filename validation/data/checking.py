"""Run every data check on a catalogue and decide whether it may be trained on."""

from __future__ import annotations

import logging
from typing import Any

from catalog.catalog import BadRow, Catalog
from catalog.images import ImageLimits
from catalog.splits import Splits
from validation.checks import CHECKS, Level, Suite
from validation.config import DataChecksConfig
from validation.data.alike import find_lookalikes
from validation.data.frames import build_frames
from validation.data.page import render_page
from validation.data.quarantine import reasons_by_row, set_aside
from validation.data.suites import run_suites
from validation.data.verdict import DataVerdict, Finding

logger = logging.getLogger(__name__)

NUM_EXAMPLES = 6


def check_catalog(
    catalog: Catalog, splits: Splits, config: DataChecksConfig, limits: ImageLimits = ImageLimits()
) -> DataVerdict:
    """Look at products, categories, attributes, photos and queries, and at leaks between the sides of the split.

    Args:
        catalog: With image records, as `load_catalog` returns it.
        splits: Of this catalogue.
        config: Thresholds, levels, and whether errors stop the run or set rows aside.
        limits: What decoding a photo may cost.

    Returns:
        The verdict; it does not raise for bad data, the caller does with `verdict.to_error()`.

    Raises:
        ImageError: A file changed while it was checked.
    """
    alike = find_lookalikes(catalog, splits, config, limits)
    results = run_suites(build_frames(catalog, splits, alike), config)
    findings: list[Finding] = []
    bad: list[tuple[Suite, int, str]] = []
    for suite, result in results.items():
        for one in result.results:
            finding, rows = _finding(suite, one, config)
            if finding is not None:
                findings.append(finding)
                if finding.level is Level.ERROR:
                    bad += rows
    findings.sort(key=lambda finding: (finding.level is not Level.ERROR, list(CHECKS).index(finding.check)))
    kept, gone = catalog, list[BadRow]()
    if config.on_error == "quarantine" and bad:
        kept, gone = set_aside(catalog, reasons_by_row(bad))
    reason = _why_not(catalog, kept, findings, config)
    quarantined = (*catalog.bad_rows, *gone)
    for finding in findings:
        logger.log(logging.ERROR if finding.level is Level.ERROR else logging.WARNING, "%s", finding.text)
    html = render_page(catalog, kept, splits, findings, quarantined, reason, results, alike, limits)
    return DataVerdict(not reason, kept, tuple(findings), quarantined, html, reason)


def _finding(suite: Suite, one: Any, config: DataChecksConfig) -> tuple[Finding | None, list[tuple[Suite, int, str]]]:
    """One expectation's result as a finding, None where it was met, and the rows behind it with their reasons."""
    check = CHECKS[one.expectation_config.meta["check"]]
    raised = one.exception_info
    if raised.get("raised_exception") or any(
        isinstance(part, dict) and part.get("raised_exception") for part in raised.values()
    ):
        # A check that could not be made has not been passed.
        raise RuntimeError(f"data check {check.name} failed to run: {raised}")
    if one.success:
        return None, []
    rows = one.result["unexpected_index_list"]
    cells = [(int(cell["row"]), str(cell["key"]), cell.get(check.column)) for cell in rows]
    if check.name.endswith("_ids_unique"):
        cells = _all_but_first(cells)
    num_rows = int(one.result["element_count"])
    finding = Finding(
        suite=suite,
        check=check.name,
        level=config.level_of(check.name),
        num_bad=len(cells),
        num_rows=num_rows,
        text=f"{len(cells):,} of {num_rows:,} {check.failed}",
        fix=check.fix,
        examples=tuple(_example(key, value) for _, key, value in cells[:NUM_EXAMPLES]),
    )
    return finding, [(suite, row, _reason(check.name, value)) for row, _, value in cells]


def _all_but_first(cells: list[tuple[int, str, Any]]) -> list[tuple[int, str, Any]]:
    seen: set[str] = set()
    repeats = []
    for cell in sorted(cells, key=lambda cell: cell[0]):
        if cell[1] in seen:
            repeats.append(cell)
        seen.add(cell[1])
    return repeats


def _example(key: str, value: Any) -> str:
    if value is None or str(value) in ("False", key) or value != value:
        return key
    return f"{key}: {value:.3g}" if isinstance(value, float) else f"{key}: {value}"


def _reason(check: str, value: Any) -> str:
    text = CHECKS[check].failed
    return f"{check}: {text}" + (f" ({value})" if isinstance(value, str) else "")


def _why_not(catalog: Catalog, kept: Catalog, findings: list[Finding], config: DataChecksConfig) -> str:
    """Why the run must not go on; empty when it may."""
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    if config.on_error == "stop":
        return f"{len(errors)} check(s) of level error found something" if errors else ""
    unmended = [finding for finding in errors if finding.suite in (Suite.CATEGORIES, Suite.ATTRIBUTES)]
    if unmended:
        return f"{unmended[0].check} is an error that setting rows aside does not mend"
    if not kept.products and not kept.queries:
        return "nothing is left after setting bad rows aside"
    num_gone = len(catalog.products) - len(kept.products) + _num_bad_products(catalog)
    total = len(catalog.products) + _num_bad_products(catalog)
    if total and num_gone / total > config.max_quarantined_frac:
        return (
            f"{num_gone} of {total} products would be set aside, more than "
            f"checks.max_quarantined_frac {config.max_quarantined_frac:g} allows"
        )
    return ""


def _num_bad_products(catalog: Catalog) -> int:
    return sum(row.where.startswith("products.") for row in catalog.bad_rows)
