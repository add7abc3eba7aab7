"""`composed`: a vision tower of timm and a causal language model of transformers, joined by a fresh projector.

The tower's last map is averaged to a grid of tokens, each of which the projector brings into the language model's
width. Positions are the language model's own, one number a token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from catalog import ModelError
from models.backbones.base import PictureFeatures, PictureLayout, SeenPictures
from models.backbones.language import build_language, causal_type, ffn_of, layers_of, put_language_weights
from models.backbones.layouts import budget_side
from models.backbones.pretrained import (
    architecture,
    check_vocabulary,
    load_checked,
    padding_id,
    without_init,
)
from models.backbones.towers import TimmTower, build_tower, put_tower_weights, tower_spec
from models.config import ModelConfig
from models.template import Positions, Template, worded_marks

PICTURE_MARK = "<filename>"
IMAGE_TOKEN = "<file_sep>"
"""SmolLM2 knows both from code; in a shop's texts they stand for nothing."""
WORDED_PICTURE = "\nphoto:"
GELU_SECOND_MOMENT = 0.425
"""Mean square of GELU over a standard normal."""
NUM_MEASURED_ROWS = 4096


class ComposedBackbone(nn.Module):
    """Tower, projector and language model behind the `Backbone` interface.

    Args:
        config: The model's section.
        spec: The tower's part of what `spec` gives.
        tower: With its weights: the scale of the pooled signal is measured on them.
        language: With its weights: the projector starts at the length of its word embeddings.
    """

    positions: Positions = "sequential"

    def __init__(self, config: ModelConfig, spec: Mapping[str, Any], tower: TimmTower, language: Any) -> None:
        super().__init__()
        self._vision_spec = dict(spec)
        self._layout = _layout(config, spec)
        self.tower = tower
        self.language: Any = language
        self._layers_name, self.ffn_name = layers_of(language)[0], ffn_of(language)
        if tower.map_side < self._layout.rows:
            raise ModelError(
                "token grid is finer than the tower's last map",
                where="model.composed.grid_side",
                got=f"{self._layout.rows} x {self._layout.rows} tokens of a map of {tower.map_side} a side",
                allowed=f"at most {tower.map_side}",
                fix="lower it, or raise model.image_side_px",
            )
        rows = self._rows()
        self.hidden_size, self.vision_size = int(rows.shape[1]), tower.pooled_size
        self.projector = projector(tower.map_size, config.composed.projector_size, self.hidden_size)
        if not rows.is_meta:
            # Picture tokens start as long as word embeddings: neither drowns the other in the first attention.
            rescale(self.projector, float(rows[:NUM_MEASURED_ROWS].detach().float().square().mean().sqrt()))

    def see(self, pixels_NCHW: torch.Tensor) -> SeenPictures:
        return SeenPictures(*self.tower(pixels_NCHW, self._layout.rows))

    def project(self, seen: SeenPictures) -> PictureFeatures:
        return PictureFeatures(self.projector(seen.grid_NKV), seen.pooled_NP)

    def embed_tokens(self, ids_BL: torch.Tensor) -> torch.Tensor:
        return self.language.get_input_embeddings()(ids_BL)

    def decode(
        self,
        embeds_BLD: torch.Tensor,
        mask_BL: torch.Tensor,
        positions_3BL: torch.Tensor,
        picture_mask_BL: torch.Tensor,
        deep: tuple[torch.Tensor, ...] = (),
    ) -> torch.Tensor:
        out = self.language(
            inputs_embeds=embeds_BLD, attention_mask=mask_BL.long(), position_ids=positions_3BL[0], use_cache=False
        )
        return out.last_hidden_state

    def decoder_layers(self) -> nn.ModuleList:
        return getattr(self.language, self._layers_name)

    def vision_parameters(self) -> list[nn.Parameter]:
        return list(self.tower.parameters())

    def spec(self) -> dict[str, Any]:
        return {"vision": dict(self._vision_spec), "language": architecture(self.language.config.to_dict())}

    def _rows(self) -> torch.Tensor:
        return self.language.get_input_embeddings().weight


