"""Backbones: one small adapter for each decoder MLLM, behind one interface."""

from models.backbones.base import Backbone, PictureFeatures, PictureLayout, SeenPictures
from models.backbones.build import build_backbone, build_template, load_backbone, picture_layout
from models.backbones.start import weights_digest

__all__ = [
    "Backbone",
    "PictureFeatures",
    "PictureLayout",
    "SeenPictures",
    "build_backbone",
    "build_template",
    "load_backbone",
    "picture_layout",
    "weights_digest",
]
