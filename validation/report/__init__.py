"""One self-contained HTML page of a run: what was decided, on which numbers, and what it looks like."""

from validation.report.page import render_report
from validation.report.run import RunReport

__all__ = ["RunReport", "render_report"]
