"""One door to every source: whatever the configuration names becomes a `Catalog`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from catalog.catalog import EMBEDDED_ROOT, Catalog
from catalog.config import CatalogConfig
from catalog.images import ImageLimits
from catalog.sources.column_map import read_column_map
from catalog.sources.folder import read_folder
from catalog.sources.gathering import SourceRows
from catalog.sources.mapped import read_mapped
from catalog.sources.marqo import read_marqo
from catalog.sources.mbe import read_mbe
from catalog.sources.notes import OnError
from catalog.sources.probing import image_refs, probe_images
from catalog.sources.shopify import read_shopify

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def load_catalog(
    config: CatalogConfig,
    *,
    work_dir: str,
    on_error: OnError = "stop",
    progress: Progress | None = None,
    max_rows: int | None = None,
) -> Catalog:
    """Read the rows, look at every photograph once, and return the catalogue.

    An image that cannot be used does not stop anything here: its record says why, and the data checks decide.

    Args:
        config: Which source, and what a row and an image may cost.
        work_dir: Where the demo shop is rendered, and where pictures that published rows hold as bytes are written,
            named by their digest; a folder source writes nothing.
        on_error: What bad rows do: stop the run with one error, or be set aside in `Catalog.bad_rows`.
        progress: Called with the number of images done and in all.
        max_rows: Read no more rows of a table, for a look at a large one.

    Raises:
        CatalogError: The source cannot be read, is empty, or has bad rows under `stop`.
        ConfigError: A column map cannot be read, or names a column that the data does not have.
    """
    limits = ImageLimits(config.max_image_bytes, config.max_image_pixels)
    if config.source == "demo":
        return _load_demo(config, work_dir, limits, progress)
    rows = read_source(config, work_dir, on_error, max_rows)
    for note in rows.notes:
        logger.warning("%s: %s", rows.name, note)
    if rows.bad_rows:
        logger.warning("%s: %d bad rows set aside", rows.name, len(rows.bad_rows))
    return Catalog(
        name=rows.name,
        products=rows.products,
        queries=rows.queries,
        images=probe_images(image_refs(rows.products, rows.queries), rows.root, limits, progress),
        root=rows.root,
        image_root=rows.image_root,
        bad_rows=rows.bad_rows,
        notes=rows.notes,
    )


def read_source(
    config: CatalogConfig, work_dir: str, on_error: OnError = "stop", max_rows: int | None = None
) -> SourceRows:
    """The rows of any source but the demo, and the URLs of its photographs that are not on disk.

    Args, Raises: As `load_catalog`.
    """
    match config.source:
        case "mbe":
            return read_mbe(config, on_error, work_dir, max_rows)
        case "marqo":
            return read_marqo(config, on_error, work_dir, max_rows)
        case "shopify":
            return read_shopify(config, on_error, work_dir, max_rows)
        case "columns":
            column_map = read_column_map(str(config.columns))
            return read_mapped(config, column_map, on_error, work_dir, max_rows=max_rows)
        case _:
            return read_folder(config, on_error, max_rows)


def _load_demo(config: CatalogConfig, work_dir: str, limits: ImageLimits, progress: Progress | None) -> Catalog:
    from catalog.demo import render_demo  # the renderer is needed by this source alone

    products, queries = render_demo(config.demo, work_dir, progress)
    return Catalog(
        name="demo",
        products=tuple(products),
        queries=tuple(queries),
        images=probe_images(image_refs(products, queries), work_dir, limits),
        root=work_dir,
        image_root=EMBEDDED_ROOT,
    )
