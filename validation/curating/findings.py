"""What curating found, told with names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """Every rule that can find something; a report lists all of them, also those that found nothing."""

    NOTHING_TO_SHOW = "nothing_to_show"
    DUPLICATES = "duplicates"
    EQUAL_TEXT = "equal_text"
    NEAR_IDENTICAL_PHOTOS = "near_identical_photos"
    VARIANT_TITLES = "variant_titles"
    LEAKED_GROUPS = "leaked_groups"
    STAMPS_ABSURD = "stamps_absurd"
    STAMPS_MISSING = "stamps_missing"
    LATE_PURCHASES = "late_purchases"
    EARLY_PURCHASES = "early_purchases"
    ANSWERS_ON_SEVERAL_SIDES = "answers_on_several_sides"
    QUERY_PHOTO_OF_ANOTHER = "query_photo_of_another"
    QUERY_PHOTO_IN_TRAINING = "query_photo_in_training"
    UNITED_QUERIES = "united_queries"
    THIN_SUPPORT = "thin_support"
    LEAF_CAP = "leaf_cap"
    SMALL_LEAVES = "small_leaves"
    GALLERY_CAP = "gallery_cap"
    QUERIES_WITHOUT_ANSWERS = "queries_without_answers"
    QUERY_PHOTO_IN_GALLERY = "query_photo_in_gallery"
    QUERY_CAP = "query_cap"


@dataclass(frozen=True)
class Found:
    """What one rule found and what was done about it."""

    rule: Rule
    told: str
    """What `items` are and what became of them, one clause."""
    items: tuple[str, ...] = ()
    """One name each, sorted."""

    @property
    def count(self) -> int:
        return len(self.items)

    def examples(self, most: int) -> tuple[str, ...]:
        """The first `most` of the names."""
        return self.items[:most]


def found(rule: Rule, told: str, items: Iterable[str] = ()) -> Found:
    """A finding with its names in order, so that it does not depend on the order of rows."""
    return Found(rule, told, tuple(sorted(items)))
