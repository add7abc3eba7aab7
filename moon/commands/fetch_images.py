"""`moon data fetch-images`: bring the pictures behind a catalogue's URLs into a folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import CatalogError, ConfigError

MIB = 2**20


def fetch_images(
    ctx: typer.Context,
    taken_from: Annotated[
        str,
        typer.Argument(metavar="FROM", help="A text file with one URL a line, or *.jsonl, *.parquet, *.csv, *.tsv."),
    ],
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="Folder for the pictures and manifest.jsonl; data/ follows MOON_DATA.")
    ],
    column: Annotated[
        list[str] | None, typer.Option(help="Column of a table with a URL or a list of them; may be repeated.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again also for what was refused or failed for good.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Downloads at the same time, over all hosts.")] = 16,
    per_host: Annotated[int, typer.Option(min=1, max=64, help="Downloads at the same time from one host.")] = 2,
    delay: Annotated[float, typer.Option(min=0.0, help="Least time between requests to one host, seconds.")] = 0.1,
    timeout: Annotated[float, typer.Option(min=0.1, help="For the next bytes of a body, seconds.")] = 20.0,
    attempts: Annotated[int, typer.Option(min=1, max=20, help="Requests for a URL while its faults may pass.")] = 4,
    max_mib: Annotated[float, typer.Option(min=0.01, help="Largest picture, MiB.")] = 32.0,
    max_pixels: Annotated[int, typer.Option(min=1024, help="Most pixels of a picture.")] = 50_000_000,
    max_total_mib: Annotated[
        float | None, typer.Option(min=0.01, help="Read no more than this in one run, MiB.")
    ] = None,
    max_failed_frac: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="End with status 1 when a larger share of the URLs gave no picture.")
    ] = 0.1,
    port: Annotated[list[int] | None, typer.Option(help="Allow this port beside 80 and 443; may be repeated.")] = None,
    contact: Annotated[str, typer.Option(help="Mail address or page for the User-Agent.")] = "",
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private", help="Dial private and loopback addresses too: only for an intranet you trust."
        ),
    ] = False,
) -> None:
    """Download the pictures of a catalogue's URLs, politely; go on where an earlier run ended.

    The picture of a URL lies at OUT/AB/ABCD...EXT, where ABCD... is the SHA-256 of the URL. OUT/manifest.jsonl has one
    row per URL. Ctrl-C ends the run cleanly; the same command goes on.

    Example: moon data fetch-images products.jsonl data/shop/images --column images
    """
    from pydantic import ValidationError

    from catalog.catalog import resolve_root
    from catalog.fetching import Ended, FetchConfig, read_urls
    from catalog.fetching import fetch_images as fetch

    try:
        config = FetchConfig(
            num_workers=workers,
            host_concurrency=per_host,
            host_delay_s=delay,
            read_timeout_s=timeout,
            max_attempts=attempts,
            max_image_bytes=int(max_mib * MIB),
            max_image_pixels=max_pixels,
            max_total_bytes=None if max_total_mib is None else int(max_total_mib * MIB),
            ports=(80, 443, *(port or ())),
            contact=contact,
            allow_private=allow_private,
        )
    except ValidationError as error:
        fault = error.errors()[0]
        raise ConfigError(
            "an option is out of its bounds", where=str(fault["loc"][0]), got=str(fault["input"]), allowed=fault["msg"]
        ) from None
    if allow_private:
        typer.secho(
            "WARNING: --allow-private: addresses are NOT judged. A URL in this list, or a redirect from one, can reach "
            "every service this machine can reach, cloud metadata included. Only for lists and networks you trust.",
            fg=typer.colors.RED,
            err=True,
        )
    found = read_urls(resolve_root(taken_from), column or ())
    folder = Path(resolve_root(out))
    typer.echo(f"{found.num_values:,} URLs, {len(found.urls):,} different, into {folder}")
    if found.num_left_out:
        typer.echo(f"note: {found.num_left_out:,} values are no URL, such as {'; '.join(found.examples)}")
    bar = _Bar()
    try:
        report = fetch(found.urls, folder, config, retry_failed=retry_failed, progress=bar.show)
    finally:
        bar.close()
    for line in report.lines():
        typer.echo(line)
    again = _command(ctx)
    if report.ended is not Ended.DONE or any(row.passing for row in report.rows.values()):
        typer.echo(f"to go on: {again}")
    if report.ended is Ended.INTERRUPTED:
        raise typer.Exit(130)
    if report.failed_frac > max_failed_frac:
        raise CatalogError(
            "too many URLs gave no picture",
            where=str(folder / "manifest.jsonl"),
            got=f"{report.failed_frac:.1%} of {len(report.rows):,}",
            allowed=f"at most {max_failed_frac:.1%} (--max-failed-frac)",
            fix=again if retry_failed else f"look at their reasons; then {again} --retry-failed",
        )


class _Bar:
    """Progress with the time left, on a terminal; the report says the rest."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc="fetch", unit="url", disable=not sys.stderr.isatty(), file=sys.stderr)

    def show(self, done: int, to_do: int, num_bytes: int) -> None:
        """Draw what is done."""
        self._bar.total = to_do
        self._bar.set_postfix_str(f"{num_bytes / MIB:,.1f} MiB", refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._bar.close()


def _command(ctx: typer.Context) -> str:
    """The command that was given, in a form to copy."""
    words = ["moon", "data", "fetch-images"]
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif value is True:
            words.append(parameter.opts[0])
        elif value != parameter.default and value:
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [parameter.opts[0], str(one)]
    return shlex.join(words)
