"""Learning rate and parameter groups."""

from __future__ import annotations

import math

from torch import nn

from models.config import TrainConfig


def lr_factor(done_frac: float, warmup_frac: float) -> float:
    """Share of the peak learning rate: a straight rise, then a cosine down to zero.

    Args:
        done_frac: Share of the training that is done, 0 to 1.
        warmup_frac: Share that the rise takes.
    """
    if done_frac < warmup_frac:
        return done_frac / warmup_frac
    rest = (done_frac - warmup_frac) / max(1.0 - warmup_frac, 1e-9)
    return 0.5 * (1.0 + math.cos(math.pi * min(rest, 1.0)))


def parameter_groups(objective: nn.Module, vision: list[nn.Parameter], config: TrainConfig) -> list[dict[str, object]]:
    """Groups for AdamW: vision tower and rest, matrices with weight decay and the others without.

    Returns:
        Groups with `params`, `lr`, `peak_lr`, `weight_decay` and `name`; none is empty.
    """
    vision_ids = {id(parameter) for parameter in vision}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in objective.parameters():
        if parameter.requires_grad:
            # Norms, biases, gates and temperatures are scales: pulling them to zero is no regularisation.
            groups.setdefault((id(parameter) in vision_ids, parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.lr_vision if is_vision else config.lr_text,
            "peak_lr": config.lr_vision if is_vision else config.lr_text,
            "weight_decay": config.weight_decay if decays else 0.0,
            "name": f"{'vision' if is_vision else 'text'}{'' if decays else '_no_decay'}",
        }
        for (is_vision, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
