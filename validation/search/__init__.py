"""Exact search: which candidates score best, and where the right ones stand."""

from validation.search.ranks import ranks_of_best, ranks_of_relevant
from validation.search.topk import TopK, top_k

__all__ = ["TopK", "ranks_of_best", "ranks_of_relevant", "top_k"]
