"""The rival that matches words and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from catalog.catalog import Catalog
from catalog.items import ProductItem, QueryItem, hide_fields
from validation.benchmark.words import words_of
from validation.rivals.product_text import product_words

_MAX_WORDS = 8192
_NO_PRODUCT_WORD, _NO_QUERY_WORD = -2, -1
"""Two axes of their own, orthogonal to every word and to each other: what has no known word matches nothing."""


class TitleWordOverlap:
    """TF-IDF over the words of title, category and attribute values.

    The vocabulary and its weights come from the whole catalogue, test products included: a shop's search engine has
    indexed them too, and a weaker rival would flatter the model.
    """

    name = "title_words"
    modalities = frozenset({"text"})
    num_parameters = 0
    num_bytes = 0

    def __init__(self, catalog: Catalog) -> None:
        texts = [product_words(product) for product in catalog.products]
        # A word of its own keeps the vocabulary from being empty in a catalogue of pictures alone.
        self._weights = TfidfVectorizer(analyzer=words_of, max_features=_MAX_WORDS, dtype=np.float64)
        self._weights.fit([*texts, "product"])
        self.dims = len(self._weights.vocabulary_) + 2
        content = {word: float(self._weights.idf_[index]) for word, index in self._weights.vocabulary_.items()}
        self.digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        return self._embed([product_words(hide_fields(item, hide).product) for item in items], _NO_PRODUCT_WORD)

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        return self._embed([item.text or "" for item in items], _NO_QUERY_WORD)

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        return self._embed(list(texts), _NO_QUERY_WORD)

    def _embed(self, texts: list[str], missing_axis: int) -> np.ndarray:
        rows = np.zeros((len(texts), self.dims), dtype=np.float32)
        if texts:
            rows[:, :-2] = self._weights.transform(texts).toarray()
            rows[~rows.any(axis=1), missing_axis] = 1.0
        return rows
