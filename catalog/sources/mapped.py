"""Any table by a column map: rows stream by, one pass gives the products and the queries that stand beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from catalog.config import CatalogConfig
from catalog.errors import CatalogError
from catalog.sources.attribute_text import PairSyntax, even_spaces, parse_pairs
from catalog.sources.column_map import ColumnMap, check_columns
from catalog.sources.files import DataFiles, find_files
from catalog.sources.gathering import Placed, SourceRows, gather_products, gather_queries
from catalog.sources.hits import HitGatherer
from catalog.sources.notes import FaultLog, IngestNotes, OnError, RowError
from catalog.sources.pictures import PictureFinder
from catalog.sources.tables import RawRow

NOT_ON_DISK = (
    "photographs named by URL and not on disk left out (moon data inspect --list-urls, moon data fetch-images, "
    "then catalog.image_root)"
)


class RowMapper:
    """Turns rows of published data into rows of our columns."""

    def __init__(self, column_map: ColumnMap, pictures: PictureFinder, notes: IngestNotes) -> None:
        self.map, self.pictures, self.notes = column_map, pictures, notes
        self._named = frozenset(column_map.product_columns().values()) | frozenset(column_map.query_columns().values())

    def product(self, row: RawRow, where: str) -> RawRow:
        """The columns of a product.

        Raises:
            RowError: A cell of a kind that the map does not allow, or nothing left to show.
        """
        cells, images = self.map, self.map.images
        title = row.get(cells.title) if cells.title else None
        found: RawRow = {
            "product_id": row.get(cells.product_id),
            "title": even_spaces(title) if isinstance(title, str) else title,
            "category": self._category(row, where),
            "attributes": self._attributes(row, where),
            "extra": self._extra(row),
        }
        for name in ("group_id", "description", "price", "url"):
            if column := getattr(cells, name):
                found[name] = row.get(column)
        if images is not None:
            shots = self.pictures.shots(_listed(row, images.columns, images.separator))
            found["images"] = list(shots.refs)
            if shots.urls:
                self.notes.add(NOT_ON_DISK, where)
                found["extra"]["image_urls"] = list(shots.urls)
                if not found["title"] and not shots.refs:
                    raise RowError("no title, and its photograph is a URL that is not on disk; fetch it first")
        return found

    def _category(self, row: RawRow, where: str) -> list[str]:
        """Levels from the root on; nothing below an empty one, whose own level would be unknown."""
        spec = self.map.category
        if spec is None:
            return []
        levels = [even_spaces(_text(cell, "category")) for cell in _listed(row, spec.columns, spec.separator, True)]
        while levels and not levels[-1]:
            levels.pop()
        if "" in levels:
            self.notes.add("category levels below an empty level left out", where)
            levels = levels[: levels.index("")]
        return levels

    def _attributes(self, row: RawRow, where: str) -> dict[str, Any]:
        spec = self.map.attributes
        if spec is None:
            return {}
        found: dict[str, Any] = {}
        if spec.column:
            found |= self._packed(row.get(spec.column), where)
        for name, column in spec.by_name().items():
            cell = row.get(column)
            if isinstance(cell, str):
                parts = cell.split(spec.value_separator) if spec.value_separator else [cell]
                kept = list(dict.fromkeys(text for part in parts if (text := even_spaces(part))))
                cell = kept[0] if len(kept) == 1 else kept
            found[name] = cell
        return found

    def _packed(self, cell: Any, where: str) -> dict[str, Any]:
        spec = self.map.attributes
        if cell is None or spec is None:
            return {}
        if isinstance(cell, dict):
            return cell
        if not isinstance(cell, str):
            raise RowError(f"{spec.column} must be text or an object, got {type(cell).__name__}")
        if cell.lstrip().startswith("{"):
            try:
                held = json.loads(cell)
            except (ValueError, RecursionError):
                held = None
            if isinstance(held, dict):
                return held
        pairs, problems = parse_pairs(cell, PairSyntax(spec.pair_separator, spec.key_separator, spec.value_separator))
        for problem in problems:
            self.notes.add(problem, where)
        return pairs

    def _extra(self, row: RawRow) -> dict[str, Any]:
        if self.map.extra is not None:
            return {name: row.get(name) for name in self.map.extra}
        kept = {name: cell for name, cell in row.items() if name not in self._named}
        return {name: cell for name, cell in kept.items() if not isinstance(cell, bytes)}


def read_mapped(
    config: CatalogConfig,
    column_map: ColumnMap,
    on_error: OnError,
    work_dir: str,
    *,
    notes: IngestNotes | None = None,
    max_rows: int | None = None,
) -> SourceRows:
    """Read the data at `config.path` by a column map.

    Args:
        config: Path, folder of the photographs, and what a row may cost.
        column_map: Its columns must all be there.
        on_error: What bad rows do.
        work_dir: Where pictures that rows hold are written.
        notes: Gathers what was changed, after what was noted before.
        max_rows: Read no more of the products, for a look; references of queries are then not checked.

    Raises:
        CatalogError: Nothing to read, an empty table, or bad rows under `stop`.
        ConfigError: The map names a column that is not there.
    """
    notes, faults = notes or IngestNotes(), FaultLog(on_error)
    asks = column_map.queries
    files = find_files(str(config.path), column_map.files or _all_but(config, asks.files if asks else ()))
    own_files = find_files(str(config.path), asks.files) if asks and asks.files else None
    of_products, of_queries = column_map.product_columns(), column_map.query_columns()
    wanted = {*of_products.values(), *(() if own_files else of_queries.values())}
    present = files.columns(wanted, max_rows)
    check_columns(of_products, present, files.root)
    asked = own_files.columns(of_queries.values(), max_rows) if own_files else present
    check_columns(of_queries, asked, files.root)
    pictures = PictureFinder(files, config.image_root, work_dir)
    mapper = RowMapper(column_map, pictures, notes)
    hits = HitGatherer(column_map, pictures, notes) if asks else None
    unwanted = _unwanted(column_map, present, files, notes)
    rows = islice(files.rows(unwanted), max_rows)
    products = gather_products(
        _product_rows(rows, mapper, hits if own_files is None else None),
        notes,
        faults,
        config.max_title_chars,
        column_map.repeats,
    )
    if hits and own_files:
        for where, row in islice(own_files.rows(), max_rows):
            hits.add(row, where)
    queries = gather_queries(hits.rows() if hits else (), products, notes, faults, whole=max_rows is None)
    faults.stop_if_any(files.root)
    if not products and not queries:
        raise CatalogError(
            "empty catalogue: no usable product",
            where=files.root,
            got=faults.told() or "files without rows",
            fix="look at the rows with `moon data inspect`",
        )
    root, image_root = pictures.place()
    bad_rows, urls = tuple(faults.rows), pictures.missing
    return SourceRows(files.name, root, image_root, products, queries, bad_rows, notes.lines(), urls)


def _product_rows(rows: Iterable[Placed], mapper: RowMapper, hits: HitGatherer | None) -> Iterator[Placed]:
    for where, row in rows:
        if isinstance(row, str):
            yield where, row
            continue
        try:
            product = mapper.product(row, where)
        except RowError as fault:
            yield where, str(fault)
            continue
        yield where, product
        if hits is not None:
            hits.add(row, where)


def _all_but(config: CatalogConfig, own: tuple[str, ...]) -> tuple[str, ...]:
    """Where queries have files of their own, every other file holds products."""
    if not own:
        return ()
    found, queries = find_files(str(config.path)), find_files(str(config.path), own)
    left = tuple(name for name in found.names if name not in queries.names)
    if not left:
        raise CatalogError("no file of products beside those of the queries", where=found.root, got=", ".join(own))
    return left


def _unwanted(column_map: ColumnMap, present: dict[str, bool], files: DataFiles, notes: IngestNotes) -> frozenset[str]:
    """Columns that are not read: bytes that are not mapped and, where the map lists its extra columns, the rest."""
    named = set(column_map.product_columns().values()) | set(column_map.query_columns().values())
    others = [name for name in present if name not in named]
    unwanted = [name for name in others if present[name] or column_map.extra is not None]
    kept = [name for name in others if name not in unwanted]
    for name in kept:
        notes.add_unknown(files.name, name)
    if unwanted:
        notes.tell(f"columns of {files.name} that no key of the map names left out: {', '.join(unwanted)}")
    return frozenset(unwanted)


def _listed(row: RawRow, columns: tuple[str, ...], separator: str | None, with_empty: bool = False) -> list[Any]:
    """The cells of several columns as one list; lists and separated texts taken apart."""
    found: list[Any] = []
    for column in columns:
        cell = row.get(column)
        if isinstance(cell, str) and separator:
            found += [part.strip() for part in cell.split(separator)]
        else:
            found += cell if isinstance(cell, list) else [cell]
    return found if with_empty else [cell for cell in found if cell is not None and cell != ""]


def _text(cell: Any, name: str) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool) or not isinstance(cell, str | int):
        raise RowError(f"{name} must hold text, got {type(cell).__name__}")
    return str(cell)
