"""An encoder that is fed fewer core crops than its model was trained with, and what such a one is called.

A model that was trained with crops may be served without them, on one side or both: whoever serves it then needs no
detector for that side. It was drawn towards this by `train.distill_crops` or `train.dropout.crops`, or loses by it.
"""

from __future__ import annotations

import hashlib

from catalog import ModelError
from models.config import Crops, ModelConfig

_SIDES: dict[Crops, frozenset[str]] = {
    "both": frozenset({"products", "queries"}),
    "products": frozenset({"products"}),
    "queries": frozenset({"queries"}),
    "none": frozenset(),
}


def allowed_crops(config: ModelConfig) -> tuple[Crops, ...]:
    """What a model may be served with: as it was trained, or less."""
    return tuple(crops for crops, sides in _SIDES.items() if sides <= _SIDES[config.crops])


def with_crops(config: ModelConfig, crops: Crops | None, where: str = "crops") -> ModelConfig:
    """The configuration by which sequences are written.

    Args:
        config: Of the trained model.
        crops: What was asked for; None: as trained.
        where: The option's name, for the error.

    Raises:
        ModelError: The model never saw the crops that it would be given.
    """
    if crops is None or crops == config.crops:
        return config
    if crops not in allowed_crops(config):
        raise ModelError(
            "the model was not trained with the crops it would be served with",
            where=where,
            got=crops,
            allowed=", ".join(allowed_crops(config)),
            fix=f"take an allowed value, or train again with model.crops: {crops}",
        )
    return config.model_copy(update={"crops": crops})


def crops_digest(digest: str, config: ModelConfig, crops: Crops | None) -> str:
    """The digest of an encoder that is fed `crops`; the model's own where that is as trained.

    Its vectors are others than those with crops, so that whatever compares digests tells them apart.
    """
    if crops is None or crops == config.crops:
        return digest
    return hashlib.sha256(f"crops:{crops}:{digest}".encode()).hexdigest()
