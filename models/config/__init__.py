"""The model's and the training's sections of the configuration tree."""

from models.config.backbone import NanoConfig
from models.config.model import ModelConfig
from models.config.moe import MoeConfig
from models.config.train import AugmentConfig, DropoutConfig, QueryMix, TrainConfig

__all__ = ["AugmentConfig", "DropoutConfig", "ModelConfig", "MoeConfig", "NanoConfig", "QueryMix", "TrainConfig"]
