"""Byte-level BPE trained on the catalogue's own texts: no download, every language, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE

from catalog import Catalog, ModelError, Side, Splits
from catalog.text import clean_text
from models.tokens import SPECIAL_TOKENS

MAX_CHARS_PER_TOKEN = 32
"""A text is cut to this many characters per token of its budget before it is tokenised: a title of a hundred
thousand characters must not cost a hundred thousand characters' work."""

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE on `texts`.

    Characters of Chinese and Japanese are words of their own, each as if a space stood before it. Without spaces
    between words a BPE merges whole phrases, and a shopper's word then shares no token with the title that holds it.

    Source: J. Devlin et al., BERT, NAACL 2019: its tokenizer splits at Chinese characters for the same reason.

    Args:
        texts: Train-side texts only; their order does not matter.
        vocab_size: Upper bound of the vocabulary; at least the 256 bytes and the special tokens.
    """
    tokenizer = Tokenizer(BPE())
    # Shoppers type in lower case, shops do not: case carries no meaning here.
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # The byte level puts a space before every piece; one that stands there already would be a token more.
            pre_tokenizers.Split(Regex(rf" +(?=[{_UNSPACED}])"), "removed"),
            pre_tokenizers.Split(Regex(f"[{_UNSPACED}]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(texts), trainer)
    return _guarded(tokenizer)


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer.json.

    Raises:
        ModelError: Not a tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for every malformed file
        raise ModelError("tokenizer cannot be read", where=str(path), got=str(error)) from None
    return _guarded(tokenizer)


def text_ids(tokenizer: Tokenizer, text: str, max_tokens: int) -> list[int]:
    """Token ids of `text`, at most `max_tokens` of them; never a special token, whatever the text says."""
    # Queries reach us as typed: what a person cannot see must not move a vector, nor a lone surrogate stop us.
    clean, _ = clean_text(text[: max_tokens * MAX_CHARS_PER_TOKEN], one_line=True)
    # The space before it: a word must have the same tokens at the start of a text as within it.
    return list(tokenizer.encode(" " + clean.strip(), add_special_tokens=False).ids[:max_tokens])


def catalog_texts(catalog: Catalog, splits: Splits) -> list[str]:
    """All texts of the train side that a tokenizer may see: fields, attribute names and values, query texts."""
    texts: list[str] = []
    for product_id in splits.product_ids(Side.TRAIN):
        product = catalog.by_id[product_id]
        texts += [text for text in (product.title, product.description) if text]
        texts += product.category
        for name, value in product.attributes.items():
            texts += [name, *([value] if isinstance(value, str) else value)]
    texts += [query.text for query in splits.queries.get(Side.TRAIN, ()) if query.text]
    return texts


def _guarded(tokenizer: Tokenizer) -> Tokenizer:
    # A title that spells "<|image_pad|>" is text like any other; without this it would become an image slot.
    tokenizer.encode_special_tokens = True
    return tokenizer
