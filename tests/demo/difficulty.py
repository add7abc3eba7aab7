"""Two baselines that see no shapes and no meaning; written here anew, apart from the benchmark's own."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from catalog import Product, Query, QueryKind


def colour_histogram(path: Path) -> np.ndarray:
    """A 4 x 4 x 4 RGB histogram of all pixels, L2-normalised."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3) // 64
    counts = np.bincount(pixels @ np.array([16, 4, 1]), minlength=64).astype(float)
    return counts / np.linalg.norm(counts)


def histogram_recall_at_1(gallery: list[Product], queries: list[Query], root: Path) -> tuple[float, int]:
    """Share of photo queries whose product is first, and their number; an equal score counts as lost."""
    means = np.stack([np.mean([colour_histogram(root / ref) for ref in p.images], axis=0) for p in gallery])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    place = {product.product_id: i for i, product in enumerate(gallery)}
    hits = []
    for query in queries:
        if query.kind is QueryKind.PHOTO:
            scores = means @ colour_histogram(root / str(query.image))
            own = scores[place[query.product_ids[0]]]
            hits.append(1 + int((scores >= own).sum() - 1) == 1)
    return float(np.mean(hits)), len(hits)


def words(text: str) -> list[str]:
    """Words with their plural s cut, so that "mug" meets "Mugs"."""
    return [w[:-1] if len(w) > 3 and w.endswith("s") else w for w in re.findall(r"[a-z0-9]+", text.lower())]


def title_overlap_accuracy(products: list[Product]) -> float:
    """Share of titles whose words are nearest to their own leaf's name by TF-IDF cosine; a tie counts as wrong."""
    leaves = sorted({product.category[-1] for product in products})
    documents = [words(product.title or "") for product in products]
    names = [words(leaf) for leaf in leaves]
    frequency = Counter(word for document in documents + names for word in set(document))
    total = len(documents) + len(names)

    def vector(document: list[str]) -> dict[str, float]:
        weights = {w: n * math.log(1 + total / frequency[w]) for w, n in Counter(document).items()}
        norm = math.sqrt(sum(v * v for v in weights.values())) or 1.0
        return {w: v / norm for w, v in weights.items()}

    labels = [vector(name) for name in names]
    right = 0
    for product, document in zip(products, documents, strict=True):
        title = vector(document)
        scores = [sum(title.get(w, 0.0) * v for w, v in label.items()) for label in labels]
        best = max(scores)
        right += scores.count(best) == 1 and leaves[scores.index(best)] == product.category[-1]
    return right / len(products)
