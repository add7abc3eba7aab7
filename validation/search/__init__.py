"""Exact search: which candidates score best, and where the right ones stand."""

from validation.search.ranks import ranks_of_best, top_hits

__all__ = ["ranks_of_best", "top_hits"]
