"""What a run leaves for people: a self-contained page, a summary for a pull request, figures for a tracker."""

from validation.report.figures import figures
from validation.report.markdown import render_markdown
from validation.report.page import render_report
from validation.report.run import RunReport

__all__ = ["RunReport", "figures", "render_markdown", "render_report"]
