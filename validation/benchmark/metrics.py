"""What the positions of right answers are worth, item by item.

Ranking metrics are taken from ranks, not from scored lists: a library would want every candidate of every query again,
a million of them, for what these closed forms say of a handful of numbers. They are tested against libraries that do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse
from sklearn.metrics import precision_recall_fscore_support

TITLE_HIDDEN = "_title_hidden"
ATTRIBUTE_TASK = "attribute."
MACRO_OVER_ATTRIBUTES = "/accuracy_macro"
LOWER_IS_BETTER = frozenset({"mean_rank"})
NO_ANSWER = -1
"""In the place of a label where the best ones tie."""


def lower_is_better(key: str) -> bool:
    """Whether smaller values of `task/metric`, or of `metric`, are better; all others are shares from 0 to 1."""
    # The slice goes first: the name of one may hold a slash.
    return key.partition("[")[0].rpartition("/")[2] in LOWER_IS_BETTER


def parts_of(key: str, tasks: Iterable[str]) -> tuple[str, ...]:
    """The metrics with values item by item whose plain mean is the metric `key`: itself, or an accuracy an attribute.

    Args:
        key: `task/metric`.
        tasks: Names of all tasks that were asked.
    """
    if not key.endswith(MACRO_OVER_ATTRIBUTES):
        return (key,)
    hidden = key.removesuffix(MACRO_OVER_ATTRIBUTES).endswith(TITLE_HIDDEN)
    names = (name for name in tasks if name.startswith(ATTRIBUTE_TASK))
    return tuple(sorted(f"{name}/accuracy" for name in names if name.endswith(TITLE_HIDDEN) is hidden))


def ranking_metrics(ranks: Sequence[np.ndarray], ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Every ranking metric of each query.

    - `recall@k`: 1 where any right candidate is among the first k, as metric learning counts.
    - `recall_all@k`: share of the right candidates among the first k, as information retrieval counts.
    - `mrr`: 1 / rank of the first right candidate.
    - `ndcg@k`: binary gains, discount log2(rank + 1), over the best possible with as many right candidates.
    - `map`: mean of the precisions at the ranks of all right candidates, over the whole pool.
    - `mean_rank`: rank of the first right candidate.

    Args:
        ranks: For each query the ascending ranks, from 1, of all its right candidates.
        ks: Cut-offs.

    Returns:
        Metric -> (Q,) float64.

    Source: K. Järvelin, J. Kekäläinen, Cumulated gain-based evaluation of IR techniques, TOIS 20(4), 2002 (nDCG);
        TREC's trec_eval (average precision, reciprocal rank).
    """
    first = np.array([own[0] for own in ranks], dtype=np.float64)
    found = {"mrr": 1.0 / first, "mean_rank": first}
    found["map"] = np.array([np.mean(np.arange(1, len(own) + 1) / own) for own in ranks])
    for k in ks:
        found[f"recall@{k}"] = (first <= k).astype(np.float64)
        found[f"recall_all@{k}"] = np.array([np.mean(own <= k) for own in ranks])
        found[f"ndcg@{k}"] = np.array([_ndcg(own, k) for own in ranks])
    return found


def _ndcg(ranks: np.ndarray, k: int) -> float:
    gained = float((1.0 / np.log2(ranks[ranks <= k] + 1.0)).sum())
    return gained / float((1.0 / np.log2(np.arange(1, min(len(ranks), k) + 1) + 1.0)).sum())


def credit_by_depth(predicted: Sequence[str], right: Sequence[str]) -> float:
    """Share of the right path, from the root, that the predicted one shares.

    Our choice: the share of right ancestors is the hierarchical recall of S. Kiritchenko et al., Functional Annotation
    of Genes Using Hierarchical Text Categorization, 2005.
    """
    shared = 0
    for one, other in zip(predicted, right, strict=False):
        if one != other:
            break
        shared += 1
    return shared / len(right)


def macro_scores(true: sparse.csr_matrix, given: sparse.csr_matrix) -> dict[str, float]:
    """Macro precision, recall and F1 over labels; one that is never given has precision 0.

    Args:
        true: (n, C) of 0 and 1: labels each item has; every label at least one item's.
        given: (n, C) of 0 and 1: labels it was given.
    """
    # Two columns at least: of one, sklearn would take 0 and 1 for the classes.
    spare = sparse.csr_matrix((true.shape[0], 1), dtype=np.int64)
    scores = precision_recall_fscore_support(
        sparse.hstack([true, spare], format="csr", dtype=np.int64),
        sparse.hstack([given, spare], format="csr", dtype=np.int64),
        labels=range(true.shape[1]),
        average="macro",
        zero_division=0.0,
    )
    return dict(zip(("precision_macro", "recall_macro", "f1_macro"), map(float, scores[:3]), strict=True))
