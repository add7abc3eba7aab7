"""Any model of sentence-transformers: of text alone, with two towers, or a multimodal one such as GME or Qwen3-VL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from catalog.embedder import check_vectors
from catalog.images import Photo
from validation.rivals.folders import check_folder, find_folder, folder_digest, from_disk_alone, num_weight_bytes
from validation.rivals.late_fusion import CutTexts, LateFusion, Side, digest_of, photo_key, unit
from validation.rivals.placement import DType, num_parameters, place

CONFIGS = ("config_sentence_transformers.json", "modules.json", "config.json")
MAX_PHOTOS = 4


class SentenceTransformersEncoder(LateFusion):
    """As the library loads it, with the model's own prompts: `query` for queries and labels, `document` for products.

    A model that takes words and pictures as one input (sentence-transformers: it supports `("image", "text")`) gets
    them so, the first `max_photos` photos of a product in their order; one with a tower each is fused by the common
    rule; one of text alone reads text.

    Args:
        name: Local folder, or a hub id in the local cache.
        label_prompt: What labels are asked in, with `{}` for the label; the label alone where None.
        max_photos: Photos of a product that a joint input holds.
        batch_size: Inputs a forward pass; vectors do not depend on it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `fp32` or `bf16`.
        fetch: Bring a hub id that is not in the cache.
        trust_remote_code: Run Python code that comes with the model.

    Raises:
        ModelError: Not at hand, no safetensors, code nobody asked to run, or the library cannot load it.
    """

    two_sided = True

    def __init__(
        self,
        name: str | Path,
        *,
        label_prompt: str | None = None,
        max_photos: int = MAX_PHOTOS,
        batch_size: int = 32,
        device: str = "auto",
        dtype: DType = "fp32",
        fetch: bool = False,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__()
        from sentence_transformers import SentenceTransformer

        folder = find_folder(name, fetch=fetch, code=trust_remote_code)
        check_folder(folder, configs=CONFIGS, trust_remote_code=trust_remote_code)
        self.name, self.batch_size, self._max_photos = f"st:{Path(str(name)).name}", batch_size, max_photos
        where, torch_dtype = place(device, dtype)
        with from_disk_alone("sentence-transformers model", folder):
            self._model: Any = SentenceTransformer(
                str(folder),
                device=str(where),
                local_files_only=True,
                trust_remote_code=trust_remote_code,
                model_kwargs={"use_safetensors": True, "dtype": torch_dtype},
            )
        found = self._model.modalities
        self.modalities = frozenset(one for one in ("text", "image") if one in found)
        self._joint = bool(self._model.supports(("image", "text")))
        # The library takes a text that looks like a picture's address for a picture, and would fetch it.
        self._named = set(found) != {"text"}
        longest = (self._model.max_seq_length or math.inf) if "text" in self.modalities else math.inf
        # Models of words alone, without a transformer, read texts of any length and have no tokenizer to call.
        can_count = longest < math.inf and callable(getattr(self._model[0], "tokenizer", None))
        self._cut = CutTexts(self.name, int(longest)) if can_count else None
        self.label_prompt = "{}" if label_prompt is None else label_prompt
        self.num_parameters, self.num_bytes = num_parameters(self._model), num_weight_bytes(folder)
        self.dims = int(self._model.get_embedding_dimension() or 0) or self.read_texts(["a"]).shape[1]
        self.digest = digest_of(
            "sentence-transformers",
            folder_digest(folder, code=trust_remote_code),
            self.label_prompt,
            max_photos,
            self._joint,
            dtype,
        )

    def read_texts(self, texts: Sequence[str], side: Side = "query") -> np.ndarray:
        """(N, dims) of texts under the side's prompt; a text over the model's length loses its end."""
        self._look_at_lengths(texts)
        return self._encode([{"text": text} for text in texts] if self._named else list(texts), side)

    def see_images(self, images: Sequence[Image.Image], side: Side = "query") -> np.ndarray:
        """(N, dims) of pictures."""
        return self._encode([{"image": image} for image in images], side)

    def _fused(
        self, ids: Sequence[str], texts: Sequence[str], photos: Sequence[Sequence[Photo]], side: Side
    ) -> np.ndarray:
        if not self._joint:
            return super()._fused(ids, texts, photos, side)
        self._look_at_lengths([text for text in texts if text])
        kept = [tuple(own[: self._max_photos]) for own in photos]
        keys = [(text, *(photo_key(photo) for photo in own)) for text, own in zip(texts, kept, strict=True)]
        # Inputs of one batch must be of one kind: the library pads neither texts with pictures nor one picture to two.
        kinds: dict[tuple[bool, int], dict[tuple[str, ...], int]] = {}
        for row, (key, own) in enumerate(zip(keys, kept, strict=True)):
            kinds.setdefault((bool(key[0]), len(own)), {}).setdefault(key, row)
        found: dict[tuple[str, ...], np.ndarray] = {}
        for (has_text, num_photos), first in kinds.items():
            if not has_text and not num_photos:
                continue
            rows = list(first.values())
            for start in range(0, len(rows), self.batch_size):
                batch = rows[start : start + self.batch_size]
                inputs = [_joint_input(texts[row], kept[row]) for row in batch]
                for row, vector in zip(batch, self._encode(inputs, side), strict=True):
                    direction = unit(np.asarray(vector, dtype=np.float64))
                    if direction is None:
                        self._tell_zero()
                    else:
                        found[keys[row]] = direction
        vectors = np.asarray([found.get(key, self.nowhere(side)) for key in keys], dtype=np.float32)
        return check_vectors(vectors.reshape(len(keys), self.dims), ids, self.dims, self.name)

    def _look_at_lengths(self, texts: Sequence[str]) -> None:
        if self._cut is not None and texts:
            found = self._model.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
            self._cut.look(len(ids) for ids in found)

    def _encode(self, inputs: list[Any], side: Side) -> np.ndarray:
        encode = self._model.encode_query if side == "query" else self._model.encode_document
        found = encode(inputs, batch_size=self.batch_size, show_progress_bar=False, convert_to_tensor=True)
        return np.asarray(found.float().cpu().numpy())


def _joint_input(text: str, photos: Sequence[Photo]) -> dict[str, Any]:
    images = [photo.load() for photo in photos]
    given: dict[str, Any] = {"text": text} if text else {}
    if images:
        given["image"] = images[0] if len(images) == 1 else images
    return given
