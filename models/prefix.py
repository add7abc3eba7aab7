"""Which lengths of a vector a model was trained for, and what a shorter one is called.

Source: Kusupati et al., Matryoshka Representation Learning (arXiv 2205.13147): a prefix is an embedding of its own
where the loss was taken over it, and at no other length.
"""

from __future__ import annotations

import hashlib

from catalog import ModelError
from models.config import ModelConfig


def allowed_dims(config: ModelConfig) -> tuple[int, ...]:
    """Lengths whose loss was trained, shortest first; the whole vector is the last."""
    return tuple(sorted({*config.matryoshka_dims, config.embedding_dims}))


def check_dims(config: ModelConfig, dims: int | None, where: str = "dims") -> int:
    """The length to cut vectors to.

    Args:
        config: Of the trained model.
        dims: What was asked for; None: the whole vector.
        where: The option's name, for the error.

    Raises:
        ModelError: The model was not trained for this length.
    """
    lengths = allowed_dims(config)
    if dims is None:
        return lengths[-1]
    if dims not in lengths:
        trainable = 1 <= dims < config.embedding_dims
        raise ModelError(
            "the model was not trained for vectors of this length",
            where=where,
            got=str(dims),
            allowed=", ".join(map(str, lengths)),
            fix="take an allowed length"
            + (f", or train again with {dims} among model.matryoshka_dims" if trainable else ""),
        )
    return dims


def prefix_digest(digest: str, config: ModelConfig, dims: int) -> str:
    """The digest of an encoder that cuts its vectors to `dims`; the model's own where nothing is cut.

    Prefixes and whole vectors are of different spaces, so that whatever compares digests tells them apart.
    """
    if dims == config.embedding_dims:
        return digest
    return hashlib.sha256(f"prefix:{dims}:{digest}".encode()).hexdigest()
