"""A vision tower that was never trained for retrieval: its pooled features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from catalog.errors import ModelError
from validation.rivals.folders import check_folder, find_folder, folder_digest, from_disk_alone, num_weight_bytes
from validation.rivals.late_fusion import LateFusion, Side, digest_of
from validation.rivals.placement import DType, num_parameters, place

WEIGHTS = "model.safetensors"


class FrozenTimm(LateFusion):
    """Photographs alone, from a folder of timm: config.json with `architecture` and `pretrained_cfg`, safetensors.

    Args:
        name: Local folder, or a hub id in the local cache.
        batch_size: Pictures a forward pass; vectors do not depend on it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `fp32` or `bf16`.
        fetch: Bring a hub id that is not in the cache.

    Raises:
        ModelError: Not at hand, no safetensors, or not a whole timm model.
    """

    modalities = frozenset({"image"})

    def __init__(
        self,
        name: str | Path,
        *,
        batch_size: int = 32,
        device: str = "auto",
        dtype: DType = "fp32",
        fetch: bool = False,
    ) -> None:
        super().__init__()
        import timm
        from safetensors.torch import load_file
        from timm.data.config import resolve_data_config
        from timm.data.transforms_factory import create_transform

        folder = find_folder(name, fetch=fetch)
        config = check_folder(folder)
        if "architecture" not in config or not (folder / WEIGHTS).is_file():
            raise ModelError(
                "not a timm model",
                where=str(folder),
                got="no architecture in config.json" if "architecture" not in config else f"no {WEIGHTS}",
                allowed="config.json with architecture and pretrained_cfg, and model.safetensors",
            )
        self.name, self.batch_size = f"vision:{Path(str(name)).name}", batch_size
        self._device, self._dtype = place(device, dtype)
        prepared = dict(config.get("pretrained_cfg") or {})
        with from_disk_alone("vision tower", folder):
            # Built with its classifier, so that every tensor of the file has its place; then the classifier goes.
            net: Any = timm.create_model(
                str(config["architecture"]), pretrained=False, num_classes=int(config.get("num_classes", 0))
            )
            net.load_state_dict(load_file(folder / WEIGHTS), strict=True)
            net.reset_classifier(0)
            self._transform: Any = create_transform(**resolve_data_config(pretrained_cfg=prepared), is_training=False)
        self._model = net.to(self._device, self._dtype).eval()
        self.num_parameters, self.num_bytes = num_parameters(net), num_weight_bytes(folder)
        self.dims = int(net.num_features)
        self.digest = digest_of("frozen_timm", folder_digest(folder), dtype)

    def read_texts(self, texts: Sequence[str], side: Side = "query") -> np.ndarray:
        """Refused: a vision tower reads no text.

        Raises:
            ModelError: Always.
        """
        raise ModelError(f"{self.name} reads no text", allowed="photographs")

    def see_images(self, images: Sequence[Image.Image], side: Side = "query") -> np.ndarray:
        """(N, dims): the features before the classifier, pooled over the picture."""
        import torch

        pixels = torch.stack([self._transform(image) for image in images]).to(self._device, self._dtype)
        with torch.inference_mode():
            return np.asarray(self._model(pixels).float().cpu().numpy())
