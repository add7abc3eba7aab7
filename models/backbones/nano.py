"""`nano`: a tiny Qwen2.5-VL with random weights, the embedded default that needs no download."""

from __future__ import annotations

import math
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLModel,
    Qwen2_5_VLVisionAttention,
    apply_rotary_pos_emb_vision,
)

from models import tokens
from models.backbones.base import PictureFeatures, PictureLayout, SeenPictures
from models.backbones.layouts import token_side
from models.config import ModelConfig, NanoConfig
from models.template import Mark, Positions, Template, token_id
from models.tokens import SPECIAL_TOKENS

INITIALIZER_RANGE = 0.04
"""Twice Qwen's: at a width of about a hundred, 0.02 leaves every block close to the identity for many steps."""
EMBEDDING_STD = 0.3
"""Of the order of what a block adds: at Qwen's 0.02, the mean over the context would bury which word stands where."""
MAX_POSITIONS = 8192


class NanoBackbone(nn.Module):
    """Qwen2.5-VL of transformers behind the `Backbone` interface.

    Args:
        config: Sizes.
        vocab_size: Entries of the tokenizer.
    """

    ffn_name = "mlp"
    positions: Positions = "mrope"

    def __init__(self, config: NanoConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.hidden_size, self.vision_size = config.hidden_size, config.vision_hidden_size
        self.qwen = Qwen2_5_VLModel(qwen_config(config, vocab_size))
        nn.init.normal_(self.qwen.language_model.embed_tokens.weight, std=EMBEDDING_STD)
        self.qwen.visual.patch_embed = LinearPatchEmbed(config.patch_px, config.vision_hidden_size)
        for block in self.qwen.visual.blocks:
            block.attn = EqualGridAttention.of(block.attn)

    def see(self, pixels_NCHW: torch.Tensor) -> SeenPictures:
        num = pixels_NCHW.shape[0]
        if num == 0:
            return SeenPictures(
                pixels_NCHW.new_zeros((0, 1, self.hidden_size)), pixels_NCHW.new_zeros((0, self.vision_size))
            )
        patches_TC, grid_N3 = patches_of_pixels(pixels_NCHW, self.config.patch_px, self.config.merge_size)
        out = self.qwen.visual(patches_TC, grid_thw=grid_N3, **_layout(grid_N3, self.config.merge_size**2))
        return SeenPictures(
            out.pooler_output.view(num, -1, self.hidden_size),
            out.last_hidden_state.view(num, -1, self.vision_size).mean(dim=1),
        )

    def project(self, seen: SeenPictures) -> PictureFeatures:
        return PictureFeatures(seen.grid_NKV, seen.pooled_NP)

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
        out = self.qwen.language_model(
            inputs_embeds=embeds_BLD, attention_mask=mask_BL.long(), position_ids=positions_3BL, use_cache=False
        )
        return out.last_hidden_state

    def decoder_layers(self) -> nn.ModuleList:
        return self.qwen.language_model.layers

    def vision_parameters(self) -> list[nn.Parameter]:
        return list(self.qwen.visual.parameters())

    def spec(self) -> dict[str, Any]:
        return {"vocab_size": int(self.qwen.language_model.embed_tokens.num_embeddings)}


def fresh(config: ModelConfig, vocab_size: int, spec: dict[str, Any] | None) -> NanoBackbone:
    """A `nano` with random weights from torch's global generator."""
    return NanoBackbone(config.nano, vocab_size)


def layout(config: ModelConfig, spec: dict[str, Any] | None) -> PictureLayout:
    """The largest side not above `image_side_px` whose pictures fit into the token budget.

    Raises:
        ModelError: Not even one token a picture fits.
    """
    step = config.nano.patch_px * config.nano.merge_size
    side = token_side(config, step)
    return PictureLayout(side * step, side, side)


def template(tokenizer: Tokenizer) -> Template:
    """One special token a mark."""
    ids = {token: token_id(tokenizer, token, "nano") for token in SPECIAL_TOKENS}
    marks = {
        Mark.TITLE: tokens.TITLE_MARK,
        Mark.CATEGORY: tokens.CATEGORY_MARK,
        Mark.ATTRIBUTE: tokens.ATTRIBUTE_MARK,
        Mark.DESCRIPTION: tokens.DESCRIPTION_MARK,
        Mark.TEXT: tokens.TEXT_MARK,
        Mark.EMPTY: tokens.EMPTY_MARK,
    }
    return Template(
        pad_id=ids[tokens.PAD],
        image_id=ids[tokens.IMAGE_PAD],
        before_picture=(ids[tokens.VISION_START],),
        after_picture=(ids[tokens.VISION_END],),
        marks={mark: (ids[token],) for mark, token in marks.items()},
        positions="mrope",
    )


def patches_of_pixels(pixels_NCHW: torch.Tensor, patch_px: int, merge_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised pixels to Qwen's layout: patches in the order of the merge blocks, each as channel, row, column.

    Returns:
        (N * patches, 3 * patch_px ** 2) and grids (N, 3) of time, height, width.

    Source: transformers' Qwen2VLImageProcessor, with temporal_patch_size 1.
    """
    num, _, side_px, _ = pixels_NCHW.shape
    side = side_px // patch_px
    blocks = side // merge_size
    cut = pixels_NCHW.reshape(num, 3, blocks, merge_size, patch_px, blocks, merge_size, patch_px)
    patches = cut.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(num * side * side, 3 * patch_px**2)
    return patches, torch.tensor([[1, side, side]], device=pixels_NCHW.device).repeat(num, 1)


def qwen_config(config: NanoConfig, vocab_size: int) -> Qwen2_5_VLConfig:
    """The transformers configuration of a `nano` of this size."""
    half = config.hidden_size // config.num_heads // 2
    # Qwen2.5-VL gives time, rows and columns 2 : 3 : 3 of the rotary pairs.
    rows = (3 * half) // 8
    ids = {token: index for index, token in enumerate(SPECIAL_TOKENS)}
    depth = config.vision_depth
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocab_size,
            "hidden_size": config.hidden_size,
            "intermediate_size": config.ffn_size,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_heads,
            "num_key_value_heads": config.num_heads,
            "max_position_embeddings": MAX_POSITIONS,
            "initializer_range": INITIALIZER_RANGE,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [half - 2 * rows, rows, rows],
            },
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": ids[tokens.PAD],
            "use_cache": False,
        },
        vision_config={
            "depth": depth,
            "hidden_size": config.vision_hidden_size,
            "intermediate_size": config.vision_ffn_size,
            "num_heads": config.vision_num_heads,
            "out_hidden_size": config.hidden_size,
            "patch_size": config.patch_px,
            "spatial_merge_size": config.merge_size,
            "temporal_patch_size": 1,
            # Every block sees the whole picture: at 36 to 64 patches, windows would save nothing.
            "window_size": 1 << 16,
            "fullatt_block_indexes": list(range(depth)),
            "initializer_range": INITIALIZER_RANGE,
        },
        image_token_id=ids[tokens.IMAGE_PAD],
        video_token_id=ids[tokens.VIDEO_PAD],
        vision_start_token_id=ids[tokens.VISION_START],
        vision_end_token_id=ids[tokens.VISION_END],
        attn_implementation="sdpa",  # type: ignore[call-arg]
    )


class LinearPatchEmbed(nn.Module):
    """Qwen's patch embedding as one matrix product, started from cosine waves instead of noise.

    A convolution whose stride is its kernel is a matrix product, which a CPU does several times faster. The rows
    start as the lowest two-dimensional cosine waves of brightness and of the two colour differences: mean colour,
    edges and texture are there from the first step, where noise would need hundreds to find them.
    """

    def __init__(self, patch_px: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(3 * patch_px**2, width, bias=False)
        with torch.no_grad():
            self.proj.weight.copy_(cosine_filters(patch_px, width))

    def forward(self, patches_TC: torch.Tensor) -> torch.Tensor:
        return self.proj(patches_TC.to(self.proj.weight.dtype))


def cosine_filters(patch_px: int, width: int) -> torch.Tensor:
    """The `width` lowest cosine waves of a patch.

    Returns:
        (width, 3 * patch_px ** 2) float32, rows of equal length; the channel is the slowest axis of a row.
    """
    steps = (torch.arange(patch_px, dtype=torch.float64) + 0.5) * math.pi / patch_px
    waves = torch.stack([torch.cos(k * steps) for k in range(patch_px)])
    waves = waves / waves.norm(dim=1, keepdim=True)
    colours = torch.tensor([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], dtype=torch.float64)
    colours = colours / colours.norm(dim=1, keepdim=True)
    order = sorted((u + v, u, v, c) for u in range(patch_px) for v in range(patch_px) for c in range(3))
    rows = [torch.einsum("c,i,j->cij", colours[c], waves[u], waves[v]).flatten() for _, u, v, c in order[:width]]
    filters = torch.stack(rows)
    if len(rows) < width:
        filters = F.pad(filters, (0, 0, 0, width - len(rows)))
    # A row of length 1 answers a mean of 1 over the patch with patch_px * sqrt(3); this brings it back to about 1.
    return (filters / patch_px).float()


class EqualGridAttention(Qwen2_5_VLVisionAttention):
    """Qwen's vision attention, all pictures in one call where their grids are equal.

    The stock module loops over the pictures in Python, which with hundreds of tiny ones costs more than the
    arithmetic. Same parameters, same result.
    """

    @classmethod
    def of(cls, stock: Qwen2_5_VLVisionAttention) -> EqualGridAttention:
        """`stock` itself, seen as this class."""
        stock.__class__ = cls
        assert isinstance(stock, cls)
        return stock

    def forward(
        self,
        hidden_states: torch.Tensor,
        cu_seqlens: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        max_seqlen: int | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        lengths = cu_seqlens[1:] - cu_seqlens[:-1]
        if position_embeddings is None or bool((lengths != lengths[0]).any()):
            return super().forward(
                hidden_states, cu_seqlens, position_embeddings=position_embeddings, max_seqlen=max_seqlen, **kwargs
            )
        num, length = len(lengths), int(lengths[0])
        q, k, v = self.qkv(hidden_states).reshape(num * length, 3, self.num_heads, -1).unbind(1)
        q, k = apply_rotary_pos_emb_vision(q, k, *position_embeddings)
        q, k, v = (x.reshape(num, length, self.num_heads, -1).transpose(1, 2) for x in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, scale=self.scaling)
        return self.proj(out.transpose(1, 2).reshape(num * length, -1))


def _layout(grid_N3: torch.Tensor, merge_unit: int) -> dict[str, torch.Tensor]:
    """What Qwen's tower would derive from the grids picture by picture, made at once where all are equal."""
    if bool((grid_N3 != grid_N3[0]).any()):
        return {}
    num, device = grid_N3.shape[0], grid_N3.device
    _, height, width = (int(side) for side in grid_N3[0])
    merge = math.isqrt(merge_unit)
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    blocks = (height // merge, merge, width // merge, merge)
    positions = torch.stack([x.reshape(blocks).transpose(1, 2).flatten() for x in (rows, columns)], dim=-1)
    ends = torch.arange(num + 1, device=device, dtype=torch.int32) * (height * width)
    return {
        "position_ids": positions.repeat(num, 1),
        "cu_seqlens": ends,
        "window_index": torch.arange(num * height * width // merge_unit, device=device),
        "cu_window_seqlens": ends,
    }
