"""The one number, and the table a person reads."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from validation.benchmark.evalset import TITLE_HIDDEN, EvalSet
from validation.benchmark.metrics import lower_is_better
from validation.benchmark.record import BenchmarkRecord, Score
from validation.statistics.power import smallest_difference

MAIN_METRICS = (
    "image_to_product/recall@1",
    "text_to_product/recall@10",
    "both_to_product/recall@1",
    "category_leaf_title_hidden/accuracy",
    "attributes_title_hidden/accuracy_macro",
)
"""What the main score is the mean of: the three ways of asking, and the two things a photo should tell by itself."""

SHOWN_METRICS = (
    *("image_to_product/recall@1", "image_to_product/recall@10", "image_to_product/recall_group@1"),
    *("text_to_product/recall@1", "text_to_product/recall@10", "text_to_product_title_hidden/recall@10"),
    *("both_to_product/recall@1", "both_to_product/recall@10"),
    *("text_to_image/recall@10", "image_to_text/recall@10", "product_to_product/recall@10", "product_to_product/map"),
    *("category_level_1_title_hidden/accuracy", "category_leaf/accuracy", "category_leaf_title_hidden/accuracy"),
    *("category_leaf_title_hidden/hierarchical", "category_leaf_title_hidden/f1_macro"),
    *("category_leaf_unseen/accuracy", "category_leaf_unseen_title_hidden/accuracy"),
    *("attributes/accuracy_macro", "attributes_title_hidden/accuracy_macro"),
    *("photo_label/accuracy", "photo_label/f1_macro"),
)

LEVEL = 0.05
"""Share of false alarms at which a difference counts as shown."""

_ANY_WIDTH = 10_000


def main_metrics(record: BenchmarkRecord) -> tuple[str, ...]:
    """Those of MAIN_METRICS that the evaluation set can ask at all; the same for every encoder judged on it."""
    return tuple(
        metric
        for metric in MAIN_METRICS
        if metric not in record.not_applicable and (_task_of(metric) in record.tasks or _is_macro(metric, record))
    )


def main_score(record: BenchmarkRecord) -> float:
    """Mean of the main metrics, 0 to 1, higher is better.

    Image to product R@1, text to product R@10, both to product R@1, and leaf category and attributes with the title
    hidden, in equal parts. What the evaluation set cannot ask (no photographs, no attributes, a gallery too small for
    R@10) is left out for every encoder alike; what this encoder cannot do makes its main score NaN, which no gate
    accepts.
    """
    metrics = main_metrics(record)
    if not metrics or any(metric not in record.scores for metric in metrics):
        return math.nan
    return sum(record.scores[metric].value for metric in metrics) / len(metrics)


def main_part(eval_set: EvalSet) -> EvalSet:
    """The tasks that the main score is made of, where nothing else is wanted."""
    tasks = {_task_of(metric) for metric in MAIN_METRICS}
    attributes = {task.name for task in eval_set.labels if task.family == "attributes"}
    return eval_set.only(tasks | {name for name in attributes if name.endswith(TITLE_HIDDEN)})


def shown(metric: str, value: float, digits: int = 1) -> str:
    """A score as people read it: shares in percent, ranks as they are."""
    return f"{value if lower_is_better(metric) else 100 * value:.{digits}f}"


def score_table(records: Iterable[BenchmarkRecord], metrics: Sequence[str] = SHOWN_METRICS, *, width: int = 160) -> str:
    """Encoders side by side, the candidate first, as text for a terminal.

    Each cell is the score in percent (ranks as they are) with its interval; n/a where the encoder cannot be asked.
    `shows` is a forecast of the smallest loss that a comparison on this set would catch, in points. No number is ever
    cut short: encoders that do not fit into `width` characters follow in a further table, beside the candidate again.

    Raises:
        ValueError: Records of different evaluation sets; such numbers do not belong in one table.
    """
    rows = list(records)
    if not rows:
        return "no encoder was scored\n"
    if len({record.eval_set_digest for record in rows}) > 1:
        raise ValueError("these records come from different evaluation sets and cannot share a table")
    # A console as wide as any table: rich would shrink columns that do not fit until their numbers are gone.
    out = io.StringIO()
    console = Console(file=out, width=_ANY_WIDTH, color_system=None, legacy_windows=False, markup=False)
    others, title = rows[1:], True
    while title or others:
        count = len(others)
        while count > 1 and console.measure(_table([rows[0], *others[:count]], rows, metrics)).maximum > width:
            count -= 1
        console.print(_table([rows[0], *others[:count]], rows, metrics, with_title=title))
        others, title = others[count:], False
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _table(
    columns: Sequence[BenchmarkRecord],
    records: Sequence[BenchmarkRecord],
    metrics: Sequence[str],
    *,
    with_title: bool = False,
) -> Table:
    """A table of `columns`, with every metric that any of `records` has."""
    first = records[0]
    title = f"{first.side} side, {first.num_gallery} products in the gallery, % [{first.confidence:.0%} interval]"
    table = Table(title=title if with_title else None, title_justify="left")
    table.add_column("task / metric", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("pool", justify="right")
    table.add_column("shows", justify="right")
    for record in columns:
        table.add_column(record.encoder, justify="right", no_wrap=True)
    for metric in metrics:
        known = next((record.scores[metric] for record in records if metric in record.scores), None)
        if known is None:
            continue
        source = first.tasks[_task_of(metric)].query_source if _task_of(metric) in first.tasks else ""
        label = metric if source in ("", "purchases") else f"{metric} ({source})"
        shows = _shows(metric, known, first.confidence)
        table.add_row(label, str(known.n), str(known.pool), shows, *(_cell(record, metric) for record in columns))
    table.add_section()
    table.add_row("main score", "", "", "", *(_percent(main_score(record)) for record in columns), style="bold")
    return table


def _shows(metric: str, score: Score, confidence: float) -> str:
    least = smallest_difference(score.low, score.high, score.num_groups, confidence=confidence, level=LEVEL)
    return shown(metric, least, 0) if math.isfinite(least) else "nothing"


def _cell(record: BenchmarkRecord, metric: str) -> str:
    score = record.scores.get(metric)
    if score is None:
        return "n/a"
    return f"{shown(metric, score.value)} [{shown(metric, score.low, 0)}-{shown(metric, score.high, 0)}]"


def _percent(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{100 * value:.1f}"


def _task_of(metric: str) -> str:
    return metric.partition("/")[0]


def _is_macro(metric: str, record: BenchmarkRecord) -> bool:
    return metric.startswith("attributes") and any(name.startswith("attribute.") for name in record.tasks)
