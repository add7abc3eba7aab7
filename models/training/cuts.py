"""Texts that are longer than their budget of tokens: how many are cut is told, not kept silent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from catalog import Product
from catalog.labels import category_label
from models.processor import Processor, attributes_text
from models.tokenizer import MAX_CHARS_PER_TOKEN, text_ids

T = TypeVar("T")
MAX_COUNTED = 2000
"""Products and queries that are looked at: a catalogue of millions would take minutes to be read for one line."""


def cut_line(processor: Processor, products: Sequence[Product], queries: Sequence[str], labels: Sequence[str]) -> str:
    """How many texts are cut to their budgets, in one line; on a sample of each kind where there are many.

    Args:
        processor: Its tokenizer and budgets.
        products: Of the training, with all their fields.
        queries: Words of the training's queries.
        labels: Label texts.
    """
    config = processor.config
    cut: Counter[tuple[str, str, int]] = Counter()

    def count(what: str, key: str, texts: Iterable[str | None]) -> None:
        budget = getattr(config, key)
        cut[what, key, budget] += sum(_is_cut(processor, text, budget) for text in texts if text)

    some = _sample(products)
    count("titles", "max_title_tokens", (one.title for one in some))
    if config.use_description:
        count("descriptions", "max_description_tokens", (one.description for one in some))
    count("categories", "max_field_tokens", (category_label(one.category) if one.category else None for one in some))
    count("attribute lists", "max_field_tokens", (attributes_text(one) if one.attributes else None for one in some))
    count("queries", "max_text_tokens", _sample(queries))
    count("label texts", "max_text_tokens", _sample(labels))
    found = ", ".join(f"{num} {what} (model.{key} {budget})" for (what, key, budget), num in cut.items() if num)
    sampled = [
        f"{MAX_COUNTED:,} of {len(all_):,} {what}"
        for what, all_ in (("products", products), ("queries", queries), ("label texts", labels))
        if len(all_) > MAX_COUNTED
    ]
    return f"cut: {found or 'nothing'}" + (f"; counted on {', '.join(sampled)}" if sampled else "")


def _is_cut(processor: Processor, text: str, budget: int) -> bool:
    # Of a very long text only as much is read as its budget may need.
    return len(text) > budget * MAX_CHARS_PER_TOKEN or len(text_ids(processor.tokenizer, text, budget + 1)) > budget


def _sample(items: Sequence[T]) -> Sequence[T]:
    """All, or `MAX_COUNTED` at even distances."""
    if len(items) <= MAX_COUNTED:
        return items
    return [items[index * len(items) // MAX_COUNTED] for index in range(MAX_COUNTED)]
