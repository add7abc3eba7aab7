"""A multimodal language model that is asked for the box of the titled product, as MOON's paper does.

Qwen2.5-VL and Qwen3-VL from a local transformers folder. One question a picture, answered greedily; the answer is read
by `grounding_answers`, where the conventions of both and their sources stand. A refused answer gives no candidate, and
says why.

The score of a box is the mean probability of the tokens that write its digits: how sure the model is of these numbers,
which is less than how sure it is of the product. Our choice: the paper does not say what it does.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from catalog import Box, ModelError
from models.regions.detector import Candidate, Candidates, settings_digest
from models.regions.grounding_answers import COORDINATES_OF, Coordinates, Grounded, Refused, box_spans, parse_answer
from models.regions.pretrained import check_model_type, folder_settings, load_pretrained, model_folder
from models.regions.sizes import too_narrow
from models.regions.steered_config import GroundingConfig
from models.regions.wanted import Wanted
from models.regions.words import plain_words

GROUNDING_VERSION = 1
"""Raise it whenever a box changes for the same weights and parameters."""
SECTION = "regions.grounding"
_USUAL = "qwen3-vl-2b"
_MAX_SUBJECT_CHARS = 200
_log = logging.getLogger(__name__)


class GroundingDetector:
    """Candidates as a language model names them; the network is loaded on first use.

    Args:
        cfg: The section.
        num_candidates: K.
        weights_dir: Where relative paths start; the working folder when None.

    Raises:
        ModelError: Weights are missing, pickles, of another task, or of a model whose convention is not known.
    """

    def __init__(self, cfg: GroundingConfig, num_candidates: int, weights_dir: str | Path | None = None) -> None:
        self._cfg, self._num_candidates = cfg, num_candidates
        self._folder = model_folder(cfg, SECTION, _USUAL, weights_dir)
        self._coordinates = _coordinates(self._folder, cfg)
        settings = folder_settings(self._folder, cfg.model_dump(mode="json"))
        self.digest = settings_digest("grounding", GROUNDING_VERSION, settings | {"num_candidates": num_candidates})
        self._loaded: tuple[Any, Any] | None = None
        self.refusals: Counter[str] = Counter()
        """Refused answers of this process by kind."""
        self.num_answers = 0
        """Answers of this process, refused or not."""

    def __getstate__(self) -> dict[str, Any]:
        # A worker process loads its own network: the folder is all it needs.
        return self.__dict__ | {"_loaded": None}

    def prompt(self, wanted: Wanted) -> str:
        """The words that the question names the product by; empty where none is known."""
        title = plain_words(wanted.title or "")
        leaf = plain_words(wanted.category[-1]) if wanted.category else ""
        if title and leaf and leaf.casefold() not in title.casefold():
            return f"{title[:_MAX_SUBJECT_CHARS]} ({leaf[:_MAX_SUBJECT_CHARS]})"
        return (title or leaf)[:_MAX_SUBJECT_CHARS]

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        """Candidates of every picture, best first; none, with a note, where the answer was refused.

        Raises:
            ModelError: The weights cannot be loaded, or come without a chat template.
        """
        found: list[list[Candidate]] = [Candidates(note="too narrow to be judged") for _ in images]
        asked = [(index, self.prompt(one)) for index, one in enumerate(wanted) if not too_narrow(images[index])]
        for start in range(0, len(asked), self._cfg.batch_size):
            part = asked[start : start + self._cfg.batch_size]
            answers = self._ask([images[index] for index, _ in part], [subject for _, subject in part])
            for (index, subject), (answer, scores) in zip(part, answers, strict=True):
                found[index] = self._candidates(answer, scores, images[index].size, subject)
        return found

    def _candidates(
        self, answer: Grounded | Refused, scores: list[float], size_px: tuple[int, int], subject: str
    ) -> Candidates:
        self.num_answers += 1
        if isinstance(answer, Refused):
            self.refusals[answer.kind] += 1
            _log.warning(
                "no box of %r in a picture of %d x %d px: %s (%d of %d answers refused, %d as %s)",
                subject or self._cfg.generic_subject,
                *size_px,
                answer.reason,
                self.refusals.total(),
                self.num_answers,
                self.refusals[answer.kind],
                answer.kind,
            )
            return Candidates(note=f"answer refused: {answer.reason}")
        best: dict[Box, float] = {}
        for box, score in zip(answer.boxes, scores, strict=True):
            best[box] = max(score, best.get(box, 0.0))
        ordered = sorted(best.items(), key=lambda pair: -pair[1])[: self._num_candidates]
        return Candidates((Candidate(box, score) for box, score in ordered), "; ".join(answer.notes))

    def _ask(self, images: list[Image.Image], subjects: list[str]) -> list[tuple[Grounded | Refused, list[float]]]:
        """The answer for each picture, with a score for each of its boxes."""
        model, processor = self._load()
        texts = [self._question(processor, subject) for subject in subjects]
        inputs = processor(
            text=texts,
            images=[image.convert("RGB") for image in images],
            padding=True,
            padding_side="left",
            images_kwargs={"size": {"shortest_edge": self._cfg.min_pixels, "longest_edge": self._cfg.max_pixels}},
            return_tensors="pt",
        ).to(model.device)
        certainty = _Certainty()
        with torch.inference_mode():
            ids_BL = model.generate(**inputs, logits_processor=[certainty])[:, inputs["input_ids"].shape[1] :]
        probabilities_BL = torch.stack(certainty.steps, dim=1)
        patch_px = int(processor.image_processor.patch_size)
        ends = set(model.generation_config.eos_token_id)
        read = []
        for row, image in enumerate(images):
            _, rows, columns = inputs["image_grid_thw"][row].tolist()
            resized_px = (columns * patch_px, rows * patch_px)
            ids, probabilities = ids_BL[row].tolist(), probabilities_BL[row].tolist()
            read.append(self._read(processor.tokenizer, ids, probabilities, ends, image.size, resized_px))
        return read

    def _read(
        self,
        tokenizer: Any,
        ids: list[int],
        probabilities: list[float],
        ends: set[int],
        size_px: tuple[int, int],
        resized_px: tuple[int, int],
    ) -> tuple[Grounded | Refused, list[float]]:
        length = next((place for place, token in enumerate(ids) if token in ends), None)
        if length is None:
            limit = self._cfg.max_new_tokens
            return Refused("truncated", f"the answer did not end within {limit} tokens"), []
        # Marks stay in the text: an answer that has any is not the JSON that was asked for.
        answer = parse_answer(tokenizer.decode(ids[:length]), size_px, resized_px, self._coordinates)
        if isinstance(answer, Refused):
            return answer, []
        if self._cfg.score == "one":
            return answer, [1.0] * len(answer.boxes)
        pieces = [tokenizer.decode([token]) for token in ids[:length]]
        return answer, digit_scores(pieces, probabilities[:length], len(answer.boxes))

    def _question(self, processor: Any, subject: str) -> str:
        text = self._cfg.prompt.replace("{subject}", subject or self._cfg.generic_subject)
        message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
        return str(processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True))

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForImageTextToText, GenerationConfig

            model, processor = load_pretrained(AutoModelForImageTextToText, self._folder, self._cfg, SECTION)
            if not processor.chat_template:
                raise ModelError(
                    "the language model comes without a chat template, so it cannot be asked",
                    where=str(self._folder),
                    allowed="chat_template.jinja, or chat_template in tokenizer_config.json",
                    fix="name an instruction-tuned model, such as " + _USUAL,
                )
            given: Any = model.generation_config
            ends = given.eos_token_id if isinstance(given.eos_token_id, list) else [given.eos_token_id]
            ends = sorted({one for one in (*ends, processor.tokenizer.eos_token_id) if one is not None})
            # In place of the folder's own, which samples and punishes repeated digits.
            model.generation_config = GenerationConfig(
                do_sample=False,
                num_beams=1,
                max_new_tokens=self._cfg.max_new_tokens,
                eos_token_id=ends,
                pad_token_id=processor.tokenizer.pad_token_id,
            )
            self._loaded = (model, processor)
        return self._loaded


class _Certainty:
    """Keeps the probability of the token that greedy decoding takes: the largest; (B,) a step."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        self.steps.append(scores.float().softmax(dim=-1).amax(dim=-1))
        return scores


