"""Which articles the demo shop stocks: groups with a design, products with a colour. Nothing is drawn here.

Group k depends on the seed and on k alone. A larger shop therefore begins with the smaller one's products, to the
byte; only the last group of the smaller shop may miss colours that the larger one has.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from catalog.demo import language
from catalog.demo.palette import COLOURS, Rgb
from catalog.demo.seeds import rng_of, seed_of
from catalog.demo.taxonomy import LEAVES, Leaf

Values = dict[str, str | tuple[str, ...]]

GROUP_SIZES = (1, 1, 1, 2, 2, 3, 4)
HIDDEN_FRAC = 0.12
"""Share of attributes that the shop forgot to list."""
WRONG_FRAC = 0.015
"""Share of attributes that it lists wrongly."""


@dataclass(frozen=True)
class Article:
    """A product before it is drawn."""

    product_id: str
    group_id: str
    leaf: Leaf
    seed: int
    design_seed: int
    """Shared by the colours of one article."""
    traits: Values
    """What the picture shows: every attribute, true."""
    listed: Values
    """What the shop lists: some missing, a few wrong."""
    base: Rgb
    accent: Rgb
    title: str
    description: str | None
    price: float


def plan_articles(num_products: int, seed: int) -> list[Article]:
    """The first `num_products` articles of the shop `seed`."""
    articles: list[Article] = []
    group = 0
    while len(articles) < num_products:
        articles += _group(seed, group, len(articles))
        group += 1
    return articles[:num_products]


def _group(seed: int, number: int, first_product: int) -> list[Article]:
    rng = rng_of(seed, "group", number)
    leaf = rng.choices(LEAVES, [leaf.weight for leaf in LEAVES])[0]
    design_seed = seed_of(seed, "design", number)
    shared = _traits(leaf, rng)
    num_colours = rng.choice(GROUP_SIZES)
    names = rng.sample(list(COLOURS), num_colours)
    title, names_colour = language.group_title(leaf, shared, rng)
    price = round(rng.uniform(*leaf.price)) - rng.choice((0.0, 0.01, 0.05, 0.5))
    return [
        _article(seed, f"g{number:06d}", first_product + k, leaf, design_seed, shared, name, title, names_colour, price)
        for k, name in enumerate(names)
    ]


def _traits(leaf: Leaf, rng: random.Random) -> Values:
    traits: Values = {}
    for name, values in leaf.attributes.items():
        if name == "details":
            count = rng.choice((0, 1, 1, 2, 2))
            if count:
                traits[name] = tuple(sorted(rng.sample(values, count)))
        elif name == "motif":
            if rng.random() < 0.5:
                traits[name] = rng.choice(values)
        elif name == "pattern":
            traits[name] = values[0] if rng.random() < 0.3 else rng.choice(values)
        else:
            traits[name] = rng.choice(values)
    if "motif" in traits and "pattern" in traits:
        # A print on top of a busy pattern shows neither.
        if traits["pattern"] not in ("solid", "colour block", "two-tone") and rng.random() < 0.5:
            del traits["motif"]
        else:
            traits["pattern"] = "solid"
    return traits


def _article(
    seed: int,
    group_id: str,
    number: int,
    leaf: Leaf,
    design_seed: int,
    shared: Values,
    colour: str,
    title: str,
    names_colour: bool,
    price: float,
) -> Article:
    own_seed = seed_of(seed, "product", group_id, colour)
    rng = rng_of(own_seed, "article")
    base = _dyed(COLOURS[colour], rng)
    others = [name for name in COLOURS if _distance(COLOURS[name], base) > 150]
    accent_name = rng.choice(others)
    traits: Values = {"colour": colour, "accent_colour": accent_name, **shared}
    listed = {name: value for name, value in traits.items() if rng.random() >= HIDDEN_FRAC}
    for name in list(listed):
        if name in leaf.attributes and isinstance(listed[name], str) and rng.random() < WRONG_FRAC:
            listed[name] = rng.choice(leaf.attributes[name])
    return Article(
        product_id=f"p{number:06d}",
        group_id=group_id,
        leaf=leaf,
        seed=own_seed,
        design_seed=design_seed,
        traits=traits,
        listed=listed,
        base=base,
        accent=_dyed(COLOURS[accent_name], rng),
        title=language.product_title(title, names_colour, colour, leaf, rng),
        description=language.description(leaf, traits, rng),
        price=max(1.0, round(price, 2)),
    )


def _dyed(colour: Rgb, rng: random.Random) -> Rgb:
    """A lot of dye is never quite the name's colour."""
    r, g, b = (min(250, max(12, round(c + rng.uniform(-12, 12)))) for c in colour)
    return r, g, b


def _distance(a: Rgb, b: Rgb) -> float:
    return float(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5)
