"""The card of a frozen set: what it asks, of what, by which rules, and what was found on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from validation.benchmark.evalset import EvalSet
from validation.curating.findings import Found
from validation.markdown import plain

EXAMPLES = 3
LEAVES_SHOWN = 12
ITEMS_KEPT = 1000
"""Names of one finding that findings.json holds; the count is always whole."""


@dataclass(frozen=True)
class SetCard:
    """What a frozen set says of itself beside what it asks."""

    name: str
    created: datetime
    """With a time zone."""
    source: str
    """Name of the catalogue; never a path."""
    source_digest: str = ""
    """Of the catalogue before it was curated."""
    licence: str = ""
    valid_days: int = 365
    rules: Mapping[str, Any] = field(default_factory=dict)
    """Key -> value of every rule the set was built under."""
    findings: tuple[Found, ...] = ()
    leaves: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Leaf category -> test products before and after the caps."""

    def findings_data(self) -> list[dict[str, Any]]:
        """Findings as plain data; of very many names the first ones."""
        return [
            {"rule": str(one.rule), "count": one.count, "told": one.told, "items": list(one.examples(ITEMS_KEPT))}
            for one in self.findings
        ]


def card_text(card: SetCard, eval_set: EvalSet) -> str:
    """The card as Markdown."""
    expires = card.created + timedelta(days=card.valid_days)
    facts = (
        ("digest", f"`{eval_set.digest}`"),
        ("source", f"{plain(card.source)}, catalogue digest `{card.source_digest or 'not given'}`"),
        ("curated catalogue", f"digest `{eval_set.dataset_digest}`"),
        ("built", card.created.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("to be replaced by", f"{expires.astimezone(UTC):%Y-%m-%d}, {card.valid_days} days on: shops change"),
        ("gallery", f"{len(eval_set.gallery)} products of the side {eval_set.side}"),
        ("licence", plain(card.licence) or "not stated: ask the shop before you pass rows or photographs on"),
    )
    parts = [
        f"# {plain(card.name)}",
        "An evaluation set for product encoders. Every result on it names its digest; one changed byte makes another "
        "benchmark.",
        _table(("", ""), facts),
        "## What is asked",
        _table(("task", "n", "pool", "queries from"), _tasks(eval_set)),
    ]
    if eval_set.absent:
        parts += ["Not asked:", _list(f"{task}: {reason}" for task, reason in eval_set.absent)]
    parts += [
        "## What was found",
        _table(("rule", "found", "what and what was done", "for example"), [_finding(one) for one in card.findings]),
        "## Categories",
        _distribution(card.leaves),
        "## Rules",
        _table(("key", "value"), [(f"`{key}`", plain(str(value))) for key, value in card.rules.items()]),
        "## Limits",
        _list(
            [
                "Relevance is what shoppers bought or the source states: a product that would have pleased as well "
                "counts as wrong.",
                "Scores hold for shops like this one, as far as their intervals say.",
                *eval_set.notes,
            ]
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _tasks(eval_set: EvalSet) -> list[tuple[str, ...]]:
    rows = [
        (task.name, f"{len(task.queries)}", f"{len(eval_set.pool_of(task))} products", task.query_source)
        for task in eval_set.retrieval
    ]
    rows += [(task.name, f"{len(task.items)}", f"{len(task.labels)} labels", "") for task in eval_set.labels]
    return [(f"`{name}`", n, pool, source) for name, n, pool, source in rows]


def _finding(one: Found) -> tuple[str, ...]:
    return f"`{one.rule}`", f"{one.count}", one.told, "; ".join(map(plain, one.examples(EXAMPLES)))


def _distribution(leaves: Mapping[str, tuple[int, int]]) -> str:
    if not leaves:
        return "No product has a category."
    ordered = sorted(leaves.items(), key=lambda row: (-row[1][0], row[0]))
    before, after = (sorted((size[when] for size in leaves.values()), reverse=True) for when in (0, 1))
    head = (
        f"{len(leaves)} leaves, {sum(before)} test products before the caps and {sum(after)} after; the largest leaf "
        f"holds {_pct(before)} before and {_pct(after)} after, the smallest {before[-1]} and {after[-1]} products."
    )
    rows = [(plain(leaf), f"{size[0]}", f"{size[1]}") for leaf, size in ordered[:LEAVES_SHOWN]]
    if len(ordered) > LEAVES_SHOWN:
        rest = [size for _, size in ordered[LEAVES_SHOWN:]]
        rows.append((f"{len(rest)} smaller leaves", f"{sum(x for x, _ in rest)}", f"{sum(y for _, y in rest)}"))
    return f"{head}\n\n{_table(('leaf', 'before', 'after'), rows)}"


def _pct(sizes: Sequence[int]) -> str:
    return f"{100 * sizes[0] / max(1, sum(sizes)):.0f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def _list(lines: Any) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)
