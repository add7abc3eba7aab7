"""Detectors that are told in words what to look for: Grounding DINO and OWLv2, from a local transformers folder.

Grounding DINO reads one text of phrases, each in lower case and ended by a full stop; OWLv2 reads a list of phrases.
The score of a box is that of the phrase it fits best.

Source: Grounding DINO (Liu et al. 2023), OWLv2 (Minderer et al. 2023), and transformers' processors for both.
Deviations: pictures of one forward pass have equal sizes and equally long texts, so that nothing is padded: padding
changes what the windows of Grounding DINO's Swin see; a stripe of a picture is not looked at; boxes of all phrases go
through one non-maximum suppression, since any of them may be the product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from models.regions.boxes import scale_box
from models.regions.detector import Candidate, Candidates, RegionDetector, settings_digest
from models.regions.pretrained import check_model_type, folder_settings, load_pretrained, model_folder
from models.regions.ranked import ranked
from models.regions.sizes import shrunk, too_narrow
from models.regions.steered_config import OpenVocabularyConfig
from models.regions.wanted import Wanted
from models.regions.words import cut_to_fit, joined, phrases_of

OPEN_VOCABULARY_VERSION = 1
"""Raise it whenever a box changes for the same weights and parameters."""
SECTION = "regions.open_vocabulary"
_DINO, _OWL = "grounding-dino", "owlv2"
_USUAL = "IDEA-Research/grounding-dino-tiny"
_NUM_INPUTS = 2
"""A picture longer than so many times what the network sees is shrunk first: OWLv2 pads to a square and blurs it before
it shrinks it, which of 20,000 px takes gigabytes, and of a photograph of 20 megapixels seconds."""


def make_open_vocabulary(
    cfg: OpenVocabularyConfig, num_candidates: int, weights_dir: str | Path | None = None
) -> RegionDetector:
    """The detector of a section: from ultralytics where a model YAML is named, else from a transformers folder.

    Raises:
        ModelError: No weights, weights of another task, or a text encoder that is not at hand.
    """
    if cfg.model_yaml is not None:
        from models.regions.yolo_world import YoloWorldDetector

        return YoloWorldDetector(cfg, num_candidates, weights_dir)
    return OpenVocabularyDetector(cfg, num_candidates, weights_dir)


class OpenVocabularyDetector:
    """Candidates for the words of what is wanted; the network is loaded on first use.

    Args:
        cfg: The section.
        num_candidates: K.
        weights_dir: Where relative paths start; the working folder when None.

    Raises:
        ModelError: Weights are missing, pickles, or of another task.
    """

    def __init__(self, cfg: OpenVocabularyConfig, num_candidates: int, weights_dir: str | Path | None = None) -> None:
        self._cfg, self._num_candidates = cfg, num_candidates
        self._folder = model_folder(cfg, SECTION, _USUAL, weights_dir)
        self._kind = check_model_type(self._folder, (_DINO, _OWL), SECTION)
        unread = {"model_yaml", "text_encoder", "side_px"}
        settings = folder_settings(self._folder, cfg.model_dump(mode="json", exclude=unread))
        self.digest = settings_digest(
            "open_vocabulary", OPEN_VOCABULARY_VERSION, settings | {"num_candidates": num_candidates}
        )
        self._loaded: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A worker process loads its own network: the folder is all it needs.
        return self.__dict__ | {"_loaded": None}

    def prompt(self, wanted: Wanted) -> str:
        """The phrases looked for; empty where nothing is known and the generic phrase stands for all."""
        return ". ".join(phrases_of(wanted, self._cfg.phrases, self._cfg.title_words))

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        """Candidates of every picture for its words, best first; none for a stripe.

        Raises:
            ModelError: The weights cannot be loaded.
        """
        model, processor = self._load()
        sizes = processor.image_processor.size
        found: list[list[Candidate]] = [Candidates(note="too narrow to be judged") for _ in images]
        alike: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
        inputs: dict[int, dict[str, torch.Tensor]] = {}
        smaller: dict[int, Image.Image] = {}
        for index, (image, words) in enumerate(zip(images, wanted, strict=True)):
            if too_narrow(image):
                continue
            smaller[index] = shrunk(image, _NUM_INPUTS * max(side for side in dict(sizes).values() if side))
            text = self._text(processor.tokenizer, model.config, words)
            inputs[index] = dict(processor(images=[smaller[index]], text=[text], return_tensors="pt"))
            alike[tuple(tuple(value.shape) for value in inputs[index].values())].append(index)
        for indices in alike.values():
            for start in range(0, len(indices), self._cfg.batch_size):
                part = indices[start : start + self._cfg.batch_size]
                answers = self._look(model, processor, [inputs[i] for i in part], [smaller[i].size for i in part])
                for index, (boxes, scores) in zip(part, answers, strict=True):
                    found[index] = self._candidates(boxes, scores, smaller[index].size, images[index].size)
        return found

    def _look(
        self, model: Any, processor: Any, inputs: list[dict[str, torch.Tensor]], sizes_px: list[tuple[int, int]]
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Boxes (N, 4) in pixels of the pictures given to the processor and scores (N,), of each."""
        batch = {name: torch.cat([one[name] for one in inputs]).to(model.device) for name in inputs[0]}
        batch["pixel_values"] = batch["pixel_values"].to(model.dtype)
        with torch.inference_mode():
            outputs = model(**batch)
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        results = processor.post_process_grounded_object_detection(
            outputs,
            threshold=self._cfg.min_score,
            target_sizes=[(height, width) for width, height in sizes_px],
            **({"input_ids": batch["input_ids"]} if self._kind == _DINO else {}),
        )
        return [(result["boxes"], result["scores"]) for result in results]

    def _candidates(
        self, boxes_N4: torch.Tensor, scores_N: torch.Tensor, seen_px: tuple[int, int], size_px: tuple[int, int]
    ) -> list[Candidate]:
        found = ranked(
            boxes_N4,
            scores_N,
            seen_px,
            min_score=self._cfg.min_score,
            nms_iou=self._cfg.nms_iou,
            num_candidates=self._num_candidates,
        )
        factor_x, factor_y = size_px[0] / seen_px[0], size_px[1] / seen_px[1]
        return [Candidate(scale_box(one.box, factor_x, factor_y), one.score) for one in found]

    def _text(self, tokenizer: Any, config: Any, wanted: Wanted) -> str | list[str]:
        """What the processor is given for a picture: one text, or a list of phrases; within the model's limits."""
        phrases = phrases_of(wanted, self._cfg.phrases, self._cfg.title_words) or [self._cfg.generic_phrase.lower()]
        limit = min(self._cfg.max_tokens, int(config.text_config.max_position_embeddings))
        if self._kind == _OWL:
            kept = [cut_to_fit(one, lambda text: _num_tokens(tokenizer, text) <= limit) for one in phrases]
            return [one for one in kept if one] or [self._cfg.generic_phrase.lower()]
        return joined(phrases, lambda text: _num_tokens(tokenizer, text) <= min(limit, int(config.max_text_len)))

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForZeroShotObjectDetection

            self._loaded = load_pretrained(AutoModelForZeroShotObjectDetection, self._folder, self._cfg, SECTION)
        return self._loaded


def _num_tokens(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text)["input_ids"])
