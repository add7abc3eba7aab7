"""What sellers write and what shoppers type: titles, descriptions and search words, as noisy as in real shops."""

from __future__ import annotations

import random
from collections.abc import Mapping

from catalog.demo.taxonomy import Leaf

Values = Mapping[str, str | tuple[str, ...]]

BRANDS = (
    "Norrvik",
    "Calda",
    "Oakline",
    "Mirello",
    "Tavano",
    "Pello",
    "Studio Arne",
    "Hollin & Fay",
    "Zuno",
    "Brisa",
    "Kettlemoor",
    "Lumora",
    "Aldgate",
    "Fernhill",
    "Vesper",
    "Quillon",
    "Sabine Roe",
    "Halcott",
    "Bramble",
    "Ostrava",
    "Juno Lane",
    "Meriden",
)
ADJECTIVES = (
    "classic",
    "modern",
    "everyday",
    "essential",
    "vintage",
    "premium",
    "handmade",
    "relaxed",
    "urban",
    "signature",
    "elegant",
    "playful",
    "minimal",
    "iconic",
    "cosy",
    "refined",
    "bold",
    "lightweight",
    "limited edition",
    "organic",
)
NAMES = (
    "Aster",
    "Bergen",
    "Cleo",
    "Dune",
    "Ember",
    "Fjord",
    "Gala",
    "Harbour",
    "Iris",
    "Juniper",
    "Kyoto",
    "Lagoon",
    "Marlow",
    "Nova",
    "Opal",
    "Porto",
    "Quinn",
    "Riva",
    "Sierra",
    "Tundra",
    "Umbra",
    "Verona",
    "Willow",
    "Yara",
    "Zephyr",
)
VAGUE = ("design", "collection", "piece", "style", "edition", "line", "series", "gift idea", "must-have", "favourite")
NOISE = (
    "NEW 2026!!",
    "*HOT*",
    "SALE",
    "free shipping",
    "best seller",
    "[in stock]",
    "!!!",
    "top quality",
    "24h delivery",
    "5 stars",
)
AUDIENCE = ("for women", "for men", "unisex", "for every day", "for him & her", "gift", "for home", "for travel")
SYNONYMS = {
    "navy": "dark blue",
    "burgundy": "wine red",
    "sky blue": "light blue",
    "beige": "sand",
    "grey": "gray",
    "teal": "petrol",
    "purple": "violet",
    "checks": "plaid",
    "stripes": "striped",
    "dots": "polka dot",
    "floral": "flower print",
    "zigzag": "chevron",
    "colour block": "two-colour",
    "sleeveless": "no sleeves",
    "leather": "genuine leather",
    "slip-on": "no laces",
    "metal": "steel",
    "ceramic": "stoneware",
    "crew neck": "round neck",
    "oversized": "baggy",
    "maxi": "floor-length",
    "stiletto": "high heel",
}
PHRASES = {
    "sleeve": "{}-sleeve",
    "motif": "{} print",
    "length": "{}",
    "heel": "{} heel",
    "toe": "{} toe",
    "sole": "{} sole",
    "brim": "{} brim",
    "size": "{} size",
    "shade": "{} shade",
    "base": "{} base",
    "height": "{}-cut",
    "lens": "{} lenses",
    "dial": "{} dial",
    "fit": "{} fit",
}


def phrase(name: str, value: str, rng: random.Random, synonyms: float = 0.3) -> str:
    """An attribute as a person says it, now and then by another word."""
    word = SYNONYMS[value] if value in SYNONYMS and rng.random() < synonyms else value
    return PHRASES.get(name, "{}").format(word)


