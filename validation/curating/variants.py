"""What tells two variants of one article apart in words: sizes and colours; and what is left without them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from catalog.rows import Product
from validation.benchmark.words import words_of

_COLOURS = """
black white red green blue yellow orange purple violet pink brown grey gray beige navy teal turquoise cyan magenta
maroon burgundy olive khaki cream ivory gold golden silver bronze copper rose lavender lilac mint coral salmon peach
tan camel taupe sand charcoal anthracite indigo aqua mustard crimson scarlet multicolor multicolour multicolored
multicoloured light dark pale bright
schwarz weiß weiss rot grün gruen blau gelb lila rosa braun grau türkis tuerkis hellblau dunkelblau dunkelgrün
黑 白 红 绿 蓝 黄 橙 紫 粉 棕 灰 金 银 黑色 白色 红色 绿色 蓝色 黄色 橙色 紫色 粉色 棕色 灰色 金色 银色 色
"""
_SIZES = """
xxxs xxs xs s m l xl xxl xxxl 2xl 3xl 4xl 5xl small medium large extra size sizes big tall petite plus mini
größe groesse klein mittel groß gross 号 码 尺 寸 尺码 尺寸 大号 中号 小号 大码 小码 均码
"""
COLOUR_WORDS = frozenset(_COLOURS.split())
SIZE_WORDS = frozenset(_SIZES.split())
_UNITS = "mm|cm|dm|m|inch|inches|in|ft|ml|cl|l|liter|litre|g|kg|oz|lb|lbs|gb|tb|w|v|码|号|寸|克|毫升|升|厘米|毫米|米"
_MEASURES = re.compile(rf"(?<!\w)\d+(?:[.,x×*]\d+)*\s?(?:{_UNITS})(?![^\W\d_])", re.IGNORECASE)
_CHINESE_MEASURES = re.compile(r"\d+(?:\.\d+)?(?:码|号|寸|克|毫升|升|厘米|毫米|米)")
_CHINESE_COLOURS = re.compile("[黑白红绿蓝黄橙紫粉棕灰金银]色")
_POSSESSIVE = re.compile(r"['’]s\b")
_SIZE_NUMBERS = re.compile(r"(?<!\w)(?:size|sizes|eu|us|uk|größe|gr\.?)\s?\d+(?:[.,/]\d+)?(?!\w)", re.IGNORECASE)


def title_stem(product: Product, variant_attributes: Iterable[str]) -> tuple[str, ...]:
    """The words of the title without sizes, colours and the product's own values of `variant_attributes`, sorted.

    >>> title_stem(Product(product_id="1", title="Alma wool scarf - dark red, 180 cm"), ())
    ('alma', 'scarf', 'wool')
    """
    words, _ = _parted(product, variant_attributes)
    return tuple(sorted(words))


def variant_signature(product: Product, variant_attributes: Iterable[str]) -> tuple[str, ...]:
    """The sizes and colours that title and attributes name: two products that differ here are variants, not copies."""
    _, told = _parted(product, variant_attributes)
    return tuple(sorted(told | _own_values(product, variant_attributes)))


def _parted(product: Product, variant_attributes: Iterable[str]) -> tuple[set[str], set[str]]:
    # A possessive is no size, and a colour's last sign must not make a pair with what follows.
    title = _POSSESSIVE.sub("", product.title or "")
    measures: set[str] = set()
    for pattern in (_MEASURES, _CHINESE_MEASURES, _SIZE_NUMBERS, _CHINESE_COLOURS):
        measures |= {re.sub(r"\s", "", text).casefold() for text in pattern.findall(title)}
        title = pattern.sub(" ", title)
    names = COLOUR_WORDS | SIZE_WORDS | _own_values(product, variant_attributes)
    words = set(words_of(title))
    return words - names, (words & names) | measures


def _own_values(product: Product, variant_attributes: Iterable[str]) -> set[str]:
    found: set[str] = set()
    wanted = {name.casefold() for name in variant_attributes}
    for name, value in product.attributes.items():
        if name.casefold() in wanted:
            found |= {word for text in ((value,) if isinstance(value, str) else value) for word in words_of(text)}
    return found
