"""Which published weights a model starts from, by content: a name stays when what lies under it changes."""

from __future__ import annotations

import hashlib

from models.config import ModelConfig


def weights_digest(config: ModelConfig) -> str:
    """SHA-256 over the folders of weights that `config` names; empty where it names none.

    Raises:
        ModelError: Weights are not at hand, or incomplete.
    """
    from models.weights import folder_digest, weights_folder

    digests = [folder_digest(weights_folder(name)) for name in config.weights_names]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest() if digests else ""
