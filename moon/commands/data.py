"""`moon data`: look at a catalogue, import a public one, draw a sheet of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from moon.commands.fetch_images import fetch_images

if TYPE_CHECKING:
    from catalog import Catalog

data = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at, import and draw catalogues.")
imports = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make a catalogue folder of a public source.")
data.add_typer(imports, name="import")
data.command("fetch-images")(fetch_images)

OUT_OF_SIGHT = 3
"""Examples of each kind that are shown."""


@data.command()
def inspect(
    path: Annotated[str, typer.Argument(help="A folder with products.jsonl or products.parquet.")],
) -> None:
    """Say what a folder holds as MOON reads it: rows, photographs, categories, attributes, sides, bad rows.

    Example: moon data inspect data/luma
    """
    from catalog import SplitConfig, split_catalog
    from catalog.catalog import IMAGE_OK

    catalog = _load(path)
    splits = split_catalog(catalog, SplitConfig())
    bad_images = [record for record in catalog.images.values() if record.status != IMAGE_OK]
    kinds = Counter(str(query.kind) for query in catalog.queries)
    leaves = {product.category for product in catalog.products if product.category}
    attributes = Counter(name for product in catalog.products for name in product.attributes)
    sides = Counter(str(side) for side in splits.side_of.values())
    rows = [
        ("products", f"{len(catalog.products)} in {len({p.group_id for p in catalog.products})} groups"),
        ("photographs", f"{len(catalog.images)}, {len(bad_images)} cannot be used"),
        ("queries", _counts(kinds)),
        ("categories", f"{len(leaves)} leaves, up to {max((len(leaf) for leaf in leaves), default=0)} levels"),
        ("attributes", _counts(attributes)),
        ("split", _counts(sides)),
        ("digest", catalog.digest),
    ]
    for name, text in rows:
        typer.echo(f"{name:<12} {text}")
    for product in catalog.products[:OUT_OF_SIGHT]:
        typer.echo(f"  {product.product_id}: {product.title or '(no title)'}  [{' > '.join(product.category)}]")
    for note in catalog.notes:
        typer.echo(f"note: {note}")
    for row in catalog.bad_rows[:OUT_OF_SIGHT]:
        typer.echo(f"bad row: {row.where}: {row.reason}")
    for record in bad_images[:OUT_OF_SIGHT]:
        typer.echo(f"bad image: {record.ref}: {record.status}")


@data.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="PNG to write.")],
    path: Annotated[str | None, typer.Option(help="Folder of a catalogue; the demo shop if empty.")] = None,
    products: Annotated[int, typer.Option(min=1, max=2000, help="Products on the sheet.")] = 48,
) -> None:
    """Draw a contact sheet: what a person looks at before believing any number.

    Example: moon data sheet sheet.png --products 64
    """
    from catalog import CatalogConfig, DemoConfig
    from catalog.demo.sheet import render_sheet
    from catalog.sources import load_catalog

    with TemporaryDirectory() as work:
        if path is None:
            demo = DemoConfig(num_products=max(products, 24))
            catalog = load_catalog(CatalogConfig(demo=demo), work_dir=work)
        else:
            catalog = _load(path)
        chosen = [product for product in catalog.products if product.images][:products]
        render_sheet(chosen, catalog.root, str(out), queries=catalog.queries[:24])
    typer.echo(f"{len(chosen)} products on {out}")


@imports.command("magento-sample")
def magento_sample(
    source: Annotated[Path, typer.Argument(help="A clone of the repository magento/magento2-sample-data.")],
    out: Annotated[str, typer.Argument(help="Folder to write, such as data/luma; data/ follows MOON_DATA.")],
) -> None:
    """Make the Luma catalogue of Magento's sample data, so that our numbers can be repeated.

    It is written where a recipe with the same path looks for it: a path below data/ follows the variable MOON_DATA.

    Example: moon data import magento-sample ../magento2-sample-data data/luma
    """
    from catalog.catalog import resolve_root
    from catalog.sources.magento import import_magento_sample

    folder = resolve_root(out)
    import_magento_sample(str(source), folder)
    typer.echo(f"written to {folder}")
    inspect(folder)


def _load(path: str) -> Catalog:
    from catalog import CatalogConfig
    from catalog.sources import load_catalog

    with TemporaryDirectory() as work:
        return load_catalog(CatalogConfig(source="folder", path=path), work_dir=work, on_error="quarantine")


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"
