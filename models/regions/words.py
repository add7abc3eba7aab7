"""The words of what is wanted, as detectors that are steered by text read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from models.regions.wanted import Wanted

_WORD = re.compile(r"[^\W_]+(?:['’&+-][^\W_]+)*")
_BREAK = re.compile(r"[,;:|/(\[–—]|\s-\s|\b(?:with|for|from|in|by)\b", re.IGNORECASE)
_CONTROL = re.compile(r"<\|[^|]*\|>|<\||\|>|[\x00-\x1f\x7f]")


def plain_words(text: str) -> str:
    """`text` on one line, without control characters and without what tokenizers take for marks such as <|im_end|>."""
    return " ".join(_CONTROL.sub(" ", text).split())


def title_words(title: str, num_words: int) -> str:
    """The last words of a title's first part, lower case: in English what it names stands there.

    Our choice in place of a part-of-speech tagger: "Teton Pullover Hoodie - Large, with hood" gives "teton pullover
    hoodie". Numbers and sizes alone are no words; a title that has nothing else gives nothing.
    """
    title = plain_words(title)
    for part in (_BREAK.split(title)[0], title):
        words = [word.lower() for word in _WORD.findall(part) if any(char.isalpha() for char in word) and len(word) > 1]
        if words:
            return " ".join(words[-num_words:])
    # One sign may be a word in other scripts.
    return " ".join(word for word in _WORD.findall(title) if not word.isascii())[:80]


def phrases_of(wanted: Wanted, templates: Sequence[str], num_title_words: int) -> list[str]:
    """What to look for in lower case, without full stops; empty where nothing is known.

    Args:
        wanted: Its title and the leaf of its category are read.
        templates: With {category} or {title}; one without a value is left out, as is one that says the same again.
        num_title_words: At most.
    """
    leaf = plain_words(wanted.category[-1]).lower() if wanted.category else ""
    title = title_words(wanted.title, num_title_words) if wanted.title else ""
    found: dict[str, None] = {}
    for template in templates:
        if ("{category}" in template and not leaf) or ("{title}" in template and not title):
            continue
        phrase = template.replace("{category}", leaf).replace("{title}", title)
        # A full stop ends a phrase of Grounding DINO.
        phrase = " ".join(phrase.replace(".", " ").lower().split())
        if phrase:
            found[phrase] = None
    return list(found)


def cut_to_fit(phrase: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning of `phrase` that fits: by words, the first also by its letters; nothing where none does.

    Args:
        phrase: Its first 200 letters are looked at.
        fits: Whether a text is short enough, such as by a tokenizer's count.
    """
    words = phrase[:200].split()
    while len(words) > 1 and not fits(" ".join(words)):
        words.pop()
    text = " ".join(words)
    while text and not fits(text):
        text = text[:-1]
    return text


def joined(phrases: Sequence[str], fits: Callable[[str], bool]) -> str:
    """As many of `phrases` as fit in one text, each ended by a full stop; the last of them may be cut."""
    kept: list[str] = []

    def with_last(part: str) -> str:
        return " ".join(f"{one}." for one in (*kept, part))

    for phrase in phrases:
        part = cut_to_fit(phrase, lambda part: fits(with_last(part)))
        if part:
            kept.append(part)
    return " ".join(f"{one}." for one in kept)
