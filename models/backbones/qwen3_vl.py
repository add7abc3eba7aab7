"""`qwen3_vl`: Qwen3-VL, whose tower also speaks to the first decoder layers (DeepStack)."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import (
    Qwen3VLModel,
    Qwen3VLVisionAttention,
    Qwen3VLVisionPatchEmbed,
)
from transformers.vision_utils import get_vision_interpolation_indices_and_weights

from catalog import ModelError
from models.backbones.base import PictureLayout
from models.backbones.qwen import FlatPatchEmbed, GroupedAttention, QwenBackbone, QwenKind


class Qwen3Backbone(QwenBackbone):
    """Qwen3-VL; features of its tower's middle blocks are added to the picture tokens after the first decoder layers.

    Raises:
        ModelError: Fewer decoder layers than such features.
    """

    def __init__(self, model: Any, layout: PictureLayout) -> None:
        super().__init__(model, layout)
        num_deep, num_layers = len(model.config.vision_config.deepstack_visual_indexes), len(self.decoder_layers())
        if num_layers < num_deep:
            raise ModelError(
                "too few decoder layers are kept for the features that the tower hands to them (DeepStack)",
                where="model.pretrained.keep_layers",
                got=str(num_layers),
                allowed=f"at least {num_deep}",
                fix="raise it",
            )

    def picture_indices(self, grid_3: torch.Tensor, num: int) -> dict[str, torch.Tensor]:
        visual = self.qwen.visual
        taps_T4, weights_T4 = get_vision_interpolation_indices_and_weights(
            grid_3[None],
            num_grid_per_side=visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=self._merge,
        )
        return super().picture_indices(grid_3, num) | {
            "interp_indices": taps_T4.repeat(num, 1),
            "interp_weights": weights_T4.repeat(num, 1),
        }


class _PatchEmbed(FlatPatchEmbed, Qwen3VLVisionPatchEmbed):
    pass


class _Attention(GroupedAttention, Qwen3VLVisionAttention):
    pass


KIND = QwenKind(
    model_type="qwen3_vl",
    config_class=Qwen3VLConfig,
    model_class=Qwen3VLModel,
    backbone=Qwen3Backbone,
    attention=_Attention,
    patch_embed=_PatchEmbed,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
fresh, load, layout, template = KIND.fresh, KIND.load, KIND.layout, KIND.template
