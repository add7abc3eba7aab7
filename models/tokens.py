"""What a token is: the types every sequence is labelled with, and the marks that stand between fields."""

from __future__ import annotations

from enum import IntEnum


class TokenType(IntEnum):
    """What a position of the sequence stands for; made once by the processor."""

    PAD = 0
    IMAGE = 1
    CROP = 2
    TITLE = 3
    CATEGORY = 4
    ATTRIBUTE = 5
    OTHER = 6
    """The template: marks between fields, start and end of a picture, the description."""
    CATEGORY_SLOT = 7
    """A learnt token at the end of every sequence, in which the category is read out of all that stands before it."""
    ATTRIBUTE_SLOT = 8
    """The same for the attributes."""


WORD_TYPES = (TokenType.TITLE, TokenType.CATEGORY, TokenType.ATTRIBUTE)
"""Types of positions that hold a shopper's or a shop's words."""
PICTURE_TYPES = (TokenType.IMAGE, TokenType.CROP)
"""Types of positions that hold a picture."""
SLOT_TYPES = (TokenType.CATEGORY_SLOT, TokenType.ATTRIBUTE_SLOT)
"""Types of the learnt positions at the end, in the order of the model's own vectors."""
CATEGORY_TYPES = (TokenType.CATEGORY, TokenType.CATEGORY_SLOT)
"""Types of positions that the category expert works on."""
ATTRIBUTE_TYPES = (TokenType.ATTRIBUTE, TokenType.ATTRIBUTE_SLOT)
"""Types of positions that the attribute expert works on."""

PAD = "<|pad|>"
VISION_START = "<|vision_start|>"
VISION_END = "<|vision_end|>"
IMAGE_PAD = "<|image_pad|>"
VIDEO_PAD = "<|video_pad|>"
TITLE_MARK = "<|title|>"
CATEGORY_MARK = "<|category|>"
ATTRIBUTE_MARK = "<|attribute|>"
DESCRIPTION_MARK = "<|description|>"
TEXT_MARK = "<|text|>"
EMPTY_MARK = "<|empty|>"

SPECIAL_TOKENS = (
    PAD,
    VISION_START,
    VISION_END,
    IMAGE_PAD,
    VIDEO_PAD,
    TITLE_MARK,
    CATEGORY_MARK,
    ATTRIBUTE_MARK,
    DESCRIPTION_MARK,
    TEXT_MARK,
    EMPTY_MARK,
)
"""In this order they have the ids 0, 1, 2, ... of every tokenizer trained here."""