def digit_scores(pieces: Sequence[str], probabilities: Sequence[float], num_boxes: int) -> list[float]:
    """The mean probability of the digits of every box of an answer.

    Args:
        pieces: Text of each token.
        probabilities: Of each token, 0 to 1.
        num_boxes: Boxes that were read; where their places in the text are not found all digits count for each.

    Returns:
        One score a box, 0 to 1.
    """
    spans = box_spans("".join(pieces))
    if len(spans) != num_boxes:
        spans = [(0, sum(map(len, pieces)))] * num_boxes
    scores = []
    for start, end in spans:
        place, found = 0, []
        for piece, probability in zip(pieces, probabilities, strict=True):
            inside = piece[max(start - place, 0) : max(end - place, 0)]
            if any(char.isdigit() for char in inside):
                found.append(probability)
            place += len(piece)
        scores.append(min(sum(found) / len(found), 1.0) if found else 0.0)
    return scores


def _coordinates(folder: Path, cfg: GroundingConfig) -> Coordinates:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    kind = check_model_type(folder, tuple(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES), SECTION)
    if cfg.coordinates != "auto":
        return Coordinates(cfg.coordinates)
    if kind not in COORDINATES_OF:
        raise ModelError(
            "what the numbers of this model's boxes count is not known",
            where=f"{SECTION}.weights: {folder}",
            got=f"model_type {kind}",
            allowed=", ".join(COORDINATES_OF) + f", or any with {SECTION}.coordinates set",
            fix=f"set {SECTION}.coordinates to resized_pixels or relative_1000, as the model's card says",
        )
    return COORDINATES_OF[kind]
