"""`moon setup`: everything a run needs on this machine, once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import StorageError
from moon.quiet import QUIET

BEGIN = "# >>> moon: quiet tools >>>"
END = "# <<< moon <<<"


def setup(
    root: Annotated[
        Path, typer.Option(help="The project's root; ZenML's repository and mlflow.db lie there.")
    ] = Path(),
    activate: Annotated[bool, typer.Option(help="Write the telemetry switches into .venv/bin/activate.")] = True,
) -> None:
    """Make the ZenML repository, the stack `moon` and its MLflow store; safe to repeat.

    Does what is missing and says what it did. Example: moon setup
    """
    from moon.stack import set_up_stack  # ZenML takes seconds to import

    try:
        done = set_up_stack(root)
        script = Path(sys.prefix) / "bin" / "activate"
        if activate and sys.prefix != sys.base_prefix and script.exists() and write_switches(script):
            done.append(f"switched telemetry of tools you start yourself off, in {script}")
    except OSError as error:
        raise StorageError(
            "set-up cannot write", where=str(error.filename or root), got=error.strerror or str(error)
        ) from None
    for line in done or ["nothing to do: all is set up"]:
        typer.echo(line)
    typer.echo("\nnext:\n  zenml pipeline run train_moon\n  moon doctor")


def write_switches(script: Path) -> bool:
    """Put the block of exports into an activate script, or bring it up to date.

    Returns:
        Whether the file changed.
    """
    old = script.read_text(encoding="utf-8")
    lines = [BEGIN, *(f"export {name}={value}" for name, value in QUIET.items()), END]
    block = "\n".join(lines) + "\n"
    head, found, rest = old.partition(BEGIN)
    tail = rest.partition(END)[2].lstrip("\n") if found else ""
    new = (head if not head or head.endswith("\n") else head + "\n") + block + tail
    if new == old:
        return False
    script.write_text(new, encoding="utf-8")
    return True
