"""A run in a screenful of Markdown, for a pull request."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from validation.benchmark import BenchmarkRecord, main_score, shown
from validation.benchmark.metrics import lower_is_better
from validation.markdown import plain
from validation.report.comparison import Compared, compare
from validation.report.gate_table import GateRow, gate_rows
from validation.report.page import headline_parts, is_safe_link
from validation.report.run import RunReport
from validation.report.scores import interval_text, is_finite
from validation.report.slices import caution, worst_part

MOST_METRICS = 12
MOST_RULES = 12
MOST_LINKS = 8
MOST_CHARS = 120
"""Of a name or reason; what follows is on the page."""


def render_markdown(report: RunReport) -> str:
    """Decision, main scores beside the champion's, the worst slice, the rules that do not hold, links.

    Never 60 lines: whatever is longer says how much more the page shows. All texts are escaped.

    Raises:
        ValueError: Records of different evaluation sets.
        BenchmarkError: Outcomes of candidate and champion do not belong to the same items.
    """
    report.check_one_set()
    blocks = [[f"## {_escaped(report.title)}"]]
    if report.decision is not None:
        blocks.append([f"{'✅' if report.decision.passed else '❌'} **{_escaped(report.decision.headline())}**"])
    if report.candidate is not None:
        blocks += [_scores(report, report.candidate), _worst_slice(report)]
    if report.decision is not None:
        blocks.append(_rules([row for row in gate_rows(report.decision) if row.verdict != "ok"]))
    blocks.append(_links(report))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _scores(report: RunReport, candidate: BenchmarkRecord) -> list[str]:
    compared = {row.metric: row for row in compare(report)}
    metrics = [key for key in report.headline_metrics if key in candidate.scores]
    if not metrics:
        return ["No score that counts for the main score."]
    champion = report.champion_record
    head = ["metric", _escaped(candidate.encoder), *([_escaped(champion.encoder), "change"] if champion else [])]
    lines = [_row([*head, "n", "pool"]), _row(["---", *["---:"] * (len(head) + 1)])]
    for metric in metrics[:MOST_METRICS]:
        score = candidate.scores[metric]
        own = f"{shown(metric, score.value)} [{interval_text(metric, score)}]" if is_finite(score) else "n/a"
        cells = [f"`{metric}`", own]
        if champion:
            cells += _beside(compared.get(metric))
        lines.append(_row([*cells, str(score.n), str(score.pool)]))
    if report.has_main_score:
        lines.append(_main_row(candidate, champion))
    if len(metrics) > MOST_METRICS:
        lines += ["", f"and {len(metrics) - MOST_METRICS} more metrics"]
    return lines


def _main_row(candidate: BenchmarkRecord, champion: BenchmarkRecord | None) -> str:
    ours = main_score(candidate)
    cells = ["**main score**", f"**{_percent(ours)}**"]
    if champion:
        change = ours - main_score(champion)
        cells += [_percent(main_score(champion)), f"{100 * change:+.1f}" if math.isfinite(change) else "n/a"]
    return _row([*cells, "", ""])


def _beside(row: Compared | None) -> list[str]:
    if row is None:
        return ["n/a", "n/a"]
    unit = 1.0 if lower_is_better(row.metric) else 100.0
    change = f"{unit * row.change:+.1f}"
    if row.test is not None:
        change += f" [{unit * row.test.low:+.1f}, {unit * row.test.high:+.1f}], {row.verdict}"
    return [shown(row.metric, row.theirs), change]


def _worst_slice(report: RunReport) -> list[str]:
    parts = headline_parts(report)
    part = worst_part(parts)
    if part is None:
        return [caution(parts)] if parts else []
    return [
        f"Worst slice: **{_escaped(f'{part.kind} = {part.name}')}** in `{part.metric}`: "
        f"{shown(part.metric, part.score.value)} [{interval_text(part.metric, part.score)}] of {part.score.n}, "
        f"{shown(part.metric, part.overall.value)} of all {part.overall.n}. "
        f"{caution(parts)}"
    ]


def _rules(rows: Sequence[GateRow]) -> list[str]:
    if not rows:
        return []
    lines = [_row(["", "rule", "value", "bound", "reason"]), _row(["---", "---", "---:", "---:", "---"])]
    for row in rows[:MOST_RULES]:
        reason = f"{row.reason}; waived by {row.waiver}" if row.waiver else row.reason
        mark = "❌" if row.verdict == "NO" else "⚠️ waived"
        lines.append(_row([mark, _escaped(row.name), row.value, row.bound, _escaped(reason)]))
    if len(rows) > MOST_RULES:
        lines += ["", f"and {len(rows) - MOST_RULES} more rules"]
    return lines


def _links(report: RunReport) -> list[str]:
    links = list(report.links.items())
    lines = []
    for text, address in links[:MOST_LINKS]:
        # In angle brackets an address may hold anything but these; one that does is shown as text.
        safe = is_safe_link(address) and not re.search(r"[<>\s]", address)
        lines.append(f"- [{_escaped(text)}](<{address}>)" if safe else f"- {_escaped(f'{text}: {address}')}")
    if len(links) > MOST_LINKS:
        lines.append(f"- and {len(links) - MOST_LINKS} more")
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """One line in which nothing is markup, and not a long one."""
    line = " ".join(text.split())
    return plain(line if len(line) <= MOST_CHARS else line[: MOST_CHARS - 1] + "…")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if math.isfinite(value) else "n/a"
