"""What every encoder has to beat, behind the same protocol.

Importing this package loads no weights and no heavy library; each class does when it is made.
"""

from validation.rivals.bm25 import BM25
from validation.rivals.colour_hash import ColourAndHash
from validation.rivals.colour_histogram import ColourHistogram
from validation.rivals.frozen_text import FrozenText
from validation.rivals.frozen_timm import FrozenTimm
from validation.rivals.knows_nothing import Constant, RandomVectors
from validation.rivals.majority import judge_majority
from validation.rivals.open_clip_model import OpenClip
from validation.rivals.sentence_transformers_model import SentenceTransformersEncoder
from validation.rivals.title_words import TitleWordOverlap
from validation.rivals.transformers_clip import TransformersClip

__all__ = [
    "BM25",
    "ColourAndHash",
    "ColourHistogram",
    "Constant",
    "FrozenText",
    "FrozenTimm",
    "OpenClip",
    "RandomVectors",
    "SentenceTransformersEncoder",
    "TitleWordOverlap",
    "TransformersClip",
    "judge_majority",
]
