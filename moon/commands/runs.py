"""`moon runs`: the runs beside each other."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from catalog.names import EXPERIMENT

SCORES = {
    "main": "test/main_score",
    "photo R@1": "test/image_to_product/recall_at_1",
    "text R@10": "test/text_to_product/recall_at_10",
    "both R@1": "test/both_to_product/recall_at_1",
    "leaf": "test/category_leaf_title_hidden/accuracy",
    "attr": "test/attributes_title_hidden/accuracy_macro",
}
"""Column -> metric; shares of held-out queries or products."""
WIDTH_IN_A_FILE = 180


def runs(
    limit: Annotated[int, typer.Option(min=1, help="Newest runs to show.")] = 20,
) -> None:
    """Show runs of train_moon with their scores (percent), the gate's answer and the version.

    Example: moon runs --limit 5
    """
    import mlflow
    from rich.console import Console
    from rich.table import Table

    from moon.stack import tracking_uri
    from steps.registry import Registry

    mlflow.set_tracking_uri(tracking_uri())
    found = mlflow.search_runs(
        experiment_names=[EXPERIMENT], max_results=limit, order_by=["start_time DESC"], output_format="list"
    )
    if not found:
        typer.echo("no runs yet\n\nnext:\n  zenml pipeline run train_moon")
        return
    aliases = {str(row.version): ", ".join(row.aliases) for row in Registry().versions_with_aliases()}
    table = Table(
        title=f"runs of {EXPERIMENT}, newest first; scores in % of held-out queries or products", title_justify="left"
    )
    for column in ("run", "started", "status", "gate", "version", *SCORES, "cached"):
        table.add_column(column, justify="right" if column in SCORES else "left", no_wrap=True)
    for run in found:
        table.add_row(*_cells(run, aliases))
    Console(width=None if sys.stdout.isatty() else WIDTH_IN_A_FILE).print(table)


def _cells(run: Any, aliases: dict[str, str]) -> list[str]:
    tags, metrics = run.data.tags, run.data.metrics
    version = tags.get("model_version", "-")
    if aliases.get(version):
        version = f"{version} ({aliases[version]})"
    started = datetime.fromtimestamp(run.info.start_time / 1000).strftime("%m-%d %H:%M")
    num_cached = tags.get("cached_from", "").count(" from ")
    scores = [f"{100 * metrics[key]:.1f}" if key in metrics else "-" for key in SCORES.values()]
    return [
        run.info.run_name.removeprefix(f"{EXPERIMENT}-"),
        started,
        run.info.status.lower(),
        tags.get("gate", "-"),
        version,
        *scores,
        f"{num_cached} steps" if num_cached else "-",
    ]
