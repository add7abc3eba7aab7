"""From the pooled signals to an embedding: the fused head of MOON and the late fusion of a dual encoder.

Shape suffixes: B items, D the decoder's width, P the pooled vision signal's, E the embedding's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from models.codes import MAX_WIDTH
from models.colours import NUM_CELLS
from models.config import ModelConfig

VISION, COLOURS, WORDS, CODES = "vision", "colours", "words", "codes"
"""Raw signals, each with its residual."""
OF_WORDS = (WORDS, CODES)
"""Those that an item without words lacks; the others are of pictures."""


@dataclass(frozen=True)
class Signals:
    """What is known of B items before the head."""

    hidden_BD: torch.Tensor
    """Pooled hidden states after the final norm."""
    vision_BP: torch.Tensor
    """Mean of the pooled vision signals of the item's pictures; zero without any."""
    colours_BC: torch.Tensor
    """Mean of the pictures' colours; no columns where the model takes none."""
    has_picture_B: torch.Tensor
    words_BD: torch.Tensor
    """Pooled token embeddings of the item's words; zero without any."""
    codes_BC: torch.Tensor
    """Pooled codes of the item's words; no columns where the model takes none."""
    has_words_B: torch.Tensor

    def raw(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A raw signal and which items have it."""
        return {
            VISION: (self.vision_BP, self.has_picture_B),
            COLOURS: (self.colours_BC, self.has_picture_B),
            WORDS: (self.words_BD, self.has_words_B),
            CODES: (self.codes_BC, self.has_words_B),
        }[name]


class RawSignal(nn.Module):
    """A gated affine map of a signal that reaches the embedding past the decoder.

    Args:
        width: Width of the signal.
        dims: Width of what it adds to.
        start: `zero`: it adds nothing before anything was learnt. `open`: a random map. `whitened`: random too, until
            `start_whitened` is given the train side's signals.
    """

    def __init__(self, width: int, dims: int, start: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, dims)
        self.gate = nn.Parameter(torch.ones(()))
        nn.init.zeros_(self.project.bias)
        if start == "zero":
            nn.init.zeros_(self.project.weight)

    def forward(self, signal_BX: torch.Tensor, present_B: torch.Tensor) -> torch.Tensor:
        """(B, dims); zero for an item without the signal."""
        added = self.gate * self.project(self.norm(signal_BX))
        return added * present_B.unsqueeze(-1).to(added.dtype)

    @torch.no_grad()
    def start_whitened(self, signals_NX: torch.Tensor, ridge: float = 0.1) -> None:
        """Start as the whitened principal components of real signals, of about unit variance each.

        Raw signals of any pictures, or of any texts, are much alike: the few directions in which all vary drown those
        that tell items apart. Whitening makes them count the same.

        Args:
            signals_NX: Signals of the train side, at least two.
            ridge: Share of the mean variance added to each, so that directions of noise are not blown up.

        Source: Jegou and Chum, Negative evidences and co-occurences in image retrieval, ECCV 2012.
        """
        dims = self.project.out_features
        normed_NX = self.norm(signals_NX.float()).double()
        mean_X = normed_NX.mean(dim=0)
        _, spread, axes = torch.linalg.svd(normed_NX - mean_X, full_matrices=False)
        kept = min(dims, len(spread))
        variance = spread[:kept].square() / len(signals_NX)
        scale = (variance + ridge * variance.mean()).rsqrt()
        weight = scale.unsqueeze(1) * axes[:kept]
        self.project.weight.zero_()
        self.project.weight[:kept] = weight.to(self.project.weight.dtype)
        self.project.bias.zero_()
        self.project.bias[:kept] = -(weight @ mean_X).to(self.project.bias.dtype)


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
        raw = _raw_signals(hidden_size, vision_size, config)
        widths = _head_widths(config, list(raw))
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

    def forward(self, signals: Signals) -> torch.Tensor:
        """Returns (B, E) float32, L2-normalised."""
        z_BE = self.project(self.norm(signals.hidden_BD))
        for name, raw in self.residuals.items():
            z_BE = _added(z_BE, raw(*signals.raw(name)), self.spans[name])
        return F.normalize(z_BE.float()[:, self.order], dim=-1)

    def gates(self) -> dict[str, float]:
        """Gates of the residuals, for the curves."""
        residuals = {name: raw for name, raw in self.residuals.items() if isinstance(raw, RawSignal)}
        return {f"gate/{name}": float(raw.gate.detach()) for name, raw in residuals.items()}


class LateHead(nn.Module):
    """The dual encoder's join: each tower to a unit vector, then a weighted sum of those that are there.

        z = a_v norm(g_v W_v norm(v) + g_c W_c norm(c) + M(v))
          + a_t norm(W_h norm(h) + g_w W_w norm(w) + g_k W_k norm(k))

    M is an MLP over the pooled vision tower, h the decoder over the words alone; a_v and a_t are learnt, and one at
    the start.

    Args:
        hidden_size: Width of h and of w.
        vision_size: Width of v.
        config: Width of M, and whether the words have their residual.

    Source: our choice of a strong rival: two towers and a learnt weight, as in CLIP-like product encoders.
    """

    def __init__(self, hidden_size: int, vision_size: int, config: ModelConfig) -> None:
        super().__init__()
        dims = config.embedding_dims
        self.norm = nn.LayerNorm(hidden_size)
        self.project = nn.Linear(hidden_size, dims, bias=False)
        raw = _raw_signals(hidden_size, vision_size, config.model_copy(update={"vision_residual": True}))
        self.residuals = nn.ModuleDict({name: RawSignal(width, dims, start) for name, (width, start) in raw.items()})
        self.vision_change = nn.Sequential(
            nn.LayerNorm(vision_size),
            nn.Linear(vision_size, config.late_hidden_size),
            nn.GELU(),
            nn.Linear(config.late_hidden_size, dims),
        )
        self.log_weights = nn.Parameter(torch.zeros(2))

    def forward(self, signals: Signals) -> torch.Tensor:
        """Returns (B, E) float32, L2-normalised."""
        text_BE = self.project(self.norm(signals.hidden_BD))
        vision_BE = self.vision_change(signals.vision_BP)
        for name, raw in self.residuals.items():
            if name in OF_WORDS:
                text_BE = text_BE + raw(*signals.raw(name))
            else:
                vision_BE = vision_BE + raw(*signals.raw(name))
        vision, text = (F.normalize(one.float(), dim=-1) for one in (vision_BE, text_BE))
        weights = self.log_weights.exp()
        # Where there is neither picture nor word, the template's own vector stands for the item.
        has_text = (signals.has_words_B | ~signals.has_picture_B).unsqueeze(-1)
        z_BE = weights[0] * vision * signals.has_picture_B.unsqueeze(-1) + weights[1] * text * has_text
        return F.normalize(z_BE, dim=-1)

    def gates(self) -> dict[str, float]:
        """Weights of the towers, for the curves."""
        vision, text = self.log_weights.detach().exp().tolist()
        return {"gate/vision": vision, "gate/text": text}


def build_head(hidden_size: int, vision_size: int, config: ModelConfig) -> FusedHead | LateHead:
    """The head that `fusion` asks for."""
    kind = FusedHead if config.fusion == "decoder" else LateHead
    return kind(hidden_size, vision_size, config)


def matryoshka(vectors_BE: torch.Tensor, dims: int) -> torch.Tensor:
    """The first `dims` numbers of each vector, normalised again; differentiable."""
    return F.normalize(vectors_BE[:, :dims], dim=-1)


def _raw_signals(hidden_size: int, vision_size: int, config: ModelConfig) -> dict[str, tuple[int, str]]:
    """Width and start of every residual that is on, in a fixed order."""
    start = config.residual_start
    # Pictures have no head start that an untrained encoder should not have: a random map of them matches nothing.
    of_pictures = "open" if start == "zero" else start
    signals = {
        VISION: (vision_size, of_pictures),
        COLOURS: (NUM_CELLS, of_pictures),
        WORDS: (hidden_size, start),
        CODES: (code_width(config), start),
    }
    return {name: signals[name] for name in _names_of_raw(config)}


def code_width(config: ModelConfig) -> int:
    """Length of a token's code: that of its share of the embedding, since more would only be projected away."""
    widths = _head_widths(config, _names_of_raw(config)) if config.head == "heads" else [config.embedding_dims]
    return min(MAX_WIDTH, widths[-1]) if config.code_residual else 0


def _names_of_raw(config: ModelConfig) -> list[str]:
    on = {
        VISION: config.vision_residual,
        COLOURS: config.colour_residual,
        WORDS: config.word_residual,
        CODES: config.code_residual,
    }
    return [name for name in on if on[name]]


def _head_widths(config: ModelConfig, raw: list[str]) -> list[int]:
    """Dimensions of the fused head and of each raw signal's; at least one each, and the sum is the embedding's."""
    shares = [config.head_shares.fused, *(float(getattr(config.head_shares, name)) for name in raw)]
    ends = [round(config.embedding_dims * sum(shares[: index + 1]) / sum(shares)) for index in range(len(shares))]
    return [max(1, end - start) for start, end in zip([0, *ends], ends, strict=False)]


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
