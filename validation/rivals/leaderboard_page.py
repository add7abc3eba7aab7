"""The board as a person reads it: Markdown, and one page of HTML that needs nothing else."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from validation.benchmark.record import BenchmarkRecord
from validation.benchmark.table import shown
from validation.rivals.against_first import against_first
from validation.rivals.leaderboard import Entry, rank_metrics, rank_value, ranked

ALSO_SHOWN = (
    *("image_to_product/recall@10", "image_to_product/recall_group@1"),
    *("text_to_product/recall@1", "text_to_product_title_hidden/recall@10", "text_to_image/recall@10"),
    *("product_to_product/map", "category_leaf/accuracy", "category_level_1_title_hidden/accuracy"),
    *("attributes/accuracy_macro", "photo_label/accuracy", "photo_label/f1_macro"),
)
"""Beside what the board ranks by, where the evaluation set asks it."""
NONE = "n/a"
PAIRED = (
    "The first less each other, in points, on the same items, clustered by group; 90 % intervals, * where they leave "
    "out 0. Each row is a comparison of its own."
)
MIB = 2**20

_STYLE = """
body { font: 15px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; margin: 2rem; color: #1b1f24; }
table { border-collapse: collapse; } caption { text-align: left; padding-bottom: .6rem; color: #57606a; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #d8dee4; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
tr.partly td { color: #57606a; } .range { color: #57606a; font-size: .85em; } .scroll { overflow-x: auto; }
td.main { font-weight: 600; }
"""


def board_markdown(entries: Sequence[Entry]) -> str:
    """One table, best first, with what the numbers are of above it, the paired differences and what could not be asked
    below."""
    lines = [_about(entries), "", *_markdown_table(*_table(entries))]
    pairs = against_first(entries)
    if pairs:
        lines += ["", PAIRED, "", *_markdown_table(*pairs)]
    return "\n".join([*lines, "", *(f"- {note}" for note in _notes(entries))]) + "\n"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|:--" + "|--:" * (len(header) - 1) + "|"]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def board_html(entries: Sequence[Entry], title: str) -> str:
    """The same as one page: style inside, no script, nothing loaded from elsewhere."""
    header, rows = _table(entries)
    metrics, order = rank_metrics(entries), ranked(entries)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = []
    for entry, row in zip(order, rows, strict=True):
        kind = ' class="partly"' if math.isnan(rank_value(entry, metrics)) else ""
        cells = "".join(_html_cell(cell, header[index]) for index, cell in enumerate(row))
        body.append(f"<tr{kind}>{cells}</tr>")
    pairs = against_first(entries)
    second = _html_pairs(*pairs) if pairs else ""
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in _notes(entries))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f'<div class="scroll"><table><caption>{html.escape(_about(entries))}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>{second}<ul>{notes}</ul></body></html>\n"
    )


def _html_pairs(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><caption>{html.escape(PAIRED)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _html_cell(cell: str, column: str) -> str:
    value, bracket, rest = cell.partition(" [")
    interval = f' <span class="range">[{html.escape(rest)}</span>' if bracket else ""
    kind = ' class="main"' if column == "main" else ""
    return f"<td{kind}>{html.escape(value)}{interval}</td>"


def _about(entries: Sequence[Entry]) -> str:
    first = entries[0].record
    gallery = f"{first.side} side, {first.num_gallery} products in the gallery" if first.num_gallery else "no gallery"
    return (
        f"{gallery}; scores in % [{first.confidence:.0%} interval]; "
        f"evaluation set {first.eval_set_digest[:12]}, harness {first.harness_digest[:12]}"
    )


def _table(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    metrics = rank_metrics(entries)
    also = [metric for metric in ALSO_SHOWN if any(metric in entry.record.scores for entry in entries)]
    columns = [*metrics, *(metric for metric in also if metric not in metrics)]
    sizes = {metric: _asked(entries, metric) for metric in columns}
    header = ["encoder", "main", "dims", "parameters", "MiB", "ms a product", "ms a query"]
    header += [f"{metric} ({sizes[metric]})" for metric in columns]
    return header, [_row(entry, metrics, columns) for entry in ranked(entries)]


def _row(entry: Entry, metrics: Sequence[str], columns: Sequence[str]) -> list[str]:
    record, value = entry.record, rank_value(entry, metrics)
    return [
        entry.model,
        NONE if math.isnan(value) else f"{100 * value:.1f}",
        str(record.dims) if record.dims else NONE,
        NONE if record.num_parameters is None else _millions(record.num_parameters),
        NONE if record.model_bytes is None else f"{record.model_bytes / MIB:,.1f}",
        _milliseconds(record, "product_ms"),
        _milliseconds(record, "query_ms"),
        *(_cell(record, metric) for metric in columns),
    ]


def _cell(record: BenchmarkRecord, metric: str) -> str:
    score = record.scores.get(metric)
    if score is None:
        return NONE
    return f"{shown(metric, score.value)} [{shown(metric, score.low, 0)}-{shown(metric, score.high, 0)}]"


def _milliseconds(record: BenchmarkRecord, name: str) -> str:
    value = record.timings.get(name)
    return NONE if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count else "0"


def _asked(entries: Sequence[Entry], metric: str) -> str:
    score = next(entry.record.scores[metric] for entry in entries if metric in entry.record.scores)
    return f"n {score.n}, pool {score.pool}"


def _notes(entries: Sequence[Entry]) -> list[str]:
    metrics = rank_metrics(entries)
    notes = []
    if metrics:
        parts = ", ".join(metrics)
        notes.append(f"main: mean of {parts}; encoders that cannot answer one of them follow, by the mean of the rest")
    else:
        notes.append("this evaluation set asks none of the main metrics")
    for entry in ranked(entries):
        reasons = sorted({entry.record.not_applicable.get(metric.partition("/")[0], "") for metric in metrics} - {""})
        if reasons:
            notes.append(f"{entry.model}: {'; '.join(reasons)}")
    return notes
