"""Looking inside the model: heat maps over photographs, what each part of an item brings, and the experts that fired.

`explain` is the function; `models.inside.figures` draws what it returns and needs matplotlib.
"""

from models.inside.contributions import Part, by_kind, contributions
from models.inside.experts import LayerExperts, experts_fired
from models.inside.explain import ExplainedItem, Explanation, explain
from models.inside.frames import Frame
from models.inside.heat import HeatConfig, HeatMap, heat_maps
from models.inside.randomised import randomised
from models.inside.shown import Shown, show_product, show_query, unit_vector
from models.inside.without import Left, embed_without, guided_experts_off, left_out

__all__ = [
    "ExplainedItem",
    "Explanation",
    "Frame",
    "HeatConfig",
    "HeatMap",
    "LayerExperts",
    "Left",
    "Part",
    "Shown",
    "by_kind",
    "contributions",
    "embed_without",
    "experts_fired",
    "explain",
    "guided_experts_off",
    "heat_maps",
    "left_out",
    "randomised",
    "show_product",
    "show_query",
    "unit_vector",
]
