"""What a training product shows in one step: dropped fields, text views, and label texts with their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from catalog import Product, ProductItem, hide_fields
from catalog.items import ATTRIBUTE_PREFIX
from catalog.labels import attribute_label, category_label
from models.config import DropoutConfig

CATEGORY_FIELD = "category"


def draw_hidden(
    product: Product,
    config: DropoutConfig,
    rng: np.random.Generator,
    asked: frozenset[str],
    num_photos: int,
    use_description: bool = False,
) -> frozenset[str]:
    """Fields to hide from the product's input in this step, in the words of `catalog.hide_fields`.

    Something must be left to learn from: nothing but `asked` is hidden where the product would otherwise show no
    photograph and no word. It shows nothing only where the query took all that it has.

    Args:
        product: The row as the catalogue has it.
        config: How often each field is dropped.
        rng: As many numbers are drawn whatever is left, so that what follows does not depend on it.
        asked: Fields that the query was made of; always hidden.
        num_photos: Photographs that the step shows of the product; a row may list some that cannot be read, or none
            but the query's own.
        use_description: Whether the model reads descriptions.
    """
    hide = _dropped(product, config, rng) | asked
    left = visible(product, hide)
    words = left.title or left.category or left.attributes or (use_description and left.description)
    return hide if words or (num_photos and "images" not in hide) else asked


def _dropped(product: Product, config: DropoutConfig, rng: np.random.Generator) -> frozenset[str]:
    hidden: set[str] = set()
    draws = rng.random(5 + len(product.attributes))
    names = sorted(product.attributes)
    if draws[0] < config.images and (product.title or product.category):
        return frozenset(("images",))
    if draws[1] < config.text and product.images:
        return frozenset(("title", "category", "description", *(ATTRIBUTE_PREFIX + name for name in names)))
    if draws[2] < config.title:
        hidden.add("title")
    if draws[3] < config.category:
        hidden.add("category")
    all_gone = draws[4] < config.all_attributes
    hidden.update(
        ATTRIBUTE_PREFIX + name
        for name, draw in zip(names, draws[5:], strict=True)
        if all_gone or draw < config.attribute
    )
    return frozenset(hidden)


def draw_hidden_words(product: Product, config: DropoutConfig, rng: np.random.Generator) -> frozenset[str]:
    """Fields to hide from the view of the product that is words alone and is asked for labels.

    Pictures and category are never there. Without this view the pictures, which tell the train products apart before
    they tell their kinds apart, would leave the words nothing to explain.
    """
    names = sorted(product.attributes)
    draws = rng.random(1 + len(names))
    dropped = (ATTRIBUTE_PREFIX + name for name, draw in zip(names, draws[1:], strict=True) if draw < config.attribute)
    title = ("title",) if draws[0] < 0.5 else ()
    return frozenset(("images", CATEGORY_FIELD, "description", *title, *dropped))


@dataclass(frozen=True)
class TextView:
    """A product in words."""

    text: str
    facts: frozenset[str] = frozenset()
    """What the words say, in the words of `facts_of`; none where that is not known, as of a title."""


def draw_text_view(product: Product, rng: np.random.Generator) -> TextView | None:
    """The product in words, as a title, as a shopper would ask, or as label texts; None when it has no words."""
    values = [
        value if isinstance(value, str) else str(rng.choice(list(value)))
        for value in product.attributes.values()
        if value
    ]
    forms: list[TextView] = []
    if product.title:
        forms += [TextView(product.title)] * 2
    if values or product.category:
        kept = [value for value in values if rng.random() < 0.5]
        leaf = [product.category[-1]] if product.category and (not kept or rng.random() < 0.8) else []
        words = [*kept, *leaf]
        if words:
            facts = frozenset((*map(_has, kept), *map(_is_a, leaf)))
            forms += [TextView(" ".join(words), facts)] * 2
    if product.attributes and product.category:
        names = sorted(product.attributes)
        chosen = [name for name in names if rng.random() < 0.5]
        labels = [category_label(product.category), *(one_label(product, name, rng) for name in chosen)]
        forms.append(TextView("; ".join(labels), frozenset(labels)))
    return forms[int(rng.integers(len(forms)))] if forms else None


def facts_of(product: Product) -> frozenset[str]:
    """All that a text view of any product may say and that is true of this one."""
    facts: set[str] = set()
    if product.category:
        facts |= {_is_a(product.category[-1]), category_label(product.category)}
    for name, value in product.attributes.items():
        for one in (value,) if isinstance(value, str) else value:
            facts |= {_has(one), attribute_label(name, one)}
    return frozenset(facts)


def _has(value: str) -> str:
    return f"has {value}"


def _is_a(leaf: str) -> str:
    return f"is a {leaf}"


def one_label(product: Product, name: str, rng: np.random.Generator) -> str:
    """Label text of one value of the attribute."""
    value = product.attributes[name]
    return attribute_label(name, value if isinstance(value, str) else str(rng.choice(list(value))))


@dataclass(frozen=True)
class LabelField:
    """One question with a closed set of answers: a level of the category, or an attribute."""

    hides: str
    """What must be hidden from a product that is asked this, in the words of `catalog.hide_fields`."""
    texts: tuple[str, ...]
    """All label texts of the train side, sorted."""
    answers: Mapping[str, frozenset[str]]
    """Label texts that are right, by product; products without an answer are absent."""


def label_fields(products: Sequence[Product]) -> list[LabelField]:
    """Every category level and attribute of the train products that has at least two answers."""
    answers: dict[tuple[str, str], dict[str, frozenset[str]]] = {}
    for product in products:
        for level in range(len(product.category)):
            text = category_label(product.category[: level + 1])
            answers.setdefault((CATEGORY_FIELD, f"{level:02d}"), {})[product.product_id] = frozenset((text,))
        for name, value in product.attributes.items():
            values = (value,) if isinstance(value, str) else value
            texts = frozenset(attribute_label(name, one) for one in values)
            if texts:
                answers.setdefault((ATTRIBUTE_PREFIX + name, ""), {})[product.product_id] = texts
    fields = []
    for (hides, _), by_product in sorted(answers.items()):
        distinct = sorted(set[str]().union(*by_product.values()))
        if len(distinct) > 1:
            fields.append(LabelField(hides, tuple(distinct), by_product))
    return fields


def draw_fields(fields: Sequence[LabelField], rng: np.random.Generator) -> list[LabelField]:
    """What is asked in one step: the deepest category level, another one, and two attributes."""
    levels = [field for field in fields if field.hides == CATEGORY_FIELD]
    others = [field for field in fields if field.hides != CATEGORY_FIELD]
    drawn = levels[-1:]
    if len(levels) > 1:
        drawn.append(levels[int(rng.integers(len(levels) - 1))])
    drawn += [others[index] for index in sorted(rng.permutation(len(others))[:2])]
    return drawn


def draw_labels(field: LabelField, product_ids: Sequence[str], max_labels: int, rng: np.random.Generator) -> list[str]:
    """Label texts to compare in one step: all answers of the batch, filled up with others to `max_labels`."""
    right = sorted(set().union(*(field.answers.get(key, frozenset()) for key in product_ids)))
    if len(right) >= max_labels:
        return [right[index] for index in sorted(rng.permutation(len(right))[:max_labels])]
    others = [text for text in field.texts if text not in set(right)]
    fill = rng.permutation(len(others))[: max_labels - len(right)]
    return [*right, *(others[index] for index in sorted(fill))]


def visible(product: Product, hide: frozenset[str]) -> Product:
    """The product without the hidden fields."""
    return hide_fields(ProductItem(product), hide).product
