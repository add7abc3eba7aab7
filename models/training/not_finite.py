"""A loss or a gradient that is not finite stops every process, before the update, and names the products at fault."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NoReturn

import torch

from catalog import ModelError
from models.training.ranks import of_all

MAX_NAMED_PRODUCTS = 8


def refuse_loss(
    step: int,
    report: Mapping[str, float],
    product_ids: Sequence[str],
    products_BE: torch.Tensor,
    kept_step: int | None = None,
) -> None:
    """Stop for a loss that is broken somewhere; to be called by all processes.

    Args:
        step: Counted from 0.
        report: Parts of this process's loss and its measures.
        product_ids: This process's products.
        products_BE: Their vectors.
        kept_step: Of the last checkpoint; None: there is none yet.

    Raises:
        ModelError: Always. It names the products whose vectors are broken, else those of the processes whose loss is.
    """
    bad = [name for name, value in report.items() if not math.isfinite(value)]
    finite = torch.isfinite(products_BE).all(dim=1).tolist()
    broken = [key for key, good in zip(product_ids, finite, strict=True) if not good]
    told = of_all((bad, broken, list(product_ids)))
    named = [key for _, keys, _ in told for key in keys]
    named = named or [key for names, _, keys in told for key in keys if names]
    got = ", ".join(dict.fromkeys(name for names, _, _ in told for name in names)) or "loss"
    _stop("loss is", step, named, got, kept_step)


def refuse_gradients(
    step: int, norm: float, product_ids: Sequence[str], is_mine: bool, kept_step: int | None = None
) -> None:
    """Stop for gradients that are broken though the loss is finite; to be called by all processes.

    Args:
        step: Counted from 0.
        norm: Of the mean gradient.
        product_ids: This process's products, of the very step.
        is_mine: Whether this process's gradients were broken before the mean.
        kept_step: Of the last checkpoint; None: there is none yet.

    Raises:
        ModelError: Always. It names the products of the processes whose gradients are broken, or of all where no
            process's own are, as where their sum overflows.
    """
    told = of_all((is_mine, list(product_ids)))
    named = [key for mine, keys in told for key in keys if mine] or [key for _, keys in told for key in keys]
    _stop("gradients of a finite loss are", step, named, f"gradient norm {norm:g}", kept_step)


def what_was_kept(kept_step: int | None) -> str:
    """For the message of a training that breaks.

    Args:
        kept_step: Of the last checkpoint; None: there is none yet.
    """
    return "no checkpoint was written yet" if kept_step is None else f"the checkpoint of step {kept_step} was kept"


def _stop(what: str, step: int, named: Sequence[str], got: str, kept_step: int | None) -> NoReturn:
    more = len(named) - MAX_NAMED_PRODUCTS
    listed = ", ".join(named[:MAX_NAMED_PRODUCTS]) + (f" and {more} more" if more > 0 else "")
    raise ModelError(
        f"{what} not finite at step {step}; {what_was_kept(kept_step)}",
        where=f"products {listed}",
        got=got,
        fix="lower train.lr_vision and train.lr_text or look at these products, then run again with another "
        "working folder",
    )
