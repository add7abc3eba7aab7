"""MOON: backbone, guided experts, pooling and head, as one module."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from models.backbones import Backbone, PictureFeatures, SeenPictures, build_backbone, picture_layout
from models.batch import Batch
from models.codes import token_codes
from models.colours import colours
from models.config import ModelConfig
from models.heads import build_head
from models.moe import DenseTwin, GuidedMoe, RouterStats, TypesInView, upcycle
from models.pooling import mean_by_row, pool, pool_kinds, word_pool
from models.raw_signals import Signals, code_width
from models.tokens import PICTURE_TYPES, SLOT_TYPES, WORD_TYPES


class MoonModel(nn.Module):
    """Batches to unit vectors.

    Args:
        config: The model's section.
        vocab_size: Entries of the tokenizer.
        backbone: With its pretrained weights; without it one with random weights is made.
        spec: Architecture of the backbone as a model folder tells it.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocab_size: int,
        backbone: nn.Module | None = None,
        spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        made = backbone if backbone is not None else build_backbone(config, vocab_size, spec)
        self.backbone: Backbone = made  # type: ignore[assignment]
        self._in_view = TypesInView()
        width = self.backbone.hidden_size
        self.moes: list[GuidedMoe] = upcycle(
            self.backbone.decoder_layers(), self.backbone.ffn_name, width, config.moe, self._in_view
        )
        self.slots = nn.Parameter(self._slot_start(vocab_size)) if config.slots else None
        self.token_weights: torch.Tensor
        """(vocabulary,) what a token counts in the word residual and in the codes of the words."""
        if config.word_weights == "rare":
            self.register_buffer("token_weights", torch.ones(vocab_size))
        if config.colour_residual:
            layout = picture_layout(config, self.backbone.spec())
            for name, value in (("pixel_mean", layout.mean), ("pixel_std", layout.std)):
                self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)
        self.pixel_mean: torch.Tensor
        self.pixel_std: torch.Tensor
        self.codes: torch.Tensor
        """(vocabulary, width) code of each token; no columns where the model takes none."""
        self.register_buffer("codes", token_codes(vocab_size, code_width(config)), persistent=False)
        self.head = build_head(width, self.backbone.vision_size, config)

    @classmethod
    def seeded(
        cls,
        config: ModelConfig,
        vocab_size: int,
        seed: int,
        backbone: nn.Module | None = None,
        spec: dict[str, Any] | None = None,
    ) -> MoonModel:
        """Fresh weights that depend on `seed` alone; the global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config, vocab_size, backbone, spec)

    def encode_pictures(self, pixels_NCHW: torch.Tensor) -> PictureFeatures:
        """Run the vision tower alone: what it made of a picture may be used in several sequences."""
        return self.project(self.see(pixels_NCHW))

    def see(self, pixels_NCHW: torch.Tensor) -> SeenPictures:
        """What the tower makes of normalised pixels; their colours follow the pooled signal where the model takes them.

        Nothing here learns where the tower is frozen, so it may be kept.
        """
        seen = self.backbone.see(pixels_NCHW)
        if not self.config.colour_residual:
            return seen
        own = colours(pixels_NCHW * self.pixel_std + self.pixel_mean)
        return replace(seen, pooled_NP=torch.cat((seen.pooled_NP, own.to(seen.pooled_NP.dtype)), dim=1))

    def project(self, seen: SeenPictures) -> PictureFeatures:
        """Pictures whose tower features are at hand, as the decoder takes them."""
        return self.backbone.project(seen)

    def forward(self, batch: Batch, pictures: PictureFeatures | None = None) -> torch.Tensor:
        """Embed a batch.

        Args:
            batch: B sequences.
            pictures: Features of the batch's pictures where they are known already.

        Returns:
            (B, embedding_dims) float32, L2-normalised.
        """
        return self.head(self.signals(batch, pictures))

    def signals(self, batch: Batch, pictures: PictureFeatures | None = None) -> Signals:
        """What the head is given for each item of the batch."""
        if pictures is None:
            pictures = self.encode_pictures(batch.pixels_NCHW)
        embeds_BLD = self.backbone.embed_tokens(batch.ids_BL)
        hidden_BLD = self.hidden_states(batch, pictures, embeds_BLD)
        num_rows = len(batch)
        # The tower's signal, then the colours.
        pooled_BP = mean_by_row(pictures.pooled_NP[batch.slot_picture_S], batch.slot_row_S, num_rows)
        width = self.backbone.vision_size
        how = self.config.pooling
        of_words_BD, has_words_B = pool_kinds(hidden_BLD, batch.types_BL, WORD_TYPES, how)
        return Signals(
            hidden_BD=pool(hidden_BLD, batch.types_BL, how),
            of_words_BD=of_words_BD,
            of_pictures_BD=pool_kinds(hidden_BLD, batch.types_BL, PICTURE_TYPES, how)[0],
            of_slots_BD=pool_kinds(hidden_BLD, batch.types_BL, SLOT_TYPES, how)[0],
            vision_BP=pooled_BP[:, :width],
            colours_BC=pooled_BP[:, width:],
            has_picture_B=torch.bincount(batch.slot_row_S, minlength=num_rows) > 0,
            words_BD=self.pooled_words(batch, embeds_BLD),
            codes_BC=self.pooled_words(batch, self.codes[batch.ids_BL].float()),
            has_words_B=has_words_B,
        )

    def pooled_words(self, batch: Batch, values_BLX: torch.Tensor) -> torch.Tensor:
        """(B, X): a raw signal of the words, each counted as the model does; zero without words."""
        weights_BL = self.token_weights[batch.ids_BL] if self.config.word_weights == "rare" else None
        return word_pool(values_BLX, batch.types_BL, weights_BL)

    def hidden_states(
        self, batch: Batch, pictures: PictureFeatures, embeds_BLD: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, L, D) after the final norm: pictures and slots in their places, guided experts at work."""
        if embeds_BLD is None:
            embeds_BLD = self.backbone.embed_tokens(batch.ids_BL)
        deep: tuple[torch.Tensor, ...] = ()
        picture_mask_BL = batch.picture_mask_BL
        if self.config.fusion == "decoder" and len(batch.slot_picture_S):
            tokens_SKD = pictures.tokens_NKD[batch.slot_picture_S].to(embeds_BLD.dtype)
            embeds_BLD = embeds_BLD.masked_scatter(picture_mask_BL.unsqueeze(-1), tokens_SKD)
            deep = tuple(one[batch.slot_picture_S] for one in pictures.deep)
        if self.slots is not None:
            for row, kind in enumerate(SLOT_TYPES):
                here_BL1 = (batch.types_BL == kind).unsqueeze(-1)
                embeds_BLD = torch.where(here_BL1, self.slots[row].to(embeds_BLD.dtype), embeds_BLD)
        with self._in_view.showing(batch.types_BL):
            return self.backbone.decode(embeds_BLD, batch.mask_BL, batch.positions_3BL, picture_mask_BL, deep)

    def take_stats(self) -> list[RouterStats]:
        """What the routers of the guided layers did since last asked; training mode only."""
        return [moe.take_stats() for moe in self.moes]

    def expert_parameters(self) -> list[nn.Parameter]:
        """Experts and routers, or the dense change in their place; without the FFNs that they began as."""
        parts = [part for part in self.modules() if isinstance(part, (GuidedMoe, DenseTwin))]
        return [
            parameter for part in parts for name, parameter in part.named_parameters() if not name.startswith("shared.")
        ]

    def _slot_start(self, vocab_size: int) -> torch.Tensor:
        """As long as the tokens that the decoder knows, so that neither drowns the other."""
        with torch.no_grad():
            device = next(self.parameters()).device
            known = self.backbone.embed_tokens(torch.arange(min(256, vocab_size), device=device).unsqueeze(0))
            return torch.randn((len(SLOT_TYPES), self.backbone.hidden_size), device=device) * known.float().std()
