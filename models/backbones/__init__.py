"""Backbones: one small adapter for each decoder MLLM, behind one interface."""

from models.backbones.base import Backbone, PictureFeatures
from models.backbones.build import build_backbone

__all__ = ["Backbone", "PictureFeatures", "build_backbone"]
