"""BM25 behind the Embedder protocol: its scores, exactly, as cosines."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from catalog.items import ProductItem, QueryItem, hide_fields
from catalog.rows import Product
from validation.benchmark.words import words_of
from validation.errors import BenchmarkError
from validation.rivals.product_text import product_words

logger = logging.getLogger(__name__)

MAX_WORDS = 8192
_EVEN, _NO_QUERY_WORD = -2, -1
"""Two axes of their own. `_EVEN` brings all products to one norm; a query with no known word lies on the other."""


class BM25:
    """Words of title, category and attributes, weighted by rarity and length.

    A product's weight of word w is idf(w) tf / (tf + k1 (1 - b + b length / mean length)), a query counts its words,
    and BM25 is their inner product. Cosine would divide by the product's norm and change the ranks. So every product
    gets one more number, on an axis where no query has anything, that brings all to the same norm: the cosine is then
    BM25 over (norm of the query x that norm), and ranks of products are BM25's own. Labels are queries: among labels,
    which are not of one norm, the nearest is that of the greatest BM25 over the label's length. Product to product is
    no question BM25 answers: between two products the added axes count too.

    Rarity and mean length come from all products given, test products included: a shop's search engine has indexed them
    too. Words outside the `max_words` most frequent count towards the length and match nothing.

    Args:
        products: Those that a search engine would have indexed.
        k1: How soon repetitions of a word stop counting, >= 0.
        b: How much a long text is held against a product, 0 to 1.
        max_words: Largest vocabulary; a vector has two numbers more.

    Raises:
        BenchmarkError: `k1` or `b` out of range.

    Source: S. Robertson and H. Zaragoza, The probabilistic relevance framework, 2009, in the form of Lucene (the idf
        never negative, no factor k1 + 1); Y. Bachrach et al., Speeding up the Xbox recommender system, RecSys 2014, for
        the inner product as a cosine.
    """

    name = "bm25"
    modalities = frozenset({"text"})
    num_parameters = 0
    num_bytes = 0

    def __init__(
        self, products: Iterable[Product], *, k1: float = 1.5, b: float = 0.75, max_words: int = MAX_WORDS
    ) -> None:
        if k1 < 0 or not 0 <= b <= 1:
            raise BenchmarkError("BM25 has no such setting", got=f"k1 {k1}, b {b}", allowed="k1 >= 0, 0 <= b <= 1")
        self.k1, self.b = k1, b
        counted = [Counter(words_of(product_words(product))) for product in products]
        frequency = Counter(word for words in counted for word in words)
        kept = sorted(frequency, key=lambda word: (-frequency[word], word))[:max_words]
        if len(kept) < len(frequency):
            logger.warning("bm25: %d of %d words are left out, the rarest", len(frequency) - len(kept), len(frequency))
        self.vocabulary = {word: index for index, word in enumerate(sorted(kept))}
        num = len(counted)
        self._idf = np.array([math.log1p((num - frequency[w] + 0.5) / (frequency[w] + 0.5)) for w in self.vocabulary])
        self._mean_length = max(1e-9, sum(words.total() for words in counted) / max(num, 1))
        # Hiding a field shortens the text, which only raises weights: at length 0 they are greatest.
        self._norm = max((self._longest(words) for words in counted), default=0.0) or 1.0
        self.dims = len(self.vocabulary) + 2
        content = [k1, b, self._mean_length, self._norm, dict(zip(self.vocabulary, self._idf.tolist(), strict=True))]
        self.digest = hashlib.sha256(f"bm25-1:{json.dumps(content)}".encode()).hexdigest()

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        """(N, dims) float32 of unit length; a product without a known word matches nothing.

        Raises:
            BenchmarkError: A product with heavier words than any that was indexed: no norm would be common to all.
        """
        shown = [hide_fields(item, hide).product for item in items]
        rows = np.zeros((len(shown), self.dims))
        for row, product in zip(rows, shown, strict=True):
            words = Counter(words_of(product_words(product)))
            self._weigh(words, words.total() / self._mean_length, row)
            left = self._norm**2 - float(row @ row)
            if left < -1e-9 * self._norm**2:
                raise BenchmarkError(
                    "a product has heavier words than any that BM25 has indexed",
                    where=product.product_id,
                    fix="build the index from all products that will be asked for",
                )
            row[_EVEN] = math.sqrt(max(left, 0.0))
        return (rows / self._norm).astype(np.float32)

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        """(N, dims) float32 of unit length."""
        return self._counts(item.text or "" for item in items)

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        """(N, dims) float32 of unit length."""
        return self._counts(texts)

    def _counts(self, texts: Iterable[str]) -> np.ndarray:
        asked = [Counter(words_of(text)) for text in texts]
        rows = np.zeros((len(asked), self.dims))
        for row, words in zip(rows, asked, strict=True):
            for word, count in words.items():
                if word in self.vocabulary:
                    row[self.vocabulary[word]] = count
            if not row.any():
                row[_NO_QUERY_WORD] = 1.0
            row /= np.linalg.norm(row)
        return rows.astype(np.float32)

    def _weigh(self, words: Counter[str], length: float, row: np.ndarray) -> None:
        damping = self.k1 * (1 - self.b + self.b * length)
        for word, count in words.items():
            index = self.vocabulary.get(word)
            if index is not None:
                row[index] = self._idf[index] * count / (count + damping)

    def _longest(self, words: Counter[str]) -> float:
        row = np.zeros(len(self.vocabulary))
        self._weigh(words, 0.0, row)
        return float(np.linalg.norm(row))
