"""The same model with weights that learnt nothing: the control of every map."""

from __future__ import annotations

import torch

from models.encoder import MoonEncoder
from models.moon import MoonModel


def randomised(encoder: MoonEncoder, seed: int = 0) -> MoonEncoder:
    """An encoder of the same architecture and preprocessing, all weights drawn anew.

    A map that stays the same when the weights are drawn anew shows the picture, not the model. Matrices that a training
    starts at zero are drawn too: left there, they would switch off whole paths that the trained model has.

    Args:
        encoder: The trained one; left as it is.
        seed: Decides the weights.

    Source: the model parameter randomisation test of Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018
        (arXiv 1810.03292), all layers at once.
    """
    vocab_size = encoder.processor.tokenizer.get_vocab_size()
    model = MoonModel.seeded(encoder.model.config, vocab_size, seed, spec=encoder.model.backbone.spec())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and not parameter.any():
                parameter.normal_(std=parameter.shape[-1] ** -0.5, generator=generator)
    digest = f"{encoder.digest}-randomised-{seed}"
    return MoonEncoder(model, encoder.processor, digest, device=encoder.device, name=f"{encoder.name} randomised")
