"""A product CSV export of Shopify: one row a variant or photograph, several rows an article.

Our choices. A product is an article's colour where it has a colour option, since a photograph shows one colour; its
other options (sizes) become attributes with several values, and `group_id` is the handle. A photograph belongs to the
colour whose variants name it or whose name stands in its alternative text; one that names no colour belongs to the
colours that have none of their own, and is left out where each has, because a photograph of the wrong colour teaches
the wrong thing. Type and tags go to extra: they often spell the category, which is under test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from catalog.config import CatalogConfig
from catalog.errors import CatalogError
from catalog.labels import CATEGORY_SEPARATOR
from catalog.sources.attribute_text import even_spaces
from catalog.sources.column_map import nearest
from catalog.sources.files import DataFiles, find_files
from catalog.sources.gathering import Placed, SourceRows, gather_products
from catalog.sources.html_text import plain_text
from catalog.sources.mapped import NOT_ON_DISK
from catalog.sources.notes import FaultLog, IngestNotes, OnError, RowError
from catalog.sources.pictures import PictureFinder
from catalog.sources.shopify_cells import (
    COLUMNS,
    REQUIRED,
    Cells,
    Variants,
    by_colour,
    columns_of_header,
    is_shop_keeping,
    metafields_of_header,
    options_of,
)
from catalog.sources.tables import RawRow

NO_QUERIES = "a product export holds no queries: what is asked with shoppers' queries cannot be asked of it"


def read_shopify(config: CatalogConfig, on_error: OnError, work_dir: str, max_rows: int | None = None) -> SourceRows:
    """Read an export, article by article.

    Raises:
        CatalogError: No such file, no Handle or Title, nothing to read, or bad rows under `stop`.
    """
    files = find_files(str(config.path))
    notes, faults = IngestNotes(), FaultLog(on_error)
    reader = _Reader(files, PictureFinder(files, config.image_root, work_dir), notes)
    rows = reader.products(islice(files.rows(), max_rows))
    products = gather_products(rows, notes, faults, config.max_title_chars)
    faults.stop_if_any(files.root)
    if not products:
        raise CatalogError("empty catalogue: no usable product", where=files.root, got=faults.told() or "no row")
    notes.tell(NO_QUERIES)
    root, image_root = reader.pictures.place()
    bad_rows, urls = tuple(faults.rows), reader.pictures.missing
    return SourceRows(files.name, root, image_root, products, (), bad_rows, notes.lines(), urls)


class _Reader:
    def __init__(self, files: DataFiles, pictures: PictureFinder, notes: IngestNotes) -> None:
        self.pictures, self._notes = pictures, notes
        header = files.columns()
        self._columns, self._metafields = columns_of_header(header), metafields_of_header(header)
        lost = [COLUMNS[short][0] for short in REQUIRED if short not in self._columns]
        if lost:
            near = [f"{name}: did you mean {match}?" for name in lost if (match := nearest(name, header))]
            raise CatalogError(
                f"no Shopify product export: it has no {' and no '.join(lost)}",
                where=files.root,
                got=", ".join(header) or "no column",
                allowed=", ".join(names[0] for names in COLUMNS.values()),
                fix="; ".join(near) or "`moon data inspect` says which source fits",
            )
        used = {*self._columns.values(), *self._metafields}
        self._unknown = [name for name in header if name not in used and not is_shop_keeping(name)]
        for name in self._unknown:
            notes.add_unknown(files.name, name)

    def products(self, rows: Iterable[Placed]) -> Iterator[Placed]:
        """Products of all articles; a row without a handle is a fault of its own."""
        article: list[tuple[str, Cells]] = []
        for where, row in rows:
            if isinstance(row, str):
                yield where, row
                continue
            cells = Cells(row, self._columns)
            if not cells["handle"]:
                yield where, "no Handle; every row of an export names its article"
                continue
            if article and cells["handle"] != article[0][1]["handle"]:
                yield from self._article(article)
                article = []
            article.append((where, cells))
        if article:
            yield from self._article(article)

    def _article(self, rows: list[tuple[str, Cells]]) -> Iterator[Placed]:
        where, first = rows[0]
        if first["status"].casefold() == "draft":
            # No shopper ever saw one, and its text and photographs may be half done.
            self._notes.add("articles whose status is draft left out", where)
            return
        variants = [(options_of(first, row), row) for _, row in rows if _is_variant(row)]
        colours = by_colour(variants) or [Variants()]
        shared = self._shared(first, where)
        for colour, cells in zip(colours, self._pictures(rows, colours, where), strict=True):
            try:
                yield where, self._product(first, colour, cells, shared, where)
            except RowError as fault:
                yield where, str(fault)

    def _shared(self, first: Cells, where: str) -> RawRow:
        """What all colours of an article have in common."""
        path = first["category"] or first["type"]
        if not first["category"] and path:
            self._notes.add("no Product Category, the Type taken for it", where)
        attributes: dict[str, Any] = {"Vendor": first["vendor"]} if first["vendor"] else {}
        for column, name in self._metafields.items():
            values = [even_spaces(part) for part in str(first.row.get(column) or "").split(";")]
            if values := list(dict.fromkeys(value for value in values if value)):
                attributes[name] = values if len(values) > 1 else values[0]
        extra: dict[str, Any] = {name: first[name] for name in ("type", "status", "published")}
        extra |= {name: first.row.get(name) for name in self._unknown}
        tags = [tag.strip() for tag in first["tags"].split(",") if tag.strip()]
        return {
            "title": even_spaces(first["title"]) or None,
            "category": [level for part in path.split(CATEGORY_SEPARATOR.strip()) if (level := even_spaces(part))],
            "description": plain_text(first["body"]) or None,
            "attributes": attributes,
            "extra": extra | ({"tags": tags} if tags else {}),
        }

    def _product(self, first: Cells, colour: Variants, cells: list[str], shared: RawRow, where: str) -> RawRow:
        handle = first["handle"]
        shots = self.pictures.shots(list(cells))
        extra = shared["extra"] | ({"skus": colour.skus} if colour.skus else {})
        if shots.urls:
            self._notes.add(NOT_ON_DISK, where)
            extra["image_urls"] = list(shots.urls)
            if not shared["title"] and not shots.refs:
                raise RowError("no Title, and its photographs are URLs that are not on disk; fetch them first")
        try:
            price = min((float(price) for price in colour.prices), default=None)
        except ValueError:
            raise RowError(
                f"{self._columns['price']} must be a number such as 1299.50, got {'; '.join(colour.prices)}"
            ) from None
        return shared | {
            "product_id": f"{handle}/{colour.colour}" if colour.colour else handle,
            "group_id": handle,
            "attributes": shared["attributes"] | colour.attributes(),
            "images": list(shots.refs),
            "price": price,
            "extra": extra,
        }

    def _pictures(self, rows: list[tuple[str, Cells]], colours: list[Variants], where: str) -> list[list[str]]:
        """The photographs of each colour, those of its variants first, then by their position."""
        gallery = sorted((row for _, row in rows if row["image"]), key=_position)
        shots = {_same(row["image"]): row for row in gallery}
        if len(colours) == 1:
            found = [*colours[0].images, *(row["image"] for row in shots.values())]
            return [list({_same(cell): cell for cell in found}.values())]
        owned = [{_same(cell): cell for cell in colour.images} for colour in colours]
        free: list[str] = []
        for key, row in shots.items():
            if any(key in own for own in owned):
                continue
            named = [place for place, colour in enumerate(colours) if _names(row["alt"], colour.colour)]
            if len(named) == 1:
                owned[named[0]][key] = row["image"]
            else:
                free.append(row["image"])
        if free and all(owned):
            self._notes.add("photographs of articles in several colours that name none of them left out", where)
        return [list(own.values()) or list(free) for own in owned]


def _is_variant(row: Cells) -> bool:
    return any(row[short] for short in ("option1_value", "option2_value", "option3_value", "sku", "price"))


def _position(row: Cells) -> float:
    return float(row["position"]) if row["position"].isdecimal() else float("inf")


def _same(url: str) -> str:
    """An address without its query: Shopify puts a version there, which differs between columns."""
    return url.partition("?")[0]


def _names(alt: str, colour: str) -> bool:
    """Whether an alternative text names a colour, as words of its own where the script has spaces."""
    words, name = f" {_spaced(alt)} ", _spaced(colour)
    return bool(name) and (f" {name} " in words if name.isascii() else name in words)


def _spaced(text: str) -> str:
    return " ".join("".join(char if char.isalnum() else " " for char in text.casefold()).split())
