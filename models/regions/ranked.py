"""From a network's boxes and scores to candidates."""

from __future__ import annotations

import torch
from torchvision.ops import nms

from models.regions.boxes import clip_box
from models.regions.detector import Candidate


def ranked(
    boxes_N4: torch.Tensor,
    scores_N: torch.Tensor,
    size_px: tuple[int, int],
    *,
    min_score: float,
    nms_iou: float,
    num_candidates: int,
) -> list[Candidate]:
    """The best candidates of a picture, best first, cut to the picture.

    Args:
        boxes_N4: Corners in pixels of the picture; those that are not finite are left out.
        scores_N: 0 to 1.
        size_px: Width and height of the picture.
        min_score: Boxes scored lower are left out.
        nms_iou: Of two boxes overlapping more than this the better stays.
        num_candidates: K.
    """
    boxes_N4, scores_N = boxes_N4.detach().float().cpu(), scores_N.detach().float().cpu()
    usable_N = (scores_N >= min_score) & torch.isfinite(boxes_N4).all(dim=1)
    boxes_N4, scores_N = boxes_N4[usable_N], scores_N[usable_N]
    found: list[Candidate] = []
    for index in nms(boxes_N4, scores_N, nms_iou).tolist():
        x0, y0, x1, y1 = boxes_N4[index].tolist()
        inside = clip_box((x0, y0, x1, y1), size_px)
        if inside is not None:
            found.append(Candidate(inside, min(float(scores_N[index]), 1.0)))
    return found[:num_candidates]
