"""Exact search: which candidates score best, where the right ones stand, and vectors computed once."""

from validation.search.cache import CachedVectors
from validation.search.ranks import ranks_of_relevant
from validation.search.topk import TopK, top_k

__all__ = ["CachedVectors", "TopK", "ranks_of_relevant", "top_k"]
