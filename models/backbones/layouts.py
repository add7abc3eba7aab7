"""How large a square may be: the wish, what the tower can take, and a product's budget of picture tokens."""

from __future__ import annotations

import math

from catalog import ModelError
from models.config import ModelConfig


def num_pictures(config: ModelConfig) -> int:
    """Pictures of a product, originals and crops together."""
    return config.max_images * config.product_views


def budget_side(config: ModelConfig) -> int | None:
    """Tokens a side of a square picture within the budget of a product; None without a budget.

    Raises:
        ModelError: Not even one token a picture fits.
    """
    budget, num = config.max_picture_tokens, num_pictures(config)
    if budget is None:
        return None
    if budget < num:
        raise ModelError(
            "token budget is too small for the pictures of a product",
            where="model.max_picture_tokens",
            got=str(budget),
            allowed=f"at least {num}: one token for each of {num} pictures",
            fix="raise it, or lower model.max_images",
        )
    return math.isqrt(budget // num)


def token_side(config: ModelConfig, step_px: int, max_side_px: int | None = None) -> int:
    """Tokens a side of a picture, where each token stands for `step_px` pixels a side.

    Args:
        config: Its wished side and its budget.
        step_px: Pixels a side of a token.
        max_side_px: Largest side the tower can take.

    Returns:
        As many as wish, tower and budget allow; the picture is this many times `step_px` wide.

    Raises:
        ModelError: A picture is smaller than one token, or the budget too small for one token a picture.
    """
    side_px = config.image_side_px if max_side_px is None else min(config.image_side_px, max_side_px)
    side = side_px // step_px
    if side < 1:
        raise ModelError(
            "picture is smaller than one token",
            where="model.image_side_px",
            got=f"{side_px} px",
            allowed=f"at least {step_px} px",
            fix="raise it",
        )
    budget = budget_side(config)
    return side if budget is None else min(side, budget)
