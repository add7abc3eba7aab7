"""The losses: contrastive over every pool of negatives, and the weights between them; plain functions of vectors."""

from models.losses.alignment import Views, alignment, alignment_sets
from models.losses.contrastive import NEVER, each_info_nce, over_dims, similarities
from models.losses.distillation import distillation
from models.losses.means import mean_over_ranks, means_by_view
from models.losses.modality import ModalityWeights
from models.losses.retrieval import Retrieval, RetrievalOptions, retrieval
from models.losses.samples import filter_weights, margin_at, query_weight, trust
from models.losses.temperature import Temperature

__all__ = [
    "NEVER",
    "ModalityWeights",
    "Retrieval",
    "RetrievalOptions",
    "Temperature",
    "Views",
    "alignment",
    "alignment_sets",
    "distillation",
    "each_info_nce",
    "filter_weights",
    "margin_at",
    "mean_over_ranks",
    "means_by_view",
    "over_dims",
    "query_weight",
    "retrieval",
    "similarities",
    "trust",
]
