"""The column map: which columns of published data are which of ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from catalog.catalog import resolve_root
from catalog.config import QueryColumns, Section
from catalog.errors import CatalogError, ConfigError
from catalog.sources.gathering import Repeats


class CategoryColumns(Section):
    """The category path: a column for each level, or one column that holds the path."""

    columns: tuple[str, ...] = Field(min_length=1, description="Root first.")
    separator: str | None = Field(
        default=None, min_length=1, description="Between the levels in one column, such as ' > '."
    )


class AttributeColumns(Section):
    """Attributes: a column for each, or one column that holds them all."""

    columns: dict[str, str] | tuple[str, ...] = Field(
        default=(), description="Columns of one attribute each, or attribute name to column."
    )
    column: str | None = Field(default=None, description="One column of pairs as text, an object, or JSON of one.")
    pair_separator: str = Field(default=",,", min_length=1, description="Between the pairs of `column`.")
    key_separator: str = Field(default=":", min_length=1, description="Between a name and its values in `column`.")
    value_separator: str | None = Field(
        default=None, min_length=1, description="Between several values, in `column` and `columns`; empty: one value."
    )

    def by_name(self) -> dict[str, str]:
        """Attribute name to column."""
        return self.columns if isinstance(self.columns, dict) else {name: name for name in self.columns}


class ImageColumns(Section):
    """The photographs: columns of a path, a URL, bytes, an object {bytes, path}, or a list of these."""

    columns: tuple[str, ...] = Field(min_length=1, description="Main photograph first.")
    separator: str | None = Field(default=None, min_length=1, description="Between several in one text.")


class ColumnMap(Section):
    """How the columns of a data set map to products and queries."""

    schema_version: Literal[1] = 1
    files: tuple[str, ...] = Field(
        default=(), description="Names below catalog.path, with * and **; empty: every file of rows."
    )
    product_id: str = Field(description="Column that names a product.")
    group_id: str | None = Field(default=None, description="Column that variants of one article share.")
    title: str | None = Field(default=None, description="Column of the title.")
    description: str | None = Field(default=None, description="Column of the description.")
    category: CategoryColumns | None = None
    attributes: AttributeColumns | None = None
    images: ImageColumns | None = None
    price: str | None = Field(default=None, description="Column of the price.")
    url: str | None = Field(default=None, description="Column of the product page's address.")
    extra: tuple[str, ...] | None = Field(
        default=None, description="Columns kept in extra; without it all others but bytes are."
    )
    repeats: Repeats = Field(
        default="same",
        description="A product_id that stands twice is a fault (refuse), one unless the rows say the same (same), or "
        "the first row's product (first: where rows are pairs of query and product).",
    )
    queries: QueryColumns | None = None

    @model_validator(mode="after")
    def _shows_something(self) -> ColumnMap:
        if not self.title and not self.images:
            raise ValueError("a product needs a title or images: map one of them")
        return self

    def product_columns(self) -> dict[str, str]:
        """Where in the map each column of the product rows is named, by `key: column`."""
        named = {name: getattr(self, name) for name in ("product_id", "group_id", "title", "description")}
        named |= {"price": self.price, "url": self.url}
        for name in ("category", "images"):
            if (part := getattr(self, name)) is not None:
                named |= {f"{name}.columns[{place}]": column for place, column in enumerate(part.columns)}
        if self.attributes is not None:
            named |= {f"attributes.columns.{name}": column for name, column in self.attributes.by_name().items()}
            named["attributes.column"] = self.attributes.column
        named |= {f"extra[{place}]": column for place, column in enumerate(self.extra or ())}
        return {key: column for key, column in named.items() if column}

    def query_columns(self) -> dict[str, str]:
        """The same of the rows of queries."""
        named = self.queries.model_dump(exclude={"files", "product_separator", "every_signal"}) if self.queries else {}
        return {f"queries.{name}": column for name, column in named.items() if column}


def read_column_map(path: str) -> ColumnMap:
    """Read a column map from YAML.

    Raises:
        ConfigError: No such file, not YAML, an unknown key (names the nearest) or a wrong value.
    """
    place = resolve_root(path)
    try:
        with open(place, encoding="utf-8-sig") as stream:
            values = yaml.safe_load(stream)
    except OSError as error:
        raise ConfigError(
            "column map cannot be read", where=place, got=error.strerror or str(error), fix="correct catalog.columns"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("column map is not YAML", where=place, got=f"{error}"[:300]) from None
    if not isinstance(values, dict):
        raise ConfigError(
            "column map is empty or no mapping",
            where=place,
            allowed="product_id: COLUMN, and title or images",
            fix="begin from configs/columns/example.yaml",
        )
    try:
        return ColumnMap.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            "column map has mistakes",
            where=place,
            got="; ".join(_told(fault["loc"], fault["msg"]) for fault in error.errors()),
            allowed=", ".join(ColumnMap.model_fields),
        ) from None


def _told(place: tuple[int | str, ...], message: str) -> str:
    key = ".".join(map(str, place))
    if message.startswith("Extra inputs"):
        near = difflib.get_close_matches(str(place[-1]), _keys(), n=1)
        return f"`{key}` unknown key" + (f"; did you mean `{near[0]}`?" if near else "")
    return f"`{key}`: {message.removeprefix('Value error, ')}" if key else message.removeprefix("Value error, ")


def _keys() -> Iterator[str]:
    for section in (ColumnMap, CategoryColumns, AttributeColumns, ImageColumns, QueryColumns):
        yield from section.model_fields


def check_columns(named: dict[str, str], present: Iterable[str], where: str) -> None:
    """Refuse a map that names columns which the data does not have.

    Raises:
        ConfigError: Names each with the nearest column of the data.
    """
    present = list(present)
    lost = {key: column for key, column in named.items() if column not in present}
    if not lost:
        return
    told = []
    for key, column in lost.items():
        near = nearest(column, present)
        told.append(f"{key}: {column}" + (f" (did you mean {near}?)" if near else ""))
    raise ConfigError(
        "column map names columns that the data does not have",
        where=where,
        got="; ".join(told),
        allowed=", ".join(present) or "no column: the files hold no row",
        fix="correct the map; `moon data inspect` lists the columns",
    )


def nearest(column: str, present: Iterable[str]) -> str | None:
    """The column that `column` may be meant for: case, spaces and underscores aside, else the most alike."""
    folded = {_folded(name): name for name in present}
    if (same := folded.get(_folded(column))) is not None:
        return same
    near = difflib.get_close_matches(_folded(column), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def _folded(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def without_missing(column_map: ColumnMap, present: Iterable[str]) -> tuple[ColumnMap, list[str]]:
    """A shipped map of published data without the columns that this copy lacks, and their names.

    Only what a product can do without: `product_id` stays, and is checked.

    Raises:
        CatalogError: Neither the title's nor a photograph's column is there.
    """
    present = set(present)
    lost = [
        column
        for key, column in column_map.product_columns().items()
        if column not in present and not key.startswith("extra") and key != "product_id"
    ]
    changes: dict[str, object] = {
        name: None
        for name in ("group_id", "title", "description", "price", "url")
        if getattr(column_map, name) not in present
    }
    for name in ("category", "images"):
        if (part := getattr(column_map, name)) is not None:
            kept = tuple(column for column in part.columns if column in present)
            changes[name] = part.model_copy(update={"columns": kept}) if kept else None
    if column_map.attributes is not None and column_map.attributes.column not in present:
        changes["attributes"] = None
    if changes.get("title", column_map.title) is None and changes["images"] is None:
        raise CatalogError(
            "data has neither the title's nor a photograph's column of this source",
            where="catalog.source",
            got=", ".join(sorted(present)),
            allowed=", ".join(column_map.product_columns().values()),
            fix="name another source, or write a column map; `moon data inspect` says which fits",
        )
    return column_map.model_copy(update=changes), lost
