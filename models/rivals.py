"""Rivals that share the trained model's parts: what training, and what fusion, are worth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from catalog import ModelError, ProductItem, QueryItem, check_vectors
from models.backbones import load_backbone
from models.encoder import MoonEncoder
from models.moon import MoonModel

UNTRAINED_SEED = 20_250_811


def untrained_encoder(folder: str | Path, *, seed: int = UNTRAINED_SEED, device: str = "auto") -> MoonEncoder:
    """The same architecture, processor and tokenizer with fresh weights.

    Args:
        folder: Of the trained model.
        seed: Of the fresh weights; not one that a training used to start from.
        device: `auto`, `cpu` or `cuda`.
    """
    trained = MoonEncoder.load(folder, device=device)
    loaded = load_backbone(trained.model.config, seed)
    # A pretrained backbone is where this one's training began: what training is worth is measured from there.
    backbone = loaded[0] if loaded is not None else None
    vocab_size = trained.processor.tokenizer.get_vocab_size()
    model = MoonModel.seeded(trained.model.config, vocab_size, seed, backbone, trained.model.backbone.spec())
    digest = hashlib.sha256(f"untrained:{seed}:{trained.digest}".encode()).hexdigest()
    return MoonEncoder(model, trained.processor, digest, device=trained.device, name="untrained")


class FrozenVision:
    """Mean of the untrained backbone's vision tower over an item's pictures; no training, images only.

    Args:
        encoder: An untrained encoder; its tower and processor are used.
    """

    name = "frozen_vision"
    modalities = frozenset(("image",))

    def __init__(self, encoder: MoonEncoder) -> None:
        self.encoder = encoder
        self.dims = encoder.model.backbone.vision_size
        self.digest = hashlib.sha256(f"frozen-vision:{encoder.digest}".encode()).hexdigest()

    @classmethod
    def of(cls, folder: str | Path, *, device: str = "auto") -> FrozenVision:
        """The tower of the model in `folder`, as it was before training."""
        return cls(untrained_encoder(folder, device=device))

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        """(N, dims) float32, L2-normalised; products without a picture share one arbitrary direction."""
        processor = self.encoder.processor
        return self._pool([(item.product.product_id, processor.product(item, hide).squares) for item in items])

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        """(N, dims) float32, L2-normalised."""
        return self._pool([(item.query_id, self.encoder.processor.query(item).squares) for item in items])

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        """Refused: a vision tower reads no text.

        Raises:
            ModelError: Always.
        """
        raise ModelError(f"{self.name} reads no text", allowed="tasks whose modalities are image alone")

    @torch.inference_mode()
    def _pool(self, named: list[tuple[str, list[np.ndarray]]]) -> np.ndarray:
        vectors = np.zeros((len(named), self.dims), np.float32)
        nowhere = F.normalize(torch.ones(self.dims), dim=0).numpy()
        for row, (_, squares) in enumerate(named):
            if not squares:
                vectors[row] = nowhere
                continue
            # The colours that may follow the tower's signal are another rival's.
            pooled = self.encoder.picture_features(squares).pooled_NP.mean(dim=0)[: self.dims]
            vectors[row] = F.normalize(pooled.float(), dim=0).cpu().numpy()
        return check_vectors(vectors, [name for name, _ in named], self.dims, self.name)
