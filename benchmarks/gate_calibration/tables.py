"""The figures as Markdown, for the terminal and for docs/CALIBRATION.md alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def gate_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the gate's own rule did, a row a layout: false alarms, catches, coverage, each with what is expected."""
    head = [
        "groups x items",
        "n",
        "groups",
        "false alarms",
        "level allows",
        "losses caught",
        "printed power allows",
        "printed power",
        "intervals hold 0 / the loss",
    ]
    return table(
        head,
        [
            [
                row["layout"],
                str(row["n"]),
                str(row["num_groups"]),
                str(row["alarms"]),
                _range(row["alarms_expected"]),
                str(row["caught"]),
                _range(row["caught_expected"]),
                f"{100 * row['power']:.1f} %",
                f"{100 * row['covered_equal']:.1f} / {100 * row['covered_loss']:.1f} %",
            ]
            for row in rows
        ],
    )


def rules_table(rows: Sequence[Mapping[str, Any]], rules: Sequence[str]) -> str:
    """False alarms and coverage of each rule in per cent, a row a world."""
    head = ["groups x items", "values", "groups that differ", *rules]
    return table(
        head,
        [
            [
                row["layout"],
                row["values"],
                f"{row['groups that differ']:.1f}",
                *(f"{100 * row['alarms'][rule]:.1f} ({100 * row['covered'][rule]:.0f})" for rule in rules),
            ]
            for row in rows
        ],
    )


def _range(ends: Sequence[int]) -> str:
    return f"{ends[0]} to {ends[1]}"
