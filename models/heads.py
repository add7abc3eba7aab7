"""From the pooled signals to an embedding: heads of MOON, and the late fusion of a dual encoder.

Shape suffixes: B items, D the decoder's width, P the pooled vision signal's, E the embedding's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from models.config import ModelConfig
from models.raw_signals import (
    OF_PICTURES,
    OF_WORDS,
    PICTURE_STATES,
    SLOT_STATES,
    VISION,
    WORD_STATES,
    HiddenState,
    RawSignal,
    Signals,
    head_widths,
    raw_signals,
)


class FusedHead(nn.Module):
    """Fused hidden state, plus residuals of the raw signals, to a unit vector.

        sum      z = W_h norm(h) + sum_r g_r W_r norm(r)                                  r in {v, c, w, k}
        heads    z = interleave(W_h norm(h), W_hv norm(h) + g_v W_v norm(v), .. c, .. w, .. k)

    v is the pooled vision tower: with a small backbone the fused path loses visual detail, and the residual carries it
    past the decoder. c are the colours of the pictures, which a tower trained to name objects has mostly forgotten and
    which tell variants apart. w are the pooled token embeddings: the very words of a query and of a title, which a
    small decoder blurs. k are the pooled codes of `models.codes`: which words, whatever they mean. The gates g are
    learnt and start at one. A residual is zero for an item without the signal.

    `sum` lets all signals share all dimensions. `heads` gives each residual dimensions of its own, in which an item
    without the signal is placed by its fused state alone: what a text query expects to see, say. The dimensions are
    interleaved, so that each Matryoshka prefix holds its share of every head.

    Args:
        hidden_size: Width of h and of w.
        vision_size: Width of v.
        config: Which residuals, how they start, and how they are joined.

    Source: our choice; MOON3.0 (arXiv 2604.00513) names multi-head fusion of raw signals without a formula.
    """

    def __init__(self, hidden_size: int, vision_size: int, config: ModelConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.project = nn.Linear(hidden_size, config.embedding_dims, bias=False)
        raw = raw_signals(hidden_size, vision_size, config)
        widths = head_widths(config, list(raw))
        order = torch.arange(config.embedding_dims)
        self.register_buffer("order", order, persistent=False)
        self.order: torch.Tensor
        if config.head == "heads":
            # Dimension i of head k lands where a fair turn between the heads puts it.
            places = [
                (i / width, k, start + i) for k, (start, width) in enumerate(_spans(widths)) for i in range(width)
            ]
            self.order = torch.tensor([place for _, _, place in sorted(places)])
        dims = config.embedding_dims
        spans = {
            name: slice(None) if config.head == "sum" else _slice(span)
            for name, span in zip(raw, _spans(widths)[1:], strict=True)
        }
        self.spans = spans
        self.residuals = nn.ModuleDict(
            {name: RawSignal(width, _length(spans[name], dims), start) for name, (width, start) in raw.items()}
        )
        if config.head == "heads":
            # What the fused state expects in a residual's dimensions is learnt: at first it would only blur them.
            with torch.no_grad():
                self.project.weight[widths[0] :] = 0.0

    def lengths(self, signals: Signals) -> list[torch.Tensor]:
        """Lengths that `joined` divides by on its way: none."""
        return []

    def joined(self, signals: Signals, held: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """(B, E) float32 before the normalisation; `held` is for heads with lengths on their way."""
        z_BE = self.project(self.norm(signals.hidden_BD))
        for name, raw in self.residuals.items():
            z_BE = _added(z_BE, raw(*signals.raw(name)), self.spans[name])
        return z_BE.float()[:, self.order]

    def forward(self, signals: Signals) -> torch.Tensor:
        """Returns (B, E) float32, L2-normalised."""
        return F.normalize(self.joined(signals), dim=-1)

    def gates(self) -> dict[str, float]:
        """Gates of the residuals, for the curves."""
        residuals = {name: raw for name, raw in self.residuals.items() if isinstance(raw, RawSignal)}
        return {f"gate/{name}": float(raw.gate.detach()) for name, raw in residuals.items()}


class PartsHead(nn.Module):
    """What an item's pictures say, what its words say, and what stands for the whole: each a unit vector, weighted.

        z = a_v unit(sum over r in {v, c} of g_r W_r norm(r) + M(v) + W_hv norm(h_v))      where there are pictures
          + a_w unit(sum over r in {w, k} of g_r W_r norm(r) + W_hw norm(h_w))             where there are words
          + a_s unit(W_hs norm(h_s))

    r are the raw signals of `FusedHead` and h the pooled hidden states: h_w at the words, h_v at the tokens of the
    pictures, h_s at the slots, or at all tokens where the model has no slots. With the words first in the sequence h_w
    is the same for a query and for a product that uses its words, whatever pictures follow; h_v are pictures read in
    the light of the words; the slots have seen all. M is an MLP over the pooled vision tower; M and W_hv start at zero.
    The weights a are learnt: a_v and a_w start at one, a_s at `slot_weight`. With unit vectors the cosine of two items
    is a weighted mean of cosines, whichever of their parts the training makes longer.

    Under late fusion no picture enters the decoder and h is pooled over the words alone: the dual encoder,

        z = a_v unit(sum over r in {v, c} of g_r W_r norm(r) + M(v)) + a_w unit(sum .. {w, k} .. + W_hw norm(h)).

    Args:
        hidden_size: Width of h and of w.
        vision_size: Width of v.
        config: Fusion, which signals, their shares of the squared length at the start, width of M.

    Source: our choice, after late fusion with a learnt weight as in CLIP-like product encoders.
    """

    def __init__(self, hidden_size: int, vision_size: int, config: ModelConfig) -> None:
        super().__init__()
        self.dims = dims = config.embedding_dims
        self.is_late, self.has_slots = config.fusion == "late", config.slots
        names = (WORD_STATES,) if self.is_late else (PICTURE_STATES, WORD_STATES, SLOT_STATES)
        self.states = nn.ModuleDict()
        for name in names:
            self.states[name] = path = HiddenState(hidden_size, dims)
            if name == PICTURE_STATES:
                nn.init.zeros_(path.project.weight)
        raw = raw_signals(hidden_size, vision_size, config)
        self.residuals = nn.ModuleDict({name: RawSignal(width, dims, start) for name, (width, start) in raw.items()})
        self.vision_change: nn.Sequential | None = None
        if VISION in raw:
            self.vision_change = nn.Sequential(
                nn.LayerNorm(vision_size),
                nn.Linear(vision_size, config.late_hidden_size),
                nn.GELU(),
                nn.Linear(config.late_hidden_size, dims),
            )
            nn.init.zeros_(self.vision_change[-1].weight)  # type: ignore[arg-type]
            nn.init.zeros_(self.vision_change[-1].bias)  # type: ignore[arg-type]
        with torch.no_grad():
            for group in (OF_PICTURES, OF_WORDS):
                shares = {name: float(getattr(config.head_shares, name)) for name in group if name in raw}
                for name, share in shares.items():
                    signal = self.residuals[name]
                    assert isinstance(signal, RawSignal)
                    signal.gate.fill_((len(shares) * share / sum(shares.values())) ** 0.5)
        weights = [1.0, 1.0] if self.is_late else [1.0, 1.0, config.slot_weight]
        self.log_weights = nn.Parameter(torch.tensor(weights).log())

    def state(self, name: str, signals: Signals) -> torch.Tensor:
        """(B, D): the pooled hidden states that a path of the head starts from."""
        if name == WORD_STATES:
            return signals.hidden_BD if self.is_late else signals.of_words_BD
        if name == PICTURE_STATES:
            return signals.of_pictures_BD
        return signals.of_slots_BD if self.has_slots else signals.hidden_BD

    def parts(self, signals: Signals) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(B, E) of each part, of any length, and which items have it; in the order of the weights."""
        made = {name: path(self.state(name, signals)) for name, path in self.states.items()}
        pictures_BE, words_BE = self._sum(OF_PICTURES, signals), self._sum(OF_WORDS, signals) + made[WORD_STATES]
        if self.vision_change is not None:
            pictures_BE = pictures_BE + self.vision_change(signals.vision_BP)
        has_picture_B, has_words_B = signals.has_picture_B, signals.has_words_B
        if self.is_late:
            # Where there is neither picture nor word, the template's own vector stands for the item.
            return [(pictures_BE, has_picture_B), (words_BE, has_words_B | ~has_picture_B)]
        pictures_BE = pictures_BE + made[PICTURE_STATES]
        slots = (made[SLOT_STATES], torch.ones_like(has_words_B))
        return [(pictures_BE, has_picture_B), (words_BE, has_words_B), slots]

    def lengths(self, signals: Signals) -> list[torch.Tensor]:
        """(B,) length of each part, which `joined` divides it by."""
        return [part_BE.float().norm(dim=-1) for part_BE, _ in self.parts(signals)]

    def joined(self, signals: Signals, held: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """(B, E) float32 before the last normalisation.

        Args:
            signals: Of B items.
            held: Lengths to divide the parts by, of shape (B,) or (1,); their own where empty. With those of an item as
                it was, what is joined is linear in the parts, so that it tells what a change of one adds or takes.
        """
        weights = self.log_weights.exp()
        units = []
        for index, (part_BE, has_B) in enumerate(self.parts(signals)):
            part_BE = part_BE.float()
            unit_BE = part_BE / held[index].clamp(min=1e-12).unsqueeze(-1) if held else F.normalize(part_BE, dim=-1)
            units.append(unit_BE * has_B.unsqueeze(-1))
        return torch.stack([weight * unit_BE for weight, unit_BE in zip(weights, units, strict=True)]).sum(dim=0)

    def forward(self, signals: Signals) -> torch.Tensor:
        """Returns (B, E) float32, L2-normalised."""
        return F.normalize(self.joined(signals), dim=-1)

    def gates(self) -> dict[str, float]:
        """Weights of the parts, for the curves."""
        weights = self.log_weights.detach().exp().tolist()
        return {f"weight/{name}": one for name, one in zip(("pictures", "words", "slots"), weights, strict=False)}

    def _sum(self, names: tuple[str, ...], signals: Signals) -> torch.Tensor:
        total_BE = signals.hidden_BD.new_zeros((len(signals.hidden_BD), self.dims))
        for name, raw in self.residuals.items():
            if name in names:
                total_BE = total_BE + raw(*signals.raw(name))
        return total_BE


Head = FusedHead | PartsHead


def build_head(hidden_size: int, vision_size: int, config: ModelConfig) -> Head:
    """The head that `fusion` and `head` ask for."""
    kind = PartsHead if config.fusion == "late" or config.head == "parts" else FusedHead
    return kind(hidden_size, vision_size, config)


def matryoshka(vectors_BE: torch.Tensor, dims: int) -> torch.Tensor:
    """The first `dims` numbers of each vector, normalised again; differentiable."""
    return F.normalize(vectors_BE[:, :dims], dim=-1)


def _spans(widths: list[int]) -> list[tuple[int, int]]:
    starts = [sum(widths[:index]) for index in range(len(widths))]
    return list(zip(starts, widths, strict=True))


def _length(span: slice, dims: int) -> int:
    return len(range(*span.indices(dims)))


def _slice(span: tuple[int, int]) -> slice:
    return slice(span[0], span[0] + span[1])


def _added(z_BE: torch.Tensor, more_BX: torch.Tensor, span: slice) -> torch.Tensor:
    if span == slice(None):
        return z_BE + more_BX
    return z_BE + F.pad(more_BX, (span.start, z_BE.shape[1] - span.stop))
