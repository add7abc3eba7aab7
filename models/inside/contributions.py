"""How much of a cosine each part of an item brings: exact where the model is a sum.

The head maps pooled parts to z and divides by its length. With w the other side's unit vector,

    cos = <z, w> / |z|,    z = sum over parts of z_part

and every z_part is linear in something that belongs to one kind of token: hidden states at its positions (fused), raw
signals of its pictures (vision, colours), raw embeddings or codes of its words (words, codes). Two things are shared by
all parts and taken as they are: |z|, and the standard deviations that the head's layer norms divide by. What the norms
and maps add whatever the input (their offsets) belongs to no token and stands apart. The parts then sum to the cosine.

What a part brings is not what would be lost without it: the decoder lets later tokens read earlier ones, so that a
title's hidden states hold some of the picture. `models.inside.without` measures that.

Source: our choice; for the additive reading of a layer norm under a fixed deviation see Elhage et al., A Mathematical
Framework for Transformer Circuits, 2021.

Shape suffixes: L positions, S picture slots, D the decoder's width, P the pooled vision signal's, E the embedding's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from models.encoder import MoonEncoder
from models.heads import FusedHead, PartsHead
from models.inside.shown import Shown
from models.moon import MoonModel
from models.pooling import pool, pool_kinds, word_pool
from models.raw_signals import (
    CODES,
    COLOURS,
    OF_PICTURES,
    PICTURE_STATES,
    SLOT_STATES,
    VISION,
    WORD_STATES,
    WORDS,
    HiddenState,
    RawSignal,
)
from models.tokens import PICTURE_TYPES, SLOT_TYPES, WORD_TYPES, TokenType

FUSED = "fused"
"""The path through the decoder; the others are the head's raw signals past it: vision, colours, words, codes."""

STATES = {PICTURE_STATES: PICTURE_TYPES, WORD_STATES: WORD_TYPES, SLOT_STATES: SLOT_TYPES}
"""In a head of parts the decoder's states go three ways, by what stands at their positions."""

_SAID = {
    FUSED: "states",
    PICTURE_STATES: "states of pictures",
    WORD_STATES: "states of words",
    SLOT_STATES: "states of slots",
    f"{VISION} change": "learnt of vision",
}


@dataclass(frozen=True)
class Part:
    """One summand of a cosine."""

    path: str
    """`FUSED` or one of `STATES`, the name of a raw signal, or what is learnt from one beside it."""
    kind: TokenType | None
    """Token type it belongs to; None for what belongs to none: offsets, or a path that is no sum."""
    num_tokens: int
    """Positions or pictures it was pooled from; 0 for an offset."""
    cosine: float

    @property
    def label(self) -> str:
        """For tables and figures: `vision: crop`, `words: offset`, `states of slots: category slot`."""
        what = "offset" if self.num_tokens == 0 else "all" if self.kind is None else self.kind.name.lower()
        return f"{_SAID.get(self.path, self.path)}: {what.replace('_', ' ')}"


_Shares = dict[TokenType, torch.Tensor]
"""What each kind of token adds to one pooled signal; they sum to it."""


@dataclass(frozen=True)
class _Pooled:
    """Signals of one item with the share of each kind of token kept apart."""

    shares: dict[str, _Shares]
    """By path; a path that the item has nothing for is empty."""
    counts: dict[str, dict[TokenType, int]]
    """Positions, or pictures, of each kind."""


@torch.no_grad()
def contributions(encoder: MoonEncoder, shown: Shown, target_E: torch.Tensor) -> tuple[Part, ...]:
    """Split the cosine between an item and a vector into parts that sum to it.

    Args:
        encoder: The model.
        shown: The item: a product, a query or a label text.
        target_E: Unit vector of the other side.

    Returns:
        Parts in the order of paths, then token types. Their cosines sum to the whole, up to rounding.
    """
    model = encoder.model
    pooled = _pooled(encoder, shown)
    split = _split_parts if isinstance(model.head, PartsHead) else _fused_parts
    parts, z_E = split(model, pooled)
    length = float(z_E.double().norm().clamp(min=1e-12))
    target = target_E.double().to(z_E.device)
    return tuple(
        Part(path, kind, num_tokens, float(part_E.double() @ target) / length)
        for (path, kind, num_tokens), part_E in parts
    )


def by_kind(parts: tuple[Part, ...]) -> dict[TokenType | None, float]:
    """Cosine by token type over all paths; None holds what belongs to no type: offsets, and paths that are no sum."""
    total: dict[TokenType | None, float] = {}
    for part in parts:
        total[part.kind] = total.get(part.kind, 0.0) + part.cosine
    return total


_Key = tuple[str, TokenType | None, int]
_Parts = list[tuple[_Key, torch.Tensor]]


