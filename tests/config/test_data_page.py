"""docs/DATA.md: every recipe on it is one that the configuration takes, and every source stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from catalog import CatalogConfig
from catalog.config import QueryColumns, Source
from catalog.sources.column_map import ColumnMap

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "DATA.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", RECIPES)
def test_recipes_are_right(text: str) -> None:
    CatalogConfig.model_validate(yaml.safe_load(text)["catalog"])


def test_every_source_and_every_key_of_a_column_map_stands_on_the_page() -> None:
    assert len(RECIPES) >= 5
    for name in (*get_args(Source), *(set(ColumnMap.model_fields) - {"schema_version"}), *QueryColumns.model_fields):
        # The separator stands in the shipped example.
        assert f"`{name}`" in PAGE or name == "product_separator", name
