"""Training: pairs, batches that depend on seed and step alone, the objective, and the Lightning fit around it."""

from models.training.fit import train
from models.training.record import TrainingRecord

__all__ = ["TrainingRecord", "train"]
