"""The expert load as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from catalog.fonts import draws_catalogue_text
from models.tokens import TokenType

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NUMBERED_EXPERTS = 16
"""Up to here a cell has room for its number."""


@draws_catalogue_text
def draw_load(table: torch.Tensor, layer_names: Sequence[str] = (), title: str = "Expert load by token type") -> Figure:
    """Draw a heat map a layer: token types down, routed experts across, each row one type's shares in percent.

    Args:
        table: (layers, token types, experts) choices, as `load_table` gives them.
        layer_names: One a layer; `MoE layer n` without.
        title: Above all panels.

    Returns:
        A matplotlib figure, not shown and not known to pyplot.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    num_layers, _, num_experts = table.shape
    kinds = [kind for kind in TokenType if kind != TokenType.PAD and int(table[:, kind].sum())]
    width = min(16.0, 3.0 + 0.55 * max(num_experts, 4))
    height = 0.9 + max(num_layers, 1) * (1.1 + 0.42 * max(len(kinds), 1))
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title)
    if not kinds:
        figure.text(0.5, 0.4, "no token was routed", ha="center")
        return figure
    panels = figure.subplots(num_layers, 1, squeeze=False)[:, 0]
    counts = table[:, kinds].double()
    # Not a number, and so grey, where a layer routed no token of a type that another layer did.
    shares = 100.0 * counts / counts.sum(dim=-1, keepdim=True)
    top = max(float(shares.nan_to_num().max()), 1.0)
    scale = ScalarMappable(Normalize(0.0, top), colormaps["viridis"].with_extremes(bad="lightgrey"))
    for number, panel in enumerate(panels):
        panel.imshow(shares[number].numpy(), cmap=scale.cmap, norm=scale.norm, aspect="auto")
        panel.set_title(layer_names[number] if layer_names else f"MoE layer {number}", loc="left", fontsize=10)
        rows = [f"{kind.name.lower()} ({int(counts[number, row].sum()):,})" for row, kind in enumerate(kinds)]
        panel.set_yticks(range(len(kinds)), rows, fontsize=8)
        step = 1 if num_experts <= 32 else -(-num_experts // 16)
        panel.set_xticks(range(0, num_experts, step), [str(e) for e in range(0, num_experts, step)], fontsize=8)
        panel.set_xlabel("expert", fontsize=8)
        if num_experts <= MAX_NUMBERED_EXPERTS:
            for row, expert in shares[number].isfinite().nonzero().tolist():
                share = float(shares[number, row, expert])
                colour = "black" if share > 0.6 * top else "white"
                panel.text(expert, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    bar = figure.colorbar(scale, ax=list(panels), shrink=0.9)
    bar.set_label(f"% of the type's choices; even is {100.0 / num_experts:.1f}", fontsize=8)
    return figure
