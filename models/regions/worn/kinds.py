"""Which kind of garment is asked for, by the words of category and title."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from models.regions.config import GarmentKind, WornConfig
from models.regions.wanted import Wanted

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

_CLAUSE = re.compile(r"[,;:()|/\[\]]|\b(?:with|for|in|by|from|of)\b")
_WORD = re.compile(r"[^\W\d_]+")
_LENGTHS = frozenset({"sleeve", "sleeved", "cut", "length"})
"""A word before one of these tells the cut: a short sleeve, a boot cut."""


class WordReader:
    """Reads kinds; words are compared without case and in the singular.

    Args:
        cfg: Its `kinds` are added to the built-in words, or take their place.
    """

    def __init__(self, cfg: WornConfig) -> None:
        words: dict[str, GarmentKind | None] = {
            singular(word): kind for kind, text in GARMENT_WORDS.items() for word in text.split()
        }
        words |= {singular(word.casefold()): None if kind == "none" else kind for word, kind in cfg.kinds.items()}
        self._kinds: Mapping[str, GarmentKind] = {word: kind for word, kind in words.items() if kind is not None}

    def read(self, wanted: Wanted) -> GarmentKind | None:
        """The kind by the deepest category level that names one, else by the title; None where none does.

        Nothing else is read: on a shop's photographs of people the wanted colour moved 1 box of 60, by 0.009 of its
        IoU, and every evaluation that hides the colour would look at each picture anew.
        """
        texts = [*reversed(wanted.category), wanted.title or ""]
        return next((found for found in map(self._kind_of, texts) if found is not None), None)

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
