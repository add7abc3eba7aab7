"""From the configuration to a detector: the one place that knows the backends and the stages after them."""

from __future__ import annotations

import os
from pathlib import Path

from models.regions.config import RegionsConfig
from models.regions.detector import NoDetector, RegionDetector

_LARGE_BYTES = 200_000_000
"""Weights of the chooser's encoder of which a core each has no copy."""


def make_detector(cfg: RegionsConfig, weights_dir: str | Path | None = None) -> RegionDetector:
    """The detector that `cfg.backend` names, with the stages that are switched on.

    Args:
        cfg: The regions section.
        weights_dir: Folder that relative paths of weights and model YAML start from: the model folder when a model
            ships its detector. The working folder where None.

    Raises:
        ModelError: yolo without ultralytics; a backend without weights, or with weights of another task; an encoder
            that is not named or not there.
    """
    if cfg.backend == "none":
        return NoDetector()
    detector = _backend(cfg, weights_dir)
    if cfg.edges.enabled and cfg.backend != "saliency":
        from models.regions.edges import EdgeDetector

        detector = EdgeDetector(detector, cfg.edges)
    if cfg.worn.enabled:
        from models.regions.worn import WornDetector

        detector = WornDetector(detector, cfg.worn, cfg.num_candidates)
    if cfg.chooser.kind == "encoder":
        from models.regions.agreement import AgreementDetector

        # Last: the crops that are compared are those that would be chosen.
        detector = AgreementDetector(detector, cfg.chooser.encoder, weights_dir)
    return detector


def detection_processes(cfg: RegionsConfig) -> int:
    """How many processes detect side by side: one a core, but one alone where each would load a large network.

    Such a network takes every core, or the accelerator, by itself; a copy for each core would take gigabytes each.
    """
    is_large = cfg.backend in ("open_vocabulary", "grounding")
    if cfg.backend != "none" and cfg.chooser.kind == "encoder":
        from models.regions.agreement import encoder_bytes

        is_large |= encoder_bytes(cfg.chooser.encoder) > _LARGE_BYTES
    if is_large:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _backend(cfg: RegionsConfig, weights_dir: str | Path | None) -> RegionDetector:
    # Each is imported here alone: a configuration without it must run where its library is not installed.
    if cfg.backend == "yolo":
        from models.regions.yolo import YoloDetector

        return YoloDetector(cfg.yolo, cfg.num_candidates, weights_dir)
    if cfg.backend == "open_vocabulary":
        from models.regions.open_vocabulary import make_open_vocabulary

        return make_open_vocabulary(cfg.open_vocabulary, cfg.num_candidates, weights_dir)
    if cfg.backend == "grounding":
        from models.regions.grounding import GroundingDetector

        return GroundingDetector(cfg.grounding, cfg.num_candidates, weights_dir)
    from models.regions.saliency import SaliencyDetector

    return SaliencyDetector(cfg.saliency, cfg.num_candidates)
