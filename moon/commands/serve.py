"""`moon serve`: the service of a registered version, from its Bento."""

from __future__ import annotations

from typing import Annotated

import typer

from catalog.errors import ModelError


def serve(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; the Bento's own (3000) if empty.")] = None,
    host: Annotated[str | None, typer.Option(help="Address; the Bento's own (127.0.0.1) if empty.")] = None,
    version: Annotated[str | None, typer.Option(help="Version of the registry; champion, else challenger.")] = None,
) -> None:
    """Serve the champion, or the challenger where there is no champion yet.

    Example: moon serve --port 3000
    """
    import mlflow

    from moon.stack import tracking_uri
    from serving.launch import serve_bento
    from steps.registry import BENTO_TAG, Registry

    mlflow.set_tracking_uri(tracking_uri())
    registry = Registry()
    chosen = registry.by_version(version) if version else registry.best()
    if chosen is None:
        raise ModelError("no version is registered", where=registry.name, fix="zenml pipeline run train_moon")
    tag = chosen.tags.get(BENTO_TAG)
    if not tag:
        raise ModelError(
            "the version has no Bento", where=f"{registry.name} version {chosen.version}", fix="run train_moon again"
        )
    aliases = ", ".join(chosen.aliases) or "no alias"
    typer.echo(f"serving {registry.name} version {chosen.version} ({aliases}) from Bento {tag}")
    status = serve_bento(tag, host=host, port=port)
    if status:
        raise typer.Exit(status)
