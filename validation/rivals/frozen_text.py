"""A language model that was never trained for retrieval: the mean of its last hidden states."""

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


class FrozenText(LateFusion):
    """Words alone, from any causal language model or text encoder in a folder of transformers.

    Args:
        name: Local folder, or a hub id in the local cache.
        max_tokens: Longer texts lose their end; the model's own limit where that is lower.
        label_prompt: What labels are asked in, with `{}` for the label; the label alone where None.
        batch_size: Texts a forward pass; vectors do not depend on it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `fp32` or `bf16`.
        fetch: Bring a hub id that is not in the cache.
        trust_remote_code: Run Python code that comes with the model.

    Raises:
        ModelError: Not at hand, no safetensors, code nobody asked to run, or not a model of text.

    Source: the mean over tokens of the last layer's states, the plain baseline of BehnamGhader et al., LLM2Vec, 2024.
        It keeps the direction that all such states share, so its cosines are all high; only their order counts.
    """

    modalities = frozenset({"text"})

    def __init__(
        self,
        name: str | Path,
        *,
        max_tokens: int = 128,
        label_prompt: str | None = None,
        batch_size: int = 32,
        device: str = "auto",
        dtype: DType = "fp32",
        fetch: bool = False,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        folder = find_folder(name, fetch=fetch, code=trust_remote_code)
        check_folder(folder, trust_remote_code=trust_remote_code)
        self.name, self.batch_size = f"text:{Path(str(name)).name}", batch_size
        self._device, torch_dtype = place(device, dtype)
        loading: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
        with from_disk_alone("language model", folder):
            self._model: Any = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch_dtype, **loading)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **loading)
        self._model = self._model.to(self._device).eval()
        # Padding stands behind the text and is masked, so that any token may be its mark.
        self._tokenizer.padding_side = "right"
        self._tokenizer.pad_token = self._tokenizer.pad_token or self._tokenizer.eos_token
        if self._tokenizer.pad_token is None:
            raise ModelError("tokenizer has neither a padding nor an end token", where=str(folder))
        positions = getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or max_tokens
        self._max_tokens = int(min(max_tokens, positions, self._tokenizer.model_max_length))
        self._cut = CutTexts(self.name, self._max_tokens)
        self.label_prompt = "{}" if label_prompt is None else label_prompt
        self.num_parameters, self.num_bytes = num_parameters(self._model), num_weight_bytes(folder)
        with from_disk_alone("language model", folder):
            self.dims = self.read_texts(["a"]).shape[1]
        self.digest = digest_of(
            "frozen_text", folder_digest(folder, code=trust_remote_code), self.label_prompt, self._max_tokens, dtype
        )

    def read_texts(self, texts: Sequence[str], side: Side = "query") -> np.ndarray:
        """(N, dims): mean of the last hidden states over the text's own tokens."""
        import torch

        self._cut.look(len(ids) for ids in self._tokenizer(list(texts), truncation=False, verbose=False)["input_ids"])
        batch = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        mask_NT1 = batch["attention_mask"][:, :, None]
        with torch.inference_mode():
            states_NTD = self._model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0].float()
        return np.asarray(((states_NTD * mask_NT1).sum(1) / mask_NT1.sum(1).clamp(min=1)).cpu().numpy())

    def see_images(self, images: Sequence[Image.Image], side: Side = "query") -> np.ndarray:
        """Refused: it has no eyes.

        Raises:
            ModelError: Always.
        """
        raise ModelError(f"{self.name} sees no pictures", allowed="texts")