def _pooled(encoder: MoonEncoder, shown: Shown) -> _Pooled:
    model, config = encoder.model, encoder.config
    pictures = model.encode_pictures(encoder.processor.pixels(shown.encoded.squares).to(encoder.device))
    batch = shown.batch(encoder.processor, torch.zeros((len(shown.frames), 3, 1, 1))).to(encoder.device)
    embeds_BLD = model.backbone.embed_tokens(batch.ids_BL)
    hidden_LD = model.hidden_states(batch, pictures, embeds_BLD)[0].float()
    types_1L = batch.types_BL
    eye_1LL = torch.eye(types_1L.shape[1], device=encoder.device).unsqueeze(0)
    rare_1L = model.token_weights[batch.ids_BL] if config.word_weights == "rare" else None
    # Pooling is linear: pooling the unit vectors of the positions tells what each position counts.
    counts_L = pool(eye_1LL, types_1L, config.pooling)[0]
    word_counts_L = word_pool(eye_1LL, types_1L, rare_1L)[0]
    slots_S = torch.tensor([int(frame.kind) for frame in shown.frames], device=encoder.device)
    slot_counts_S = torch.full(slots_S.shape, 1.0 / max(len(slots_S), 1), device=encoder.device)
    raw_SP = pictures.pooled_NP.float()
    width = model.backbone.vision_size
    return _Pooled(
        {
            FUSED: _shares(hidden_LD, counts_L, types_1L[0]),
            **{
                name: _shares(hidden_LD, pool_kinds(eye_1LL, types_1L, kinds, config.pooling)[0][0], types_1L[0])
                for name, kinds in STATES.items()
            },
            VISION: _shares(raw_SP[:, :width], slot_counts_S, slots_S),
            COLOURS: _shares(raw_SP[:, width:], slot_counts_S, slots_S),
            WORDS: _shares(embeds_BLD[0].float(), word_counts_L, types_1L[0]),
            CODES: _shares(model.codes[batch.ids_BL[0]].float(), word_counts_L, types_1L[0]),
        },
        {path: _counts(kinds) for path, kinds in _kinds_by_path(types_1L[0], slots_S).items()},
    )


def _kinds_by_path(kinds_L: torch.Tensor, slots_S: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        FUSED: kinds_L,
        **dict.fromkeys(STATES, kinds_L),
        VISION: slots_S,
        COLOURS: slots_S,
        WORDS: kinds_L,
        CODES: kinds_L,
    }


def _counts(kinds_T: torch.Tensor) -> dict[TokenType, int]:
    return {kind: int((kinds_T == kind).sum()) for kind in TokenType}


def _shares(values_TX: torch.Tensor, weights_T: torch.Tensor, kinds_T: torch.Tensor) -> _Shares:
    found: _Shares = {}
    for kind in TokenType:
        mine_T = weights_T * (kinds_T == kind)
        if bool(mine_T.any()):
            found[kind] = mine_T @ values_TX
    return found


def _fused_parts(model: MoonModel, pooled: _Pooled) -> tuple[_Parts, torch.Tensor]:
    head = model.head
    assert isinstance(head, FusedHead)
    parts = _through(FUSED, pooled, head.norm, head.project)
    for name, raw in head.residuals.items():
        if pooled.shares[name]:
            parts += _raw(name, pooled, raw, head.spans[name], head.project.out_features)
    parts = [(key, part_E[head.order]) for key, part_E in parts]
    return parts, _sum(parts)


def _split_parts(model: MoonModel, pooled: _Pooled) -> tuple[_Parts, torch.Tensor]:
    head = model.head
    assert isinstance(head, PartsHead)
    has_pictures, has_words = bool(pooled.shares[VISION]), bool(pooled.shares[WORDS])
    groups: dict[str, _Parts] = {PICTURE_STATES: [], WORD_STATES: [], SLOT_STATES: []}
    if has_pictures and head.vision_change is not None:
        vision_1P = _total(pooled.shares[VISION]).unsqueeze(0)
        # Curved: what one picture brings here depends on the others, so this path stays whole.
        key = (f"{VISION} change", None, sum(pooled.counts[VISION].values()))
        groups[PICTURE_STATES].append((key, head.vision_change(vision_1P)[0].float()))
    for name, raw in head.residuals.items():
        if pooled.shares[name]:
            group = groups[PICTURE_STATES if name in OF_PICTURES else WORD_STATES]
            group += _raw(name, pooled, raw, slice(None), head.dims)
    for name, path in head.states.items():
        assert isinstance(path, HiddenState)
        whole = head.is_late or (name == SLOT_STATES and not head.has_slots)
        source = FUSED if whole else name
        if pooled.shares[source]:
            groups[name] += _through(source, pooled, path.norm, path.project)
    if head.is_late and has_pictures and not has_words:
        groups[WORD_STATES] = []
    if not has_pictures:
        groups[PICTURE_STATES] = []
    parts: _Parts = []
    for weight, group in zip(head.log_weights.exp(), groups.values(), strict=False):
        if group:
            length = _sum(group).norm().clamp(min=1e-12)
            parts += [(key, weight * part_E / length) for key, part_E in group]
    return parts, _sum(parts)


def _through(path: str, pooled: _Pooled, norm: nn.LayerNorm, project: nn.Linear) -> _Parts:
    """A path through its layer norm, the deviation fixed at that of the whole signal, and its projection."""
    shares = pooled.shares[path]
    deviation = (_total(shares).var(correction=0) + norm.eps).sqrt()
    made: _Parts = []
    for kind, share_X in shares.items():
        scaled_X = (share_X - share_X.mean()) / deviation * norm.weight
        made.append(((path, kind, pooled.counts[path][kind]), F.linear(scaled_X, project.weight).float()))
    made.append(((path, None, 0), project(norm.bias).float()))
    return made


def _raw(path: str, pooled: _Pooled, raw: nn.Module, span: slice, dims: int) -> _Parts:
    assert isinstance(raw, RawSignal)
    start, stop, _ = span.indices(dims)
    made = _through(path, pooled, raw.norm, raw.project)
    return [(key, F.pad(raw.gate * part_X, (start, dims - stop))) for key, part_X in made]


def _total(shares: _Shares) -> torch.Tensor:
    return torch.stack(list(shares.values())).sum(dim=0)


def _sum(parts: _Parts) -> torch.Tensor:
    return torch.stack([part_E for _, part_E in parts]).sum(dim=0)
