"""What the head adds up, before it divides by the length.

Shape suffixes: B items, E the embedding's width.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from models.heads import OF_WORDS, FusedHead, LateHead, Signals


def joined(head: FusedHead | LateHead, signals: Signals) -> torch.Tensor:
    """The vector z of which the head returns z / |z|.

    Returns:
        (B, E) float32, in the order of the embedding's dimensions; not normalised.
    """
    if isinstance(head, LateHead):
        return _late(head, signals)
    z_BE = head.project(head.norm(signals.hidden_BD))
    for name, raw in head.residuals.items():
        start, stop, _ = head.spans[name].indices(z_BE.shape[1])
        z_BE = z_BE + F.pad(raw(*signals.raw(name)), (start, z_BE.shape[1] - stop))
    return z_BE.float()[:, head.order]


def _late(head: LateHead, signals: Signals) -> torch.Tensor:
    text_BE = head.project(head.norm(signals.hidden_BD))
    vision_BE = head.vision_change(signals.vision_BP)
    for name, raw in head.residuals.items():
        added_BE = raw(*signals.raw(name))
        if name in OF_WORDS:
            text_BE = text_BE + added_BE
        else:
            vision_BE = vision_BE + added_BE
    vision_BE, text_BE = (F.normalize(one.float(), dim=-1) for one in (vision_BE, text_BE))
    has_picture_B1 = signals.has_picture_B.unsqueeze(-1)
    has_text_B1 = signals.has_words_B.unsqueeze(-1) | ~has_picture_B1
    weights = head.log_weights.exp()
    return weights[0] * vision_BE * has_picture_B1 + weights[1] * text_BE * has_text_B1
