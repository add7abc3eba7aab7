"""How a backbone spells the parts of a sequence: its picture tokens, and the marks between fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from tokenizers import Tokenizer

from catalog import ModelError

Positions = Literal["mrope", "sequential"]
"""mrope: time, row and column, as Qwen counts them; sequential: one number a token."""


class Mark(StrEnum):
    """What stands before a field."""

    TITLE = "title"
    CATEGORY = "category"
    ATTRIBUTE = "attribute"
    DESCRIPTION = "description"
    TEXT = "text"
    """Before a query's or a label's words."""
    EMPTY = "empty"
    """Alone in a sequence of which everything is hidden."""


@dataclass(frozen=True)
class Template:
    """Token ids of everything that is not a shop's or a shopper's own."""

    pad_id: int
    image_id: int
    """Stands once for every token of a picture."""
    before_picture: tuple[int, ...]
    after_picture: tuple[int, ...]
    marks: Mapping[Mark, tuple[int, ...]]
    positions: Positions


WORDED_MARKS = {
    Mark.TITLE: "\ntitle:",
    Mark.CATEGORY: "\ncategory:",
    Mark.ATTRIBUTE: "\nattributes:",
    Mark.DESCRIPTION: "\ndescription:",
    Mark.TEXT: "\ntext:",
    Mark.EMPTY: "\nproduct",
}
"""Marks in plain words, for backbones whose vocabulary is given: they were pretrained to read them."""


def worded_marks(tokenizer: Tokenizer) -> dict[Mark, tuple[int, ...]]:
    """`WORDED_MARKS` as token ids of `tokenizer`."""
    return {mark: tuple(tokenizer.encode(text, add_special_tokens=False).ids) for mark, text in WORDED_MARKS.items()}


def token_id(tokenizer: Tokenizer, token: str, model: str) -> int:
    """Id of a token that the backbone cannot do without.

    Raises:
        ModelError: The tokenizer lacks it: it belongs to another model.
    """
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ModelError(
            f"tokenizer lacks a token that {model} needs",
            got=token,
            fix="use the tokenizer.json that came with the weights",
        )
    return int(found)
