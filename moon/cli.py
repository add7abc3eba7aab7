"""The `moon` command: what ZenML, MLflow and BentoML do not say about a project of this house."""

from __future__ import annotations

import os
from typing import Any

import typer
from typer.core import TyperGroup

from catalog.errors import MoonError
from moon.commands.check_config import check_config
from moon.commands.data import data
from moon.commands.doctor import doctor
from moon.commands.evaluate import evaluate
from moon.commands.gate import gate
from moon.commands.leaderboard import leaderboard
from moon.commands.runs import runs
from moon.commands.serve import serve
from moon.commands.setup import setup
from moon.commands.weights import weights
from moon.quiet import switch_off_telemetry


class _ShortErrors(TyperGroup):
    """Ends with the text of a MoonError and status 1; a traceback is for our own mistakes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MoonError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(error.exit_status) from None


app = typer.Typer(
    cls=_ShortErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train, judge, ship and serve product embeddings.\n\n"
    "A first round: `moon setup`, then `zenml pipeline run train_moon`, then `moon runs`, then `moon serve`.",
)


@app.callback()
def _remember_environment(ctx: typer.Context) -> None:
    # `moon doctor` shows what tools started by hand will see, so it is taken before we quieten our own process.
    ctx.obj = dict(os.environ)
    switch_off_telemetry()


app.command()(setup)
app.command()(doctor)
app.command()(runs)
app.command()(serve)
app.command()(evaluate)
app.command()(leaderboard)
app.command("check-config")(check_config)
app.add_typer(data, name="data")
app.add_typer(gate, name="gate")
app.add_typer(weights, name="weights")


def main() -> None:
    """Entry point of the console script."""
    app()
