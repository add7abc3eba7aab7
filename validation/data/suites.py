"""The checks as Great Expectations suites, run on data frames in memory.

Great Expectations is imported inside, with its analytics switched off: importing it takes seconds and would otherwise
look for the network.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from catalog.catalog import IMAGE_OK
from validation.checks import CHECKS, Check, Level, Suite
from validation.config import DataChecksConfig

if TYPE_CHECKING:
    import pandas as pd

_NULL_IS_GOOD = (
    "title_markup",
    "box_inside",
    "identical_across_groups",
    "near_identical_across_groups",
    "identical_across_sides",
    "near_identical_across_sides",
    "query_references_resolve",
    "query_photo_in_gallery",
    "query_photo_near_gallery",
    "query_photo_across_sides",
)


def run_suites(frames: dict[Suite, pd.DataFrame], config: DataChecksConfig) -> dict[Suite, Any]:
    """Run each suite on its table.

    Returns:
        Great Expectations' validation result of each suite, in the frames' order; each result's expectation carries
        the check's name in `meta["check"]`, and all bad rows by their `row`.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # Sets a level of its own when imported and tells of a folder for pages that are never written.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("catalog")
    results = {}
    for suite, frame in frames.items():
        batch = source.add_dataframe_asset(suite.value).add_batch_definition_whole_dataframe("all")
        checks = [
            check for check in CHECKS.values() if check.suite is suite and config.level_of(check.name) is not Level.OFF
        ]
        expectations = [_expectation(check, config) for check in checks]
        results[suite] = batch.get_batch({"dataframe": frame}).validate(
            gx.ExpectationSuite(name=suite.value, expectations=expectations),
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["row", "key"]},
        )
    return results


def _expectation(check: Check, config: DataChecksConfig) -> Any:
    # Its classes are not typed well enough to be told apart from their keywords.
    from great_expectations import expectations

    gxe: Any = expectations

    level = config.level_of(check.name)
    given: dict[str, Any] = {
        "column": check.column,
        "meta": {"check": check.name},
        "severity": "critical" if level is Level.ERROR else "warning",
    }
    between: dict[str, tuple[float | None, float | None]] = {
        "title_length": (config.min_title_chars, config.max_title_chars),
        "category_depth": (config.min_category_levels, config.max_category_levels),
        "price_range": (config.min_price, config.max_price),
        "leaf_size": (config.min_leaf_products, None),
        "leaf_share": (None, config.max_leaf_frac),
        "attribute_coverage": (config.min_attribute_coverage_frac, None),
        "image_size": (config.min_image_side_px, None),
        "image_aspect": (None, config.max_image_aspect),
        "query_text_length": (config.min_query_chars, config.max_query_chars),
    }
    mostly = {
        "title_present": config.min_title_frac,
        "photo_present": config.min_photo_frac,
        "category_present": config.min_category_frac,
        "attributes_present": config.min_attributes_frac,
    }
    allowed = {"product_has_content": [True], "image_usable": [IMAGE_OK], "query_photo_usable": [IMAGE_OK]}
    if check.name in between:
        low, high = between[check.name]
        return gxe.ExpectColumnValuesToBeBetween(min_value=low, max_value=high, **given)
    if check.name in mostly:
        return gxe.ExpectColumnValuesToNotBeNull(mostly=mostly[check.name], **given)
    if check.name in allowed:
        return gxe.ExpectColumnValuesToBeInSet(value_set=allowed[check.name], **given)
    if check.name in _NULL_IS_GOOD:
        return gxe.ExpectColumnValuesToBeNull(**given)
    assert check.name in ("product_ids_unique", "query_ids_unique"), check.name
    return gxe.ExpectColumnValuesToBeUnique(**given)
