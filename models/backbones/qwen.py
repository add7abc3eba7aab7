"""What Qwen2.5-VL and Qwen3-VL have in common: squares to patches, attention over many small pictures, loading.

The patch merger, which brings 2 x 2 patches into the decoder's width, is part of the tower here: `project` has nothing
left to do, and what the cache of a frozen tower holds is what the decoder reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_position_ids

from models.backbones.base import PictureFeatures, PictureLayout, SeenPictures
from models.backbones.layouts import token_side
from models.backbones.nano import patches_of_pixels
from models.backbones.pretrained import (
    architecture,
    check_vocabulary,
    cut_layers,
    from_sizes,
    load_checked,
    pixel_statistics,
    put_weights,
    without_init,
)
from models.config import ModelConfig
from models.template import Positions, Template, token_id, worded_marks

PAD, IMAGE = "<|endoftext|>", "<|image_pad|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"


class QwenBackbone(nn.Module):
    """A Qwen-VL model of transformers behind the `Backbone` interface.

    Args:
        model: Qwen2_5_VLModel or Qwen3VLModel, its patch embedding and vision attention already of this module.
        layout: Of its pictures.
    """

    ffn_name = "mlp"
    positions: Positions = "mrope"

    def __init__(self, model: Any, layout: PictureLayout) -> None:
        super().__init__()
        self.qwen: Any = model
        self._layout = layout
        config = model.config
        self.hidden_size = int(config.text_config.hidden_size)
        self.vision_size = int(config.vision_config.hidden_size)

    def see(self, pixels_NCHW: torch.Tensor) -> SeenPictures:
        num, num_tokens, vision = pixels_NCHW.shape[0], self._layout.num_tokens, self.qwen.config.vision_config
        num_deep = len(getattr(vision, "deepstack_visual_indexes", ()))
        if num == 0:
            empty = next(self.qwen.visual.parameters()).new_zeros
            tokens_NKD = empty((0, num_tokens, self.hidden_size))
            return SeenPictures(tokens_NKD, empty((0, self.vision_size)), (tokens_NKD,) * num_deep)
        patches_TC, grid_N3 = patches_of_pixels(pixels_NCHW, vision.patch_size, vision.spatial_merge_size)
        patches_TC = as_clip(patches_TC, vision.temporal_patch_size)
        side = pixels_NCHW.shape[-1] // vision.patch_size
        # On the CPU: what is derived from it decides shapes, and a GPU would have to be waited for.
        indices = self.picture_indices(torch.tensor([1, side, side], device="cpu"), num)
        moved = {
            name: index if name.startswith("cu_") else index.to(patches_TC.device) for name, index in indices.items()
        }
        out = self.qwen.visual(patches_TC, grid_thw=grid_N3, **moved)
        deep = tuple(x.view(num, num_tokens, -1) for x in getattr(out, "deepstack_features", None) or ())
        return SeenPictures(
            out.pooler_output.view(num, num_tokens, -1),
            out.last_hidden_state.view(num, -1, self.vision_size).mean(dim=1),
            deep,
        )

    def picture_indices(self, grid_3: torch.Tensor, num: int) -> dict[str, torch.Tensor]:
        """What the tower would derive from the grids picture by picture: derived once, as all are equal.

        Args:
            grid_3: Time, rows and columns of one picture's patches, on the CPU.
            num: Pictures.

        Returns:
            Keyword arguments of the stock tower.
        """
        length = int(grid_3.prod())
        return {
            "position_ids": get_vision_position_ids(grid_3[None], self._merge).repeat(num, 1),
            "cu_seqlens": torch.arange(num + 1, dtype=torch.int32) * length,
        }

    def project(self, seen: SeenPictures) -> PictureFeatures:
        return PictureFeatures(seen.grid_NKV, seen.pooled_NP, seen.deep)

    def embed_tokens(self, ids_BL: torch.Tensor) -> torch.Tensor:
        return self.qwen.language_model.embed_tokens(ids_BL)

    def decode(
        self,
        embeds_BLD: torch.Tensor,
        mask_BL: torch.Tensor,
        positions_3BL: torch.Tensor,
        picture_mask_BL: torch.Tensor,
        deep: tuple[torch.Tensor, ...] = (),
    ) -> torch.Tensor:
        given = {}
        if deep and deep[0].shape[0]:
            given = {
                "visual_pos_masks": picture_mask_BL,
                "deepstack_visual_embeds": [features_SKD.flatten(0, 1) for features_SKD in deep],
            }
        out = self.qwen.language_model(
            inputs_embeds=embeds_BLD,
            attention_mask=mask_BL.long(),
            position_ids=positions_3BL,
            use_cache=False,
            **given,
        )
        return out.last_hidden_state

    def decoder_layers(self) -> nn.ModuleList:
        return self.qwen.language_model.layers

    def vision_parameters(self) -> list[nn.Parameter]:
        return list(self.qwen.visual.parameters())

    def spec(self) -> dict[str, Any]:
        return {
            "model": architecture(self.qwen.config.to_dict()),
            "mean": list(self._layout.mean),
            "std": list(self._layout.std),
        }

    @property
    def num_rows(self) -> int:
        """Rows of the embedding table."""
        return int(self.qwen.language_model.embed_tokens.weight.shape[0])

    @property
    def _merge(self) -> int:
        return int(self.qwen.config.vision_config.spatial_merge_size)


class FlatPatchEmbed(nn.Module):
    """A patch embedding as one matrix product: a convolution whose stride is its kernel is one, but slower."""

    proj: nn.Conv3d

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        weight = self.proj.weight.flatten(1)
        return F.linear(hidden_states.to(weight.dtype), weight, self.proj.bias)


class GroupedAttention(nn.Module):
    """Qwen's vision attention with one call for all windows or pictures of one length.

    The stock module loops over them in Python, which with hundreds of small pictures costs more than the arithmetic.
    Same parameters, same result.
    """

    qkv: nn.Linear
    proj: nn.Linear
    num_heads: int
    scaling: float

    def forward(
        self,
        hidden_states: torch.Tensor,
        cu_seqlens: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        max_seqlen: int | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        assert position_embeddings is not None
        total = hidden_states.shape[0]
        q, k, v = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1).unbind(1)
        q, k = apply_rotary_pos_emb_vision(q, k, *position_embeddings)
        lengths = cu_seqlens.diff()
        different = lengths.unique().tolist()
        if len(different) == 1:
            return self.proj(self._attend(q, k, v, different[0]))
        out = torch.empty_like(hidden_states)
        for length in different:
            starts = cu_seqlens[:-1][lengths == length].long()
            rows = (starts[:, None] + torch.arange(length)).flatten().to(out.device)
            out = out.index_copy(0, rows, self._attend(q[rows], k[rows], v[rows], length).to(out.dtype))
        return self.proj(out)

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, length: int) -> torch.Tensor:
        """Attention within stretches of `length`; (rows, heads, width) each in, (rows, heads * width) out."""
        q_, k_, v_ = (x.reshape(-1, length, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))
        out = F.scaled_dot_product_attention(q_, k_, v_, scale=self.scaling)
        return out.transpose(1, 2).reshape(q.shape[0], -1)


def as_clip(patches_TC: torch.Tensor, num_frames: int) -> torch.Tensor:
    """A still picture as Qwen takes it: the same frame `num_frames` times, the channel the slowest axis of a patch."""
    frames = patches_TC.unflatten(1, (3, 1, -1)).expand(-1, -1, num_frames, -1)
    return frames.reshape(patches_TC.shape[0], -1)


@dataclass(frozen=True)
class QwenKind:
    """One generation of Qwen-VL: its classes, and the four functions that a backbone module has."""

    model_type: str
    config_class: Any
    model_class: Any
    backbone: type[QwenBackbone]
    attention: type[GroupedAttention]
    patch_embed: type[FlatPatchEmbed]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of pixels, where the weights folder has no preprocessor_config.json."""

    def fresh(self, config: ModelConfig, vocab_size: int, spec: dict[str, Any] | None) -> QwenBackbone:
        """Random weights from torch's global generator; sizes from `spec`, else from the weights folder.

        Raises:
            ModelError: A tokenizer of `vocab_size` is too large, or `keep_layers` does not fit.
        """
        backbone = self._build(config, spec or self._spec_of(config))
        check_vocabulary(vocab_size, backbone.num_rows, config.pretrained.weights)
        return backbone

    def load(self, config: ModelConfig) -> tuple[QwenBackbone, Tokenizer]:
        """Pretrained weights in float32, and their tokenizer.

        Raises:
            ModelError: Weights are not at hand, incomplete, or of another model; tokenizer and configuration disagree.
        """
        from models.weights import read_safetensors

        folder, _, tokenizer = load_checked(config.pretrained.weights, self.model_type)
        with without_init():
            backbone = self._build(config, self._spec_of(config))
        put_weights(backbone.qwen, read_safetensors(folder), rename, str(folder), backbone.decoder_layers())
        check_vocabulary(tokenizer.get_vocab_size(), backbone.num_rows, str(folder))
        return backbone, tokenizer

    def layout(self, config: ModelConfig, spec: dict[str, Any] | None) -> PictureLayout:
        """The largest square within wish and budget: one token for each `merge` x `merge` patches.

        Raises:
            ModelError: Not even one token a picture fits.
        """
        known = spec or self._spec_of(config)
        vision = self.config_class.from_dict(dict(known["model"])).vision_config
        step_px = vision.patch_size * vision.spatial_merge_size
        side = token_side(config, step_px)
        return PictureLayout(side * step_px, side, side, tuple(known["mean"]), tuple(known["std"]))

    def template(self, tokenizer: Tokenizer) -> Template:
        """Qwen's own vision tokens, marks in words.

        Raises:
            ModelError: The tokenizer is not Qwen's.
        """
        ids = {name: token_id(tokenizer, name, self.model_type) for name in (PAD, IMAGE, VISION_START, VISION_END)}
        return Template(
            pad_id=ids[PAD],
            image_id=ids[IMAGE],
            before_picture=(ids[VISION_START],),
            after_picture=(ids[VISION_END],),
            marks=worded_marks(tokenizer),
            positions="mrope",
        )

    def _spec_of(self, config: ModelConfig) -> dict[str, Any]:
        from models.weights import check_architecture, read_config, weights_folder

        folder = weights_folder(config.pretrained.weights)
        stored = read_config(folder)
        check_architecture(stored, self.model_type, str(folder))
        known = self.config_class.from_dict(stored)
        mean, std = pixel_statistics(folder, self.mean, self.std)
        return {"model": architecture(known.to_dict()), "mean": mean, "std": std}

    def _build(self, config: ModelConfig, spec: Mapping[str, Any]) -> QwenBackbone:
        known = self.config_class.from_dict(dict(spec["model"]))
        cut_layers(known.text_config, config.pretrained.keep_layers)
        known._attn_implementation = "sdpa"
        model = from_sizes(self.model_class, known, config.pretrained.weights)
        model.visual.patch_embed.__class__ = self.patch_embed
        for block in model.visual.blocks:
            block.attn.__class__ = self.attention
        return self.backbone(model, self.layout(config, dict(spec)))


def rename(name: str) -> str | None:
    """A tensor of a published checkpoint to its place in the model; None for the language model's head.

    Checkpoints of 2025 have `model.layers.` and `visual.`, later ones `model.language_model.layers.` and
    `model.visual.`.
    """
    if name.startswith("lm_head."):
        return None
    name = name.removeprefix("model.")
    return name if name.startswith(("visual.", "language_model.")) else f"language_model.{name}"
