"""Any model of open_clip from a folder: OpenCLIP, SigLIP as published there, Marqo-Ecommerce."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from catalog.errors import ModelError
from validation.rivals.folders import check_folder, find_folder, folder_digest, from_disk_alone
from validation.rivals.late_fusion import CutTexts, LateFusion, Side, digest_of
from validation.rivals.placement import DType, num_parameters, place

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
"""File names that open_clip writes, the first that is there counts."""
LABEL_PROMPT = "a photo of {}"


class OpenClip(LateFusion):
    """A dual tower of open_clip.

    open_clip takes a pickle where one lies beside the safetensors under a name that it prefers; here the weights are
    named to it.

    Args:
        name: Folder with open_clip_config.json and safetensors, or a hub id in the local cache.
        label_prompt: What labels are asked in, with `{}` for the label.
        batch_size: Texts or pictures a forward pass; vectors do not depend on it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `fp32` or `bf16`.
        fetch: Bring a hub id that is not in the cache.
        trust_remote_code: Run Python code that comes with the model's tokenizer.

    Raises:
        ModelError: Not at hand, no safetensors, code nobody asked to run, or weights of another architecture.
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
        import open_clip
        from open_clip.factory import load_checkpoint
        from open_clip.transform import PreprocessCfg, image_transform_v2

        folder = find_folder(str(name).removeprefix("hf-hub:"), fetch=fetch)
        # config.json is for transformers: Marqo-Ecommerce names code of its own there, which open_clip does not run.
        config = check_folder(folder, configs=(CONFIG,), trust_remote_code=trust_remote_code, unread=("config.json",))
        weights = _weights(folder)
        self.name, self.batch_size = f"open_clip:{Path(str(name)).name}", batch_size
        self._device, self._dtype = place(device, dtype)
        with from_disk_alone("open_clip model", folder), _without_its_warnings():
            self._model: Any = open_clip.create_model(
                f"local-dir:{folder}", load_weights=False, pretrained_text=False, pretrained_image=False
            )
            load_checkpoint(self._model, str(weights), strict=True)
            self._tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}", **_trust(config, trust_remote_code))
            preparation = PreprocessCfg(**self._model.visual.preprocess_cfg)
            self._transform: Any = image_transform_v2(preparation, is_train=False)
        self._model = self._model.to(device=self._device, dtype=self._dtype).eval()
        self._cut = CutTexts(self.name, int(self._tokenizer.context_length))
        self.label_prompt = LABEL_PROMPT if label_prompt is None else label_prompt
        self.num_parameters, self.num_bytes = num_parameters(self._model), weights.stat().st_size
        self.dims = self.read_texts(["a"]).shape[1]
        self.digest = digest_of("open_clip", folder_digest(folder), self.label_prompt, dtype)

    def read_texts(self, texts: Sequence[str], side: Side = "query") -> np.ndarray:
        """(N, dims) from the text tower; a text over its context length loses its end."""
        import torch

        self._cut.look(self._num_tokens(text) for text in texts)
        with torch.inference_mode():
            found = self._model.encode_text(self._tokenizer(list(texts)).to(self._device))
        return np.asarray(found.float().cpu().numpy())

    def see_images(self, images: Sequence[Image.Image], side: Side = "query") -> np.ndarray:
        """(N, dims) from the image tower."""
        import torch

        pixels = torch.stack([self._transform(image) for image in images]).to(self._device, self._dtype)
        with torch.inference_mode():
            return np.asarray(self._model.encode_image(pixels).float().cpu().numpy())

    def _num_tokens(self, text: str) -> int:
        inner = getattr(self._tokenizer, "tokenizer", None)
        if inner is not None:
            return len(inner(text, truncation=False, verbose=False)["input_ids"])
        return len(self._tokenizer.encode(text)) + 2  # its start and end


@contextmanager
def _without_its_warnings() -> Iterator[None]:
    """Told that weights come later, open_clip warns that there are none, and sets up the root logger to say so."""
    silent = logging.NullHandler()
    logging.root.addHandler(silent)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        logging.root.removeHandler(silent)


def _trust(config: dict[str, Any], trust_remote_code: bool) -> dict[str, bool]:
    """Said to a tokenizer of transformers, which would ask at the terminal otherwise; open_clip's own has no code."""
    text = (config.get("model_cfg") or {}).get("text_cfg") or {}
    return {"trust_remote_code": trust_remote_code} if text.get("hf_tokenizer_name") else {}


def _weights(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(
        "open_clip folder has no weights under a name that open_clip writes",
        where=str(folder),
        got=", ".join(sorted(path.name for path in folder.glob("*.safetensors"))),
        allowed=", ".join(WEIGHTS),
    )
