"""The zero-shot label questions of an evaluation set: category at every level, each attribute, labelled photographs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from catalog.catalog import Catalog
from catalog.items import ATTRIBUTE_PREFIX, ProductItem, QueryItem
from catalog.labels import attribute_label, category_label
from catalog.rows import Product, QueryKind
from validation.benchmark.evalset import TITLE_HIDDEN, LabelTask, Traits
from validation.benchmark.photos import bare_photo
from validation.benchmark.tasks import TITLE_AND_PROSE
from validation.benchmark.traits import Backgrounds
from validation.benchmark.words import telling_words, words_of

LEAF = "category_leaf"
UNSEEN_LEAF = "category_leaf_unseen"
PHOTO_LABEL = "photo_label"
_TELLING_FRAC = 0.1
"""An attribute that is a level of the category for this share of its products is told; our choice."""
NEEDS_TEXT = ("text",)
"""Labels are words: an encoder that cannot read them cannot be asked."""


@dataclass(frozen=True)
class Questions:
    tasks: list[LabelTask]
    absent: list[tuple[str, str]]
    notes: list[str]


def category_questions(
    gallery: Sequence[ProductItem], catalog_products: Iterable[Product], train: Sequence[Product]
) -> Questions:
    """Which category is it, at each level and at the leaf, with the whole category path hidden.

    The labels of a level are those of the whole catalogue, so that a shop's rare categories are there to be confused
    with. Level 1 is the root. Products whose leaf no train product has are asked once more by themselves, against
    the same labels: strict zero-shot.
    """
    paths = {product.category for product in catalog_products if product.category}
    depth = max((len(path) for path in paths), default=0)
    out = Questions([], [], [])
    for level in (*range(1, depth + 1), 0):
        name = f"category_level_{level}" if level else LEAF
        counts = Counter(category_label(_prefix(p.category, level)) for p in train if _prefix(p.category, level))
        task = _task(
            name,
            "category",
            labels={category_label(_prefix(path, level)) for path in paths if _prefix(path, level)},
            counts=counts,
            rows=[
                (index, (category_label(prefix),), (prefix[-1],))
                for index, item in enumerate(gallery)
                if (prefix := _prefix(item.product.category, level))
            ],
            hide=frozenset({"category"}),
            gallery=gallery,
        )
        if task is not None and not level:
            path_of = {category_label(path): path for path in paths}
            task = replace(task, paths=tuple(path_of[label] for label in task.labels))
            _add(out, name, task)
            _add_unseen(out, task, counts)
        else:
            _add(out, name, task)
    if not depth:
        out.absent.append((LEAF, "no product has a category"))
    out.notes.extend(_attributes_that_name_it(gallery))
    return out


def photo_questions(catalog: Catalog, backgrounds: Backgrounds) -> Questions:
    """Which label has this photograph, for photographs that belong to no product."""
    out = Questions([], [], [])
    rows, num_lost = [], 0
    for query in sorted(catalog.queries, key=lambda query: query.query_id):
        if query.kind is QueryKind.PHOTO_LABEL and query.image and query.label:
            photo = bare_photo(catalog, query.image)
            num_lost += photo is None
            if photo is not None:
                rows.append((QueryItem(query.query_id, None, photo), query.label))
    if num_lost:
        out.notes.append(f"{num_lost} labelled photos dropped: their photo cannot be used")
    labels = tuple(sorted({label for _, label in rows}))
    if len(labels) < 2:
        if rows:
            out.absent.append((PHOTO_LABEL, "fewer than two labels to choose from"))
        return out
    counts = Counter(label for _, label in rows)
    task = LabelTask(
        name=PHOTO_LABEL,
        family=PHOTO_LABEL,
        items=tuple(range(len(rows))),
        labels=labels,
        answers=tuple((labels.index(label),) for _, label in rows),
        majority=min(range(len(labels)), key=lambda index: (-counts[labels[index]], index)),
        hide=frozenset(),
        traits=tuple((("background", backgrounds.of(item.photo)),) for item, _ in rows if item.photo),
        photos=tuple(item for item, _ in rows),
    )
    out.tasks.append(task)
    return out


def attribute_questions(
    gallery: Sequence[ProductItem], train: Sequence[Product], *, min_n: int, max_values: int
) -> Questions:
    """Which value has this attribute, with that attribute hidden; the values are those that train products have.

    Args:
        gallery: Products under test.
        train: Products of the train side.
        min_n: Attributes that fewer test products carry are not asked: they would only add noise to the macro mean.
        max_values: Attributes with more values are free text, not a choice.
    """
    out = Questions([], [], [])
    names = sorted({name for item in gallery for name in item.product.attributes})
    for name in names:
        rows = [
            (index, tuple(attribute_label(name, value) for value in values), values)
            for index, item in enumerate(gallery)
            if (values := _values(item.product, name))
        ]
        counts = Counter(attribute_label(name, value) for product in train for value in _values(product, name))
        if len(rows) < min_n:
            out.notes.append(f"attribute {name} is not asked: {len(rows)} test products carry it, fewer than {min_n}")
        elif len(counts) > max_values:
            out.notes.append(f"attribute {name} is not asked: {len(counts)} values in train, more than {max_values}")
        else:
            hide = frozenset({ATTRIBUTE_PREFIX + name})
            task = _task(f"attribute.{name}", "attributes", set(counts), counts, rows, hide, gallery)
            _add(out, f"attribute.{name}", task)
            num_unmet = sum(not answers for answers in task.answers) if task else 0
            if num_unmet:
                out.notes.append(
                    f"attribute {name}: {num_unmet} test products have no value that train has seen; wrong"
                )
    if not out.tasks:
        out.absent.append(("attributes", f"no attribute has {min_n} test products and two values in train"))
    return out


def _task(
    name: str,
    family: str,
    labels: set[str],
    counts: Counter[str],
    rows: list[tuple[int, tuple[str, ...], tuple[str, ...]]],
    hide: frozenset[str],
    gallery: Sequence[ProductItem],
) -> LabelTask | None:
    """One question from `rows` of (gallery position, right label texts, the words that would give it away)."""
    if len(labels) < 2 or not rows:
        return None
    ordered = tuple(sorted(labels))
    position = {label: index for index, label in enumerate(ordered)}
    # Whatever is answered of a product that has every value is right: it asks nothing.
    rows = [row for row in rows if not labels <= set(row[1])]
    if not rows:
        return None
    return LabelTask(
        name=name,
        family=family,
        items=tuple(index for index, _, _ in rows),
        labels=ordered,
        answers=tuple(tuple(sorted({position[t] for t in texts if t in position})) for _, texts, _ in rows),
        majority=min(range(len(ordered)), key=lambda index: (-counts[ordered[index]], index)),
        hide=hide,
        traits=tuple(_word_in_title(words, gallery[index].product.title) for index, _, words in rows),
    )


def _attributes_that_name_it(gallery: Sequence[ProductItem]) -> list[str]:
    """Attributes stay visible where the category is asked about; of those that give it away one should know."""
    carried, naming = Counter[str](), Counter[str]()
    for item in gallery:
        levels = {tuple(words_of(level)) for level in item.product.category}
        for name in item.product.attributes if levels else ():
            carried[name] += 1
            naming[name] += any(tuple(words_of(value)) in levels for value in _values(item.product, name))
    return [
        f"attribute {name}, shown where the category is asked about, is a level of it for {naming[name]} of the "
        f"{count} products that carry it"
        for name, count in sorted(carried.items())
        if naming[name] >= _TELLING_FRAC * count
    ]


def _add(out: Questions, name: str, task: LabelTask | None) -> None:
    if task is None:
        out.absent.append((name, "fewer than two labels to choose from"))
        return
    out.tasks.append(task)
    out.tasks.append(replace(task, name=task.name + TITLE_HIDDEN, hide=task.hide | TITLE_AND_PROSE))


def _add_unseen(out: Questions, task: LabelTask, counts: Counter[str]) -> None:
    rows = [row for row, answers in enumerate(task.answers) if not counts[task.labels[answers[0]]]]
    if not rows:
        out.absent.append((UNSEEN_LEAF, "every leaf under test has products in train; hold some out to ask this"))
        return
    part = replace(
        task,
        name=UNSEEN_LEAF,
        items=tuple(task.items[row] for row in rows),
        answers=tuple(task.answers[row] for row in rows),
        traits=tuple(task.traits[row] for row in rows),
    )
    _add(out, UNSEEN_LEAF, part)


def _prefix(path: tuple[str, ...], level: int) -> tuple[str, ...]:
    """The path down to `level`, the whole path for level 0; empty where the path is not that deep."""
    return path[: level or len(path)] if len(path) >= level else ()


def _values(product: Product, name: str) -> tuple[str, ...]:
    value = product.attributes.get(name, ())
    return (value,) if isinstance(value, str) else value


def _word_in_title(answers: Iterable[str], title: str | None) -> Traits:
    found = set(words_of(title or ""))
    stands = any(word in found for answer in answers for word in telling_words(answer))
    return (("word_in_title", "yes" if stands else "no"),)
