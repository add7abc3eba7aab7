"""Why a core region was chosen, in one line for people: what speaks for it, and what the next one lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog import Box
from models.regions.boxes import box_area
from models.regions.detector import PRODUCT, Candidate

_TOLD_DIFFERENCE = 0.01
"""Parts of the weighted sum that differ less did not decide."""
_MAX_TOLD = 2
_EDGE_FRAC = 0.01
"""A box so near to a side of the picture is at its edge."""


@dataclass(frozen=True)
class Contender:
    """A candidate and the parts of its weighted sum."""

    candidate: Candidate
    terms: dict[str, float]
    """By name: score, size, centrality, prior, agreement, pair, group (at most 0)."""
    pair_word: str = ""
    """The word that asks for the pair that this is; empty where it is none."""

    @property
    def worth(self) -> float:
        """The weighted sum."""
        return sum(self.terms.values())


def reason_of(
    contenders: Sequence[Contender], size_px: tuple[int, int], prior_name: str = "", has_wearer: bool = False
) -> str:
    """One line: the best of `contenders` and why the next one lost.

    Args:
        contenders: Best first; one at least.
        size_px: Width and height of the picture.
        prior_name: The category whose prior counted; empty where none did.
        has_wearer: Candidates were set aside for the garment that they show.
    """
    best, others = contenders[0], contenders[1:]
    aside = " beside its wearer" if has_wearer else ""
    line = f"best of {len(contenders)}{aside}: " if others else f"the only candidate{aside}: "
    line += ", ".join(_merits(best, others, size_px, prior_name))
    return f"{line}; next: {', '.join(_faults(best, others[0], size_px, prior_name))}" if others else line


def _merits(best: Contender, others: Sequence[Contender], size_px: tuple[int, int], prior_name: str) -> list[str]:
    found = best.candidate
    merits = [f"score {found.score:.2f}", f"{_share(found, size_px)} of the picture"]
    if found.label != PRODUCT:
        merits.insert(0, found.label)
    if best.pair_word:
        merits.insert(0, f"both halves of a pair ({best.pair_word})")
    leads = [name for name in ("size", "centrality", "agreement") if others and _leads(best, others, name)]
    words = {"size": "largest", "centrality": "most central", "agreement": "agrees best with the words"}
    merits += [words[name] for name in leads if name != "agreement"]
    if "agreement" in best.terms and found.agreement is not None:
        told = words["agreement"] if "agreement" in leads else "agrees with the words"
        merits.append(f"{told} ({found.agreement:.2f})")
    if prior_name:
        merits.append(f"prior of {prior_name}")
    return merits


def _leads(best: Contender, others: Sequence[Contender], name: str) -> bool:
    mine = best.terms.get(name)
    return mine is not None and all(mine > other.terms.get(name, 0.0) for other in others)


def _faults(best: Contender, other: Contender, size_px: tuple[int, int], prior_name: str) -> list[str]:
    """The next one's score, and where it lost most."""
    found = other.candidate
    gaps = {name: best.terms.get(name, 0.0) - other.terms.get(name, 0.0) for name in (*other.terms, *best.terms)}
    gaps.pop("score")
    words = {
        "size": f"{_share(found, size_px)} of the picture",
        "centrality": _place(found.box, size_px),
        "prior": f"less like {prior_name}",
        "agreement": "agrees less with the words" + ("" if found.agreement is None else f" ({found.agreement:.2f})"),
        "pair": "not the pair",
        "group": "a box around several things",
    }
    lost = sorted((name for name, gap in gaps.items() if gap >= _TOLD_DIFFERENCE), key=lambda name: -gaps[name])
    return [f"score {found.score:.2f}", *(words[name] for name in lost[:_MAX_TOLD])]


def _share(found: Candidate, size_px: tuple[int, int]) -> str:
    return f"{box_area(found.box) / (size_px[0] * size_px[1]):.0%}"


def _place(box: Box, size_px: tuple[int, int]) -> str:
    width, height = size_px
    near = [
        name
        for name, gap_frac in (
            ("left", box[0] / width),
            ("right", 1.0 - box[2] / width),
            ("top", box[1] / height),
            ("bottom", 1.0 - box[3] / height),
        )
        if gap_frac <= _EDGE_FRAC
    ]
    return f"at the {near[0]} edge" if len(near) == 1 else "in a corner" if _is_corner(near) else "off centre"


def _is_corner(near: Sequence[str]) -> bool:
    return len(near) == 2 and not {"left", "right"} <= set(near) and not {"top", "bottom"} <= set(near)