def _facts(attributes: Values, rng: random.Random, skip: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """Attributes as (name, one value) in random order."""
    facts = [
        (name, value if isinstance(value, str) else rng.choice(value))
        for name, value in attributes.items()
        if name not in skip and value not in ("solid", ())
    ]
    rng.shuffle(facts)
    return facts


def group_title(leaf: Leaf, attributes: Values, rng: random.Random) -> tuple[str, bool]:
    """The title that the colours of one article share, and whether the seller adds the colour to it.

    About a third name the category, a fifth use another word for it, the rest say neither.
    """
    words = [rng.choice(BRANDS)]
    if rng.random() < 0.6:
        words.append(rng.choice(NAMES))
    if rng.random() < 0.6:
        words.append(rng.choice(ADJECTIVES))
    facts = _facts(attributes, rng, frozenset({"colour", "accent_colour", "size", "height", "base", "details"}))
    words += [phrase(name, value, rng) for name, value in facts[: rng.choice((0, 0, 1, 1, 2))]]
    draw = rng.random()
    if draw < 0.34:
        words.append(leaf.nouns[0])
    elif draw < 0.54:
        words.append(rng.choice(leaf.nouns[1:]))
    elif draw < 0.85:
        words.append(rng.choice(VAGUE))
    if rng.random() < 0.2:
        words.append(rng.choice(AUDIENCE))
    if rng.random() < 0.22:
        words.append(f"{rng.choice('ABCDKLMRSTX')}{rng.choice('ABDEGX')}-{rng.randint(100, 9999)}")
    if rng.random() < 0.15:
        words.insert(rng.choice((0, len(words))), rng.choice(NOISE))
    title = " ".join(words)
    return (title.upper() if rng.random() < 0.06 else title[0].upper() + title[1:]), rng.random() < 0.4


def product_title(shared: str, names_colour: bool, colour: str, leaf: Leaf, rng: random.Random) -> str:
    """The title of one colour; one in twenty is wrong or nearly empty, as in real shops."""
    draw = rng.random()
    if draw < 0.02:
        return f"{rng.choice(BRANDS)} {rng.randint(1000, 99999)}"
    if draw < 0.045:
        return f"{shared} {rng.choice(('phone case', 'garden hose', 'poster', 'gift card', 'car mat'))}"
    if names_colour:
        return f"{shared} {colour}" if rng.random() < 0.6 else f"{shared} - {SYNONYMS.get(colour, colour)}"
    return shared


def description(leaf: Leaf, attributes: Values, rng: random.Random) -> str | None:
    """One to three sentences, or None: one seller in ten writes nothing."""
    if rng.random() < 0.1:
        return None
    facts = [phrase(name, value, rng, 0.5) for name, value in _facts(attributes, rng)]
    first = rng.choice(("A {} choice", "This {} favourite comes", "Made to last, a {} companion", "The {} one")).format(
        rng.choice(ADJECTIVES)
    )
    sentences = [f"{first} with {' and '.join(facts[:2])}." if facts else f"{first}."]
    if rng.random() < 0.6 and len(facts) > 2:
        noun = rng.choice(leaf.nouns) if rng.random() < 0.5 else "it"
        sentences.append(f"You will love {'the ' if noun != 'it' else ''}{noun} for {', '.join(facts[2:5])}.")
    if rng.random() < 0.4:
        sentences.append(
            rng.choice(("Ships in a gift box.", "Easy to care for.", "Designed in our studio.", "30 days to return."))
        )
    return " ".join(sentences)


def search_words(leaf: Leaf, attributes: Values, rng: random.Random, with_photo: bool = False) -> tuple[str, set[str]]:
    """What a shopper types, and the names of the attributes it speaks of.

    Args:
        leaf: Of the product that the shopper will buy.
        attributes: All its true attributes.
        rng: The shopper.
        with_photo: Words that go with a photograph are fewer, often only an attribute.
    """
    facts = _facts(attributes, rng, frozenset({"accent_colour"}))
    facts.sort(key=lambda fact: fact[0] not in ("colour", "pattern", "motif") or rng.random() < 0.35)
    num_facts = rng.choice((0, 1, 1)) if with_photo else rng.choice((1, 2, 2, 3))
    chosen = facts[:num_facts]
    words = [phrase(name, value, rng, 0.45) for name, value in chosen]
    draw = rng.random()
    if not words or draw < (0.45 if with_photo else 0.88):
        noun = leaf.nouns[0] if rng.random() < 0.6 else rng.choice(leaf.nouns)
        words.insert(
            len(words) if rng.random() < 0.85 else 0, noun if rng.random() < 0.93 else noun[: max(3, len(noun) - 2)]
        )
    return " ".join(words).lower(), {name for name, _ in chosen}
