"""What every encoder has to beat, behind the same protocol."""

from validation.rivals.colour_histogram import ColourHistogram
from validation.rivals.knows_nothing import Constant, RandomVectors
from validation.rivals.majority import judge_majority, label_baselines
from validation.rivals.title_words import TitleWordOverlap

__all__ = [
    "ColourHistogram",
    "Constant",
    "RandomVectors",
    "TitleWordOverlap",
    "judge_majority",
    "label_baselines",
]
