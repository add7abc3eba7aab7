"""CLIP, SigLIP and SigLIP 2 as transformers loads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from catalog.errors import ModelError
from validation.rivals.folders import check_folder, find_folder, folder_digest, from_disk_alone, num_weight_bytes
from validation.rivals.late_fusion import CutTexts, LateFusion, Side, digest_of
from validation.rivals.placement import DType, num_parameters, place

LABEL_PROMPTS = {
    "clip": "a photo of {}",
    "siglip": "This is a photo of {}.",
    "siglip2": "This is a photo of {}.",
}
"""Family -> what a label is asked in. Source: CLIP, Radford et al. 2021, section 3.1.4; the SigLIP model cards."""
FALLBACK_PROMPT = "a photo of {}"
_PADDED = ("siglip", "siglip2")
"""Families whose text tower was trained on texts padded to its whole length, and reads the padding."""


class TransformersClip(LateFusion):
    """A text tower and an image tower with one space, from a folder of transformers.

    Args:
        name: Local folder, or a hub id in the local cache.
        label_prompt: What labels are asked in, with `{}` for the label; the family's own where None.
        batch_size: Texts or pictures a forward pass; vectors do not depend on it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `fp32` or `bf16`.
        fetch: Bring a hub id that is not in the cache.
        trust_remote_code: Run Python code that comes with the model.

    Raises:
        ModelError: Not at hand, no safetensors, code nobody asked to run, or no dual tower.
    """

    modalities = frozenset({"text", "image"})

    def __init__(
        self,
        name: str | Path,
        *,
        label_prompt: str | None = None,
        batch_size: int = 32,
        device: str = "auto",
        dtype: DType = "fp32",
        fetch: bool = False,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__()
        from transformers import AutoModel, AutoProcessor

        folder = find_folder(name, fetch=fetch, code=trust_remote_code)
        config = check_folder(folder, trust_remote_code=trust_remote_code)
        family = str(config.get("model_type", ""))
        self.name, self.batch_size = f"{family or 'clip'}:{Path(str(name)).name}", batch_size
        self._device, torch_dtype = place(device, dtype)
        loading: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
        with from_disk_alone("dual tower", folder):
            self._model: Any = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch_dtype, **loading)
            self._processor: Any = AutoProcessor.from_pretrained(folder, **loading)
        towers = [one for one in ("get_text_features", "get_image_features") if hasattr(self._model, one)]
        if len(towers) < 2 or not hasattr(self._processor, "tokenizer"):
            raise ModelError(
                "model has no text tower beside an image tower",
                where=str(folder),
                got=family or type(self._model).__name__,
                allowed=", ".join(LABEL_PROMPTS),
                fix="use st: for models of sentence-transformers, text: for language models, vision: for vision towers",
            )
        self._model = self._model.to(self._device).eval()
        positions = int(self._model.config.get_text_config().max_position_embeddings)
        self._max_tokens = int(min(positions, self._processor.tokenizer.model_max_length))
        self._padding: bool | str = "max_length" if family in _PADDED else True
        self._cut = CutTexts(self.name, self._max_tokens)
        self.label_prompt = LABEL_PROMPTS.get(family, FALLBACK_PROMPT) if label_prompt is None else label_prompt
        self.num_parameters, self.num_bytes = num_parameters(self._model), num_weight_bytes(folder)
        self.dims = self.read_texts(["a"]).shape[1]
        self.digest = digest_of("transformers", folder_digest(folder, code=trust_remote_code), self.label_prompt, dtype)

    def read_texts(self, texts: Sequence[str], side: Side = "query") -> np.ndarray:
        """(N, dims) from the text tower; a text over its length loses its end."""
        import torch

        tokenizer = self._processor.tokenizer
        self._cut.look(len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"])
        batch = tokenizer(
            list(texts), padding=self._padding, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        with torch.inference_mode():
            return _pooled(self._model.get_text_features(**batch.to(self._device)))

    def see_images(self, images: Sequence[Image.Image], side: Side = "query") -> np.ndarray:
        """(N, dims) from the image tower."""
        import torch

        batch = self._processor.image_processor(images=list(images), return_tensors="pt").to(self._device)
        batch["pixel_values"] = batch["pixel_values"].to(self._model.dtype)
        with torch.inference_mode():
            return _pooled(self._model.get_image_features(**batch))


def _pooled(found: Any) -> np.ndarray:
    """The pooled vectors; a class of its own gives them bare, transformers 5 inside an output."""
    vectors = found if hasattr(found, "cpu") else found.pooler_output
    return np.asarray(vectors.float().cpu().numpy())
