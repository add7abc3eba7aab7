"""`moon check-config`: is this recipe one that a run would accept?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import ConfigError


def check_config(
    file: Annotated[Path, typer.Argument(help="A recipe, such as configs/train_moon/demo.yaml.")],
    pipeline: Annotated[
        str | None, typer.Option(help="Pipeline the recipe is for; the name of its folder where not given.")
    ] = None,
) -> None:
    """Hold every key and value of a recipe, and the gate's policy, against what exists; name the nearest right one.

    Example: moon check-config configs/train_moon/demo.yaml
    """
    import pipelines  # and with it ZenML and the rooms

    name = pipeline or file.resolve().parent.name
    if name not in pipelines.PIPELINES:
        if pipeline is not None:
            raise ConfigError("no such pipeline", got=name, allowed=", ".join(pipelines.PIPELINES))
        name = "train_moon"
    getattr(pipelines, name).check(file)
    typer.echo(f"{file}: a recipe for {name}, every key and value fits")
