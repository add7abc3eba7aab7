"""What reaches the head: pooled hidden states, and the raw signals past the decoder, each with its map.

Shape suffixes: B items, D the decoder's width, P the pooled vision signal's, E the embedding's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from models.codes import MAX_WIDTH
from models.colours import NUM_CELLS
from models.config import ModelConfig

VISION, COLOURS, WORDS, CODES = "vision", "colours", "words", "codes"
"""Raw signals, each with its residual."""
OF_PICTURES, OF_WORDS = (VISION, COLOURS), (WORDS, CODES)
"""Those that an item without pictures, or without words, lacks."""
PICTURE_STATES, WORD_STATES, SLOT_STATES = "of_pictures", "of_words", "of_slots"
"""Hidden states at some tokens, each with its path in a head of parts."""


@dataclass(frozen=True)
class Signals:
    """What is known of B items before the head."""

    hidden_BD: torch.Tensor
    """Pooled hidden states after the final norm."""
    of_words_BD: torch.Tensor
    """Those at words alone, and below at pictures and at the slots; zero where there are none."""
    of_pictures_BD: torch.Tensor
    of_slots_BD: torch.Tensor
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
    def start_whitened(self, signals_NX: torch.Tensor, ridge: float = 0.1) -> bool:
        """Start as the whitened principal components of real signals, of mean squared length `dims`.

        Raw signals of any pictures, or of any texts, are much alike: the few directions in which all vary drown those
        that tell items apart. Whitening makes them count the same.

        Args:
            signals_NX: Signals of the train side, at least two.
            ridge: Share of the mean variance added to each, so that directions of noise are not blown up. Far above one
                the components keep their own variances.

        Returns:
            False, and nothing is changed, where all signals are the same: there is nothing to tell apart.

        Source: Jegou and Chum, Negative evidences and co-occurences in image retrieval, ECCV 2012.
        """
        dims = self.project.out_features
        normed_NX = self.norm(signals_NX.float()).double()
        mean_X = normed_NX.mean(dim=0)
        _, spread, axes = torch.linalg.svd(normed_NX - mean_X, full_matrices=False)
        kept = min(dims, len(spread))
        variance = spread[:kept].square() / len(signals_NX)
        if variance.sum() < 1e-9:  # of unit variance along each row, so that this is rounding
            return False
        scale = (variance + ridge * variance.mean()).rsqrt()
        scale = scale * (dims / (variance * scale.square()).sum().clamp(min=1e-12)).sqrt()
        weight = scale.unsqueeze(1) * axes[:kept]
        self.project.weight.zero_()
        self.project.weight[:kept] = weight.to(self.project.weight.dtype)
        self.project.bias.zero_()
        self.project.bias[:kept] = -(weight @ mean_X).to(self.project.bias.dtype)
        return True


class HiddenState(nn.Module):
    """The map of pooled hidden states into the embedding.

    Args:
        width: Of the decoder.
        dims: Of the embedding.
    """

    def __init__(self, width: int, dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, dims, bias=False)

    def forward(self, hidden_BD: torch.Tensor) -> torch.Tensor:
        """(B, dims)."""
        return self.project(self.norm(hidden_BD))


def raw_signals(hidden_size: int, vision_size: int, config: ModelConfig) -> dict[str, tuple[int, str]]:
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
    return {name: signals[name] for name in names_of_raw(config)}


def code_width(config: ModelConfig) -> int:
    """Length of a token's code: that of its share of the embedding, since more would only be projected away."""
    widths = head_widths(config, names_of_raw(config)) if config.head == "heads" else [config.embedding_dims]
    return min(MAX_WIDTH, widths[-1]) if config.code_residual else 0


def names_of_raw(config: ModelConfig) -> list[str]:
    """The residuals that are on, in a fixed order.

    Under late fusion the pooled tower is all that the model sees of a picture: it is on whatever the configuration
    says, or this would be no dual encoder.
    """
    on = {
        VISION: config.vision_residual or config.fusion == "late",
        COLOURS: config.colour_residual,
        WORDS: config.word_residual,
        CODES: config.code_residual,
    }
    return [name for name in on if on[name]]


def head_widths(config: ModelConfig, raw: list[str]) -> list[int]:
    """Dimensions of the fused head and of each raw signal's; at least one each, and the sum is the embedding's."""
    shares = [config.head_shares.fused, *(float(getattr(config.head_shares, name)) for name in raw)]
    ends = [round(config.embedding_dims * sum(shares[: index + 1]) / sum(shares)) for index in range(len(shares))]
    widths = [max(1, end - start) for start, end in zip([0, *ends], ends, strict=False)]
    while sum(widths) > config.embedding_dims:  # a head of a small share was given one: the widest pays for it
        widths[widths.index(max(widths))] -= 1
    return widths
