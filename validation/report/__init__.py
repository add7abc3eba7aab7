"""One self-contained HTML page of a run: what was decided, on which numbers, and what it looks like."""

from validation.report.page import RunReport, render_report

__all__ = ["RunReport", "render_report"]
