"""`moon data`: look at a catalogue, import a public one, draw a sheet of it."""

from __future__ import annotations

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


@data.command()
def inspect(
    path: Annotated[str, typer.Argument(help="A folder or file of rows, or hub:OWNER/NAME that is on disk.")],
    rows: Annotated[int, typer.Option(min=0, help="Rows of published data that are read; 0 reads all.")] = 20_000,
    columns: Annotated[str | None, typer.Option(help="YAML of a column map to try.")] = None,
    image_root: Annotated[str | None, typer.Option(help="Folder of the photographs that rows name.")] = None,
    list_urls: Annotated[
        Path | None, typer.Option(help="Write the URLs of photographs that are not on disk here, one a line.")
    ] = None,
) -> None:
    """Say which source fits and what data holds as MOON reads it: rows, photographs, categories, attributes, bad rows.

    Example: moon data inspect data/luma
    """
    from moon.commands.inspecting import inspect_data

    inspect_data(path, rows=rows, columns=columns, image_root=image_root, list_urls=list_urls)


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
    from moon.commands.inspecting import inspect_data

    inspect_data(folder)


def _load(path: str) -> Catalog:
    from catalog import CatalogConfig
    from catalog.sources import load_catalog

    with TemporaryDirectory() as work:
        return load_catalog(CatalogConfig(source="folder", path=path), work_dir=work, on_error="quarantine")
