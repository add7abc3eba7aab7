"""Pretrained weights: fetched by name when asked, checked by digest, kept as safetensors, read by the backbones."""

from models.weights.again import made_again
from models.weights.convert import convert_weights
from models.weights.fetch import fetch_weights
from models.weights.folder import missing_files, read_config, read_safetensors, tensor_file, weights_folder
from models.weights.known import KNOWN, HubSource, WheelSource, find_source
from models.weights.manifest import check_manifest, folder_digest, read_manifest
from models.weights.pair import check_architecture, check_pair
from models.weights.root import weights_root
from models.weights.stored import check_config, check_statistics, faults_told

__all__ = [
    "KNOWN",
    "HubSource",
    "WheelSource",
    "check_architecture",
    "check_config",
    "check_manifest",
    "check_pair",
    "check_statistics",
    "convert_weights",
    "faults_told",
    "fetch_weights",
    "find_source",
    "folder_digest",
    "made_again",
    "missing_files",
    "read_config",
    "read_manifest",
    "read_safetensors",
    "tensor_file",
    "weights_folder",
    "weights_root",
]