def fresh(config: ModelConfig, vocab_size: int, spec: dict[str, Any] | None) -> ComposedBackbone:
    """Random weights from torch's global generator; sizes from `spec`, else from the two weights folders.

    Raises:
        ModelError: A tokenizer of `vocab_size` is too large, or the configuration asks for what the parts lack.
    """
    parts = spec or {"vision": _vision_of(config), "language": _language_of(config)}
    language = build_language(parts["language"], config.composed.keep_layers)
    check_vocabulary(vocab_size, int(language.get_input_embeddings().weight.shape[0]), config.composed.language)
    tower = build_tower(parts["vision"], config.image_side_px, config.composed.pooled_stages)
    tower.measure()
    return ComposedBackbone(config, parts["vision"], tower, language)


def load(config: ModelConfig) -> tuple[ComposedBackbone, Tokenizer]:
    """Pretrained tower and language model, in float32; the projector is drawn from torch's global generator.

    Raises:
        ModelError: Weights are not at hand, incomplete, or of another model; tokenizer and configuration disagree.
    """
    from models.weights import read_config, read_safetensors, weights_folder

    composed = config.composed
    model_type = causal_type(read_config(weights_folder(composed.language)))
    folder, stored, tokenizer = load_checked(composed.language, model_type)
    vision_folder = weights_folder(composed.vision)
    vision = tower_spec(read_config(vision_folder), str(vision_folder))
    with without_init():
        language = build_language(architecture(stored), composed.keep_layers)
        tower = build_tower(vision, config.image_side_px, composed.pooled_stages)
    put_language_weights(language, read_safetensors(folder), str(folder))
    put_tower_weights(tower, read_safetensors(vision_folder), str(vision_folder))
    tower.measure()
    check_vocabulary(tokenizer.get_vocab_size(), int(language.get_input_embeddings().weight.shape[0]), str(folder))
    return ComposedBackbone(config, vision, tower, language), tokenizer


def layout(config: ModelConfig, spec: dict[str, Any] | None) -> PictureLayout:
    """`grid_side` x `grid_side` tokens, fewer where the token budget is smaller; the side in pixels is the wished one.

    Raises:
        ModelError: Not even one token a picture fits.
    """
    return _layout(config, spec["vision"] if spec else _vision_of(config))


def template(tokenizer: Tokenizer) -> Template:
    """Marks in words; the tokens of a picture are replaced anyway, so any id of the vocabulary may stand for them."""
    pad_id = padding_id(tokenizer)
    mark, image_id = tokenizer.token_to_id(PICTURE_MARK), tokenizer.token_to_id(IMAGE_TOKEN)
    before = (mark,) if mark is not None else tuple(tokenizer.encode(WORDED_PICTURE, add_special_tokens=False).ids)
    return Template(
        pad_id=pad_id,
        image_id=pad_id if image_id is None else image_id,
        before_picture=before,
        after_picture=(),
        marks=worded_marks(tokenizer),
        positions="sequential",
    )


def projector(width: int, inner: int, out: int) -> nn.Sequential:
    """Norm and one linear map, or two with a GELU between them where `inner` is not 0."""
    if inner:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, out))
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out))


@torch.no_grad()
def rescale(layers: nn.Sequential, size: float) -> None:
    """Start the maps of a `projector` so that its output has root mean square `size` on standard normal input."""
    moment = 1.0
    for layer in layers:
        if isinstance(layer, nn.Linear):
            goal = size if layer is layers[-1] else 1.0
            nn.init.normal_(layer.weight, std=goal / math.sqrt(layer.in_features * moment))
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.GELU):
            moment = GELU_SECOND_MOMENT


def _layout(config: ModelConfig, vision: Mapping[str, Any]) -> PictureLayout:
    budget = budget_side(config)
    side = config.composed.grid_side if budget is None else min(config.composed.grid_side, budget)
    return PictureLayout(config.image_side_px, side, side, tuple(vision["mean"]), tuple(vision["std"]))


def _vision_of(config: ModelConfig) -> dict[str, Any]:
    from models.weights import read_config, weights_folder

    folder = weights_folder(config.composed.vision)
    return tower_spec(read_config(folder), str(folder))


def _language_of(config: ModelConfig) -> dict[str, Any]:
    from models.weights import read_config, weights_folder

    return architecture(read_config(weights_folder(config.composed.language)))
