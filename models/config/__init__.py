"""The model's and the training's sections of the configuration tree."""

from models.config.backbone import BackboneKind, ComposedConfig, NanoConfig, PretrainedConfig
from models.config.model import Crops, HeadShares, ModelConfig
from models.config.moe import MoeConfig
from models.config.parameters import LoraConfig, ParametersConfig
from models.config.train import (
    AugmentConfig,
    DropoutConfig,
    FilterConfig,
    ModalityConfig,
    NegativesConfig,
    QueryMix,
    SignalWeights,
    StopConfig,
    TrainConfig,
)

__all__ = [
    "AugmentConfig",
    "BackboneKind",
    "ComposedConfig",
    "Crops",
    "DropoutConfig",
    "FilterConfig",
    "HeadShares",
    "LoraConfig",
    "ModalityConfig",
    "ModelConfig",
    "MoeConfig",
    "NanoConfig",
    "NegativesConfig",
    "ParametersConfig",
    "PretrainedConfig",
    "QueryMix",
    "SignalWeights",
    "StopConfig",
    "TrainConfig",
]
