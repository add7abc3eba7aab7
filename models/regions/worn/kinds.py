"""Which garment is asked for: a kind by the words of category and title, and the colours that are named."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.regions.config import GarmentKind, WornConfig
from models.regions.wanted import Wanted
from models.regions.worn.colours import COLOUR_LAB

GARMENT_WORDS: dict[GarmentKind, str] = {
    "upper": "top tee tshirt shirt blouse tank camisole cami bra bralette tunic polo jersey henley sweater jumper "
    "pullover cardigan sweatshirt hoodie hoody jacket coat parka blazer vest waistcoat gilet anorak windbreaker fleece "
    "singlet shell kimono poncho longsleeve outerwear outwear",
    "lower": "bottom trouser pant jean denim chino slack legging tight capri jogger sweatpant culotte short skirt "
    "skort trunk",
    "full": "dress gown jumpsuit romper playsuit overall dungaree bodysuit leotard onesie robe sundress",
    "feet": "shoe footwear sneaker trainer boot bootie sandal slipper loafer heel pump flat oxford brogue mule clog "
    "espadrille moccasin",
    "head": "hat cap beanie headwear beret fedora bonnet visor",
}
"""English words, singular, by the part of the body that the garment is worn on."""

_COLOUR_NAMES = ("color", "colour")
_CLAUSE = re.compile(r"[,;:()|/\[\]]|\b(?:with|for|in|by|from|of)\b")
_WORD = re.compile(r"[^\W\d_]+")
_LENGTHS = frozenset({"sleeve", "sleeved", "cut", "length"})
"""A word before one of these tells the cut: a short sleeve, a boot cut."""


@dataclass(frozen=True)
class WornWords:
    """What a stage reads out of the words of a product."""

    kind: GarmentKind | None
    """None where no worn garment is asked for."""
    colours: tuple[str, ...] = ()
    """Names of the colour table, sorted."""


class WordReader:
    """Reads kinds and colours; words are compared without case and in the singular.

    Args:
        cfg: Its `kinds` are added to the built-in words, or take their place.
    """

    def __init__(self, cfg: WornConfig) -> None:
        words: dict[str, GarmentKind | None] = {
            singular(word): kind for kind, text in GARMENT_WORDS.items() for word in text.split()
        }
        words |= {singular(word.casefold()): None if kind == "none" else kind for word, kind in cfg.kinds.items()}
        self._kinds: Mapping[str, GarmentKind] = {word: kind for word, kind in words.items() if kind is not None}

    def read(self, wanted: Wanted) -> WornWords:
        """The kind by the deepest category level that names one, else by the title; no colours without a kind."""
        texts = [*reversed(wanted.category), wanted.title or ""]
        kind = next((found for found in map(self._kind_of, texts) if found is not None), None)
        return WornWords(None) if kind is None else WornWords(kind, colours_of(wanted))

    def _kind_of(self, text: str) -> GarmentKind | None:
        """The kind of the last known word of the first clause that has one: English puts the noun last.

        A text that names garments of several kinds side by side, such as tops and shorts, names none.
        """
        text = re.sub(r"\bt[- ]shirt", "tshirt", html.unescape(text).casefold())
        for clause in _CLAUSE.split(text):
            parts = [self._last_known(part) for part in re.split(r"&|\+|\band\b", clause)]
            found = {kind for kind in parts if kind is not None}
            if found:
                return found.pop() if len(found) == 1 else None
        return None

    def _last_known(self, text: str) -> GarmentKind | None:
        words = [singular(word) for word in _WORD.findall(text)]
        for word, after in reversed(list(zip(words, [*words, ""][1:], strict=True))):
            if word in self._kinds and after not in _LENGTHS:
                return self._kinds[word]
        return None


def singular(word: str) -> str:
    """An English noun without its plural ending; the same for what has none."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + ("ie" if word[:-3] in {"hood", "boot", "bean", "ones", "cam"} else "y")
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def colours_of(wanted: Wanted) -> tuple[str, ...]:
    """Known colour names among the colour attribute's values, else in the title; sorted, each once."""
    values = [value for name, found in wanted.attributes if name.casefold() in _COLOUR_NAMES for value in found]
    return _known_colours(values) or _known_colours([wanted.title or ""])


def _known_colours(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({word for text in texts for word in _WORD.findall(text.casefold()) if word in COLOUR_LAB}))
