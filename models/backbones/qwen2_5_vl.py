"""`qwen2_5_vl`: Qwen2.5-VL, the backbone of the paper."""

from __future__ import annotations

import torch
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionPatchEmbed,
    Qwen2_5_VLModel,
    Qwen2_5_VLVisionAttention,
)
from transformers.vision_utils import get_vision_window_index

from models.backbones.qwen import FlatPatchEmbed, GroupedAttention, QwenBackbone, QwenKind


class Qwen25Backbone(QwenBackbone):
    """Qwen2.5-VL; its tower attends within windows of 112 px in all blocks but a few."""

    def picture_indices(self, grid_3: torch.Tensor, num: int) -> dict[str, torch.Tensor]:
        vision = self.qwen.config.vision_config
        index, ends = get_vision_window_index(
            grid_3[None], vision.spatial_merge_size, vision.window_size, vision.patch_size
        )
        pictures = torch.arange(num)[:, None]
        ends = torch.cat([ends[:1], (pictures * ends[-1] + ends[1:]).flatten()])
        return super().picture_indices(grid_3, num) | {
            "window_index": (pictures * len(index) + index).flatten(),
            "cu_window_seqlens": ends.to(torch.int32),
        }


class _PatchEmbed(FlatPatchEmbed, Qwen2_5_VisionPatchEmbed):
    pass


class _Attention(GroupedAttention, Qwen2_5_VLVisionAttention):
    pass


KIND = QwenKind(
    model_type="qwen2_5_vl",
    config_class=Qwen2_5_VLConfig,
    model_class=Qwen2_5_VLModel,
    backbone=Qwen25Backbone,
    attention=_Attention,
    patch_embed=_PatchEmbed,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)
fresh, load, layout, template = KIND.fresh, KIND.load, KIND.layout, KIND.template
