"""Disjoint sets of names."""

from __future__ import annotations

from collections.abc import Iterable


class Unions:
    """Union-find; the classes do not depend on the order of the links.

    Source: R. Tarjan, Efficiency of a good but not linear set union algorithm, JACM 22(2), 1975 (path halving).
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._above = {name: name for name in names}

    def root(self, name: str) -> str:
        """A member that stands for the whole class; which one depends on the links made so far."""
        while self._above[name] != name:
            self._above[name] = name = self._above[self._above[name]]
        return name

    def join(self, one: str, other: str) -> None:
        """Make the two classes one."""
        first, second = sorted((self.root(one), self.root(other)))
        self._above[second] = first

    def classes(self) -> list[tuple[str, ...]]:
        """Every class, members and classes sorted."""
        found: dict[str, list[str]] = {}
        for name in sorted(self._above):
            found.setdefault(self.root(name), []).append(name)
        return [tuple(members) for members in found.values()]
