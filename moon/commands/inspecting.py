"""What `moon data inspect` says: which source fits, what becomes of the columns, and what the rows hold."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from catalog.errors import StorageError

if TYPE_CHECKING:
    from catalog import Catalog
    from catalog.sources.detect import Detection

NUM_EXAMPLES = 3
"""Examples of each kind that are shown."""


def inspect_data(
    path: str,
    *,
    rows: int = 0,
    columns: str | None = None,
    image_root: str | None = None,
    list_urls: Path | None = None,
) -> None:
    """Print what the data at `path` is and holds; bad rows are told and stop nothing.

    Args:
        path: As `catalog.path`.
        rows: Rows that are read of published data; 0 reads all. Our own folders are always read whole.
        columns: A column map to try, whatever the columns look like.
        image_root: As `catalog.image_root`.
        list_urls: Write the URLs of photographs that are not on disk there, for `moon data fetch-images`.

    Raises:
        MoonError: Nothing there that can be read, or a column map that does not fit.
    """
    from catalog import CatalogConfig
    from catalog.sources import load_catalog, read_source
    from catalog.sources.detect import detect

    found = detect(path)
    source = "columns" if columns else found.source
    if source != "folder":
        _tell_source(found, path, columns, image_root)
    elif image_root is not None:
        typer.echo("note: --image-root has no effect: MOON's own tables name photographs below their folder")
        image_root = None
    if source == "columns" and columns is None:
        _tell_draft(found, path)
        if list_urls is not None:
            typer.echo("note: --list-urls has no effect before a column map says where the photographs are")
        return
    section = CatalogConfig(source=source, path=path, columns=columns, image_root=image_root)
    max_rows = rows or None if source != "folder" else None
    with TemporaryDirectory() as work:
        catalog = load_catalog(section, work_dir=work, on_error="quarantine", max_rows=max_rows)
        if max_rows:
            typer.echo(f"{'rows':<12} the first {max_rows:,} are read; --rows 0 reads all")
        _tell_catalog(catalog)
        if list_urls is not None:
            _write_urls(read_source(section, work, "quarantine", max_rows).missing_urls, list_urls)


def _write_urls(urls: tuple[str, ...], out: Path) -> None:
    if not urls:
        typer.echo(f"no URL of a photograph that is not on disk; {out} is not written")
        return
    beside = out.with_name(f".{out.name}.partial")
    try:
        beside.write_text("".join(f"{url}\n" for url in urls), encoding="utf-8")
        beside.replace(out)
    except OSError as error:
        raise StorageError(
            "the list of URLs cannot be written", where=str(out), got=error.strerror or str(error)
        ) from None
    typer.echo(f"{len(urls)} URLs on {out}; fetch them: moon data fetch-images {out} FOLDER")
    typer.echo("then write `image_root: FOLDER` beside the path")


def _tell_source(found: Detection, path: str, columns: str | None, image_root: str | None) -> None:
    if columns:
        rows = [("source", f"columns, by {columns}")]
        more = f", image_root: {image_root}" if image_root else ""
        rows.append(("recipe", f"catalog: {{source: columns, path: {path}, columns: {columns}{more}}}"))
    else:
        sure = f"{found.confidence:.0%} of its columns are here" if found.confidence else "no source knows it"
        rows = [("source", f"{found.source} ({sure}): {found.why}"), ("recipe", found.recipe(path, image_root))]
        rows.append(("mapped", ", ".join(f"{ours} <- {theirs}" for ours, theirs in found.mapped.items()) or "nothing"))
        rows.append(("missing", "; ".join(found.missing) or "nothing"))
        if found.unmapped:
            rows.append(("not mapped", ", ".join(found.unmapped)))
    rows.append(("files", str(found.num_files)))
    for name, text in rows:
        typer.echo(f"{name:<12} {text}")


def _tell_draft(found: Detection, path: str) -> None:
    from catalog.sources.files import find_files

    typer.echo("a column map to begin from, to be saved as MAP.yaml and tried with --columns MAP.yaml:")
    typer.echo("".join(f"  {line}\n" for line in found.draft().splitlines()).rstrip())
    files = find_files(path)
    without = frozenset(name for name, holds_bytes in files.columns().items() if holds_bytes)
    for where, row in islice(files.rows(without), NUM_EXAMPLES):
        text = row if isinstance(row, str) else ", ".join(f"{name}: {cell!r:.60}" for name, cell in row.items())
        typer.echo(f"  {where}: {text}")


def _tell_catalog(catalog: Catalog) -> None:
    from catalog import SplitConfig, split_catalog
    from catalog.catalog import IMAGE_OK

    splits = split_catalog(catalog, SplitConfig())
    bad_images = [record for record in catalog.images.values() if record.status != IMAGE_OK]
    num_urls = sum(len(product.extra.get("image_urls", ())) for product in catalog.products)
    kinds = Counter(str(query.kind) for query in catalog.queries)
    leaves = {product.category for product in catalog.products if product.category}
    attributes = Counter(name for product in catalog.products for name in product.attributes)
    sides = Counter(str(side) for side in splits.side_of.values())
    not_here = f"; {num_urls} URLs are not on disk" if num_urls else ""
    rows = [
        ("products", f"{len(catalog.products)} in {len({p.group_id for p in catalog.products})} groups"),
        ("photographs", f"{len(catalog.images)}, {len(bad_images)} cannot be used{not_here}"),
        ("queries", _counts(kinds)),
        ("categories", f"{len(leaves)} leaves, up to {max((len(leaf) for leaf in leaves), default=0)} levels"),
        ("attributes", _counts(attributes)),
        ("split", _counts(sides)),
        ("digest", catalog.digest),
    ]
    for name, text in rows:
        typer.echo(f"{name:<12} {text}")
    for product in catalog.products[:NUM_EXAMPLES]:
        typer.echo(f"  {product.product_id}: {product.title or '(no title)'}  [{' > '.join(product.category)}]")
    for note in catalog.notes:
        typer.echo(f"note: {note}")
    for row in catalog.bad_rows[:NUM_EXAMPLES]:
        typer.echo(f"bad row: {row.where}: {row.reason}")
    if len(catalog.bad_rows) > NUM_EXAMPLES:
        typer.echo(f"bad rows: {len(catalog.bad_rows)} in all")
    for record in bad_images[:NUM_EXAMPLES]:
        typer.echo(f"bad image: {record.ref}: {record.status}")


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"
