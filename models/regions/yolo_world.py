"""YOLO-World and YOLOE from ultralytics: detectors that compare every place of a picture with embedded class names.

The network is ultralytics'; its text encoders are not used. Importing them makes ultralytics install a package from a
git repository, and YOLOE's is published as TorchScript, which is code. Words are embedded in one of two other ways:

- `text_encoder` names a folder of CLIP ViT-B/32 as transformers writes it, for YOLO-World: the same network as the one
  that ultralytics would fetch.
- The weights file carries `class_embeddings` (classes, 512) and, in its metadata, `class_names` as a JSON list: a fixed
  vocabulary. Classes that the words name count alone; where the words name none, all of them do.

Source: YOLO-World (Cheng et al. 2024), YOLOE (Wang et al. 2025), ultralytics 8.4.190 (`WorldModel.txt_feats`,
`YOLOEModel.pe`). The licence of ultralytics is AGPL-3.0.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open

from catalog import ModelError
from models.devices import choose_device
from models.regions.detector import Candidate, Candidates, settings_digest
from models.regions.pretrained import check_model_type, folder_settings, load_pretrained, refuse_pickles
from models.regions.ranked import ranked
from models.regions.sizes import too_narrow
from models.regions.steered_config import OpenVocabularyConfig
from models.regions.wanted import Wanted
from models.regions.words import cut_to_fit, phrases_of, plain_words
from models.regions.yolo import check_weights, letterbox, load_model_yaml, read_weights, ultralytics_tasks
from models.weights import weights_folder

YOLO_WORLD_VERSION = 1
"""Raise it whenever a box changes for the same weights and parameters."""
SECTION = "regions.open_vocabulary"
EMBEDDINGS, NAMES = "class_embeddings", "class_names"
_WORLD, _YOLOE = "WorldDetect", "YOLOEDetect"
_WIDTH = 512


class YoloWorldDetector:
    """Candidates for the words of what is wanted, or for a fixed vocabulary; the network is built on first use.

    Args:
        cfg: The section, with a model YAML.
        num_candidates: K.
        weights_dir: Where relative paths start; the working folder when None.

    Raises:
        ModelError: ultralytics is not installed; weights, YAML or text encoder are missing or of the wrong kind.
    """

    def __init__(self, cfg: OpenVocabularyConfig, num_candidates: int, weights_dir: str | Path | None = None) -> None:
        assert cfg.model_yaml is not None, "asked for where a model YAML is named"
        self._cfg, self._num_candidates = cfg, num_candidates
        self._model_cfg = load_model_yaml(cfg.model_yaml, weights_dir, (_WORLD, _YOLOE))
        self._head = str(self._model_cfg["head"][-1][2])
        self._weights = _weights_file(cfg, weights_dir)
        self._names = _class_names(self._weights)
        self._text_folder = self._find_text_encoder(weights_dir)
        unread = {"weights", "model_yaml", "text_encoder", "download", "revision", "device", "batch_size"}
        settings: dict[str, Any] = cfg.model_dump(mode="json", exclude=unread) | {
            "num_candidates": num_candidates,
            "model": self._model_cfg,
            "weights": hashlib.sha256(self._weights.read_bytes()).hexdigest(),
        }
        if self._text_folder is not None:
            settings["text_encoder"] = folder_settings(self._text_folder, {})
        self.digest = settings_digest("yolo_world", YOLO_WORLD_VERSION, settings)
        self._loaded: tuple[Any, torch.Tensor | None] | None = None
        self._text: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A worker process builds its own networks: their places are all it needs.
        return self.__dict__ | {"_loaded": None, "_text": None}

    def prompt(self, wanted: Wanted) -> str:
        """The phrases looked for, or the classes of a fixed vocabulary that the words name; empty where none."""
        if self._text_folder is not None:
            return ". ".join(phrases_of(wanted, self._cfg.phrases, self._cfg.title_words))
        return ". ".join(self._names[index] for index in named_classes(self._names, wanted))

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        """Candidates of every picture, best first; none for a stripe.

        Raises:
            ModelError: The weights do not fit the model YAML.
        """
        model, vocabulary_QD = self._load()
        found: list[list[Candidate]] = [Candidates(note="too narrow to be judged") for _ in images]
        alike: defaultdict[int, list[int]] = defaultdict(list)
        embedded: dict[int, torch.Tensor] = {}
        for index, (image, words) in enumerate(zip(images, wanted, strict=True)):
            if not too_narrow(image):
                embedded[index] = self._embed(words) if vocabulary_QD is None else vocabulary_QD
                alike[len(embedded[index])].append(index)
        for indices in alike.values():
            for start in range(0, len(indices), self._cfg.batch_size):
                part = indices[start : start + self._cfg.batch_size]
                boxed = [letterbox(images[i], self._cfg.side_px) for i in part]
                rows = self._look(model, torch.stack([one[0] for one in boxed]), [embedded[i] for i in part])
                for index, (_, scale, corner), row in zip(part, boxed, rows, strict=True):
                    found[index] = self._candidates(images[index], wanted[index], row, scale, corner)
        return found

    def _look(self, model: Any, pixels_NCHW: torch.Tensor, words: list[torch.Tensor]) -> torch.Tensor:
        device = next(model.parameters()).device
        words_NQD = torch.stack(words).to(device)
        model.model[-1].nc = words_NQD.shape[1]
        if self._head == _WORLD:
            model.txt_feats = words_NQD
        else:
            model.pe = words_NQD
        with torch.inference_mode():
            output = model(pixels_NCHW.to(device))
        return (output[0] if isinstance(output, (tuple, list)) else output).float()

    def _candidates(
        self,
        image: Image.Image,
        wanted: Wanted,
        row: torch.Tensor,
        scale: tuple[float, float],
        corner: tuple[int, int],
    ) -> list[Candidate]:
        """Of one picture: `row` is (4 + classes, N), centres, sizes and scores in pixels of the square."""
        centre_N2, size_N2, scores_NQ = row[:2].T, row[2:4].T, row[4:].T
        asked = named_classes(self._names, wanted) if self._text_folder is None else []
        boxes_N4 = torch.cat([centre_N2 - size_N2 / 2.0, centre_N2 + size_N2 / 2.0], dim=1)
        return ranked(
            (boxes_N4 - boxes_N4.new_tensor([*corner, *corner])) / boxes_N4.new_tensor([*scale, *scale]),
            (scores_NQ[:, asked] if asked else scores_NQ).amax(dim=1),
            image.size,
            min_score=self._cfg.min_score,
            nms_iou=self._cfg.nms_iou,
            num_candidates=self._num_candidates,
        )

    def _embed(self, wanted: Wanted) -> torch.Tensor:
        """(Q, 512), normalised, of the phrases looked for."""
        assert self._text_folder is not None, "words are embedded where a text encoder is named"
        if self._text is None:
            from transformers import CLIPTextModelWithProjection

            self._text = load_pretrained(CLIPTextModelWithProjection, self._text_folder, self._cfg, SECTION)
        encoder, processor = self._text
        tokenizer = getattr(processor, "tokenizer", processor)
        limit = min(self._cfg.max_tokens, int(encoder.config.max_position_embeddings))
        phrases = phrases_of(wanted, self._cfg.phrases, self._cfg.title_words)
        kept = [cut_to_fit(one, lambda text: len(tokenizer(text)["input_ids"]) <= limit) for one in phrases]
        rows = []
        for phrase in [one for one in kept if one] or [self._cfg.generic_phrase.lower()]:
            inputs = tokenizer([phrase], return_tensors="pt").to(encoder.device)
            with torch.inference_mode():
                rows.append(encoder(**inputs).text_embeds.float()[0])
        return torch.nn.functional.normalize(torch.stack(rows), dim=-1)

    def _load(self) -> tuple[Any, torch.Tensor | None]:
        """The network, and (Q, 512) of the fixed vocabulary where there is no text encoder."""
        if self._loaded is None:
            tasks = ultralytics_tasks()
            build = tasks.WorldModel if self._head == _WORLD else tasks.YOLOEModel
            model = build(dict(self._model_cfg), ch=3, verbose=False)
            state = read_weights(self._weights)
            vocabulary_QD = state.pop(EMBEDDINGS, None)
            check_weights(model, state, self._weights)
            model.load_state_dict(state)
            device, _ = choose_device(self._cfg.device, f"{SECTION}.device")
            fixed = None if self._text_folder is not None or vocabulary_QD is None else vocabulary_QD.float()
            self._loaded = (model.float().to(device).eval(), fixed)
        return self._loaded

    def _find_text_encoder(self, weights_dir: str | Path | None) -> Path | None:
        """The folder of the text encoder; None where the file's own vocabulary is used.

        Raises:
            ModelError: There is neither, or the encoder is another's.
        """
        named = self._cfg.text_encoder
        if named is None:
            if self._names:
                return None
            clip = "a folder of CLIP ViT-B/32 with safetensors (openai/clip-vit-base-patch32, MIT) as text_encoder, or "
            raise ModelError(
                "the text encoder of this detector is not present",
                where=f"{SECTION}.text_encoder",
                got="null, and no class embeddings in the weights file",
                allowed=(clip if self._head == _WORLD else "")
                + f"weights that carry {EMBEDDINGS} (classes, {_WIDTH}) and {NAMES} in their metadata",
                fix="embed the class names once where the encoder is at hand, and save them with the weights; or set "
                "weights to a folder of Grounding DINO or OWLv2, which carry theirs",
            )
        if self._head == _YOLOE:
            raise ModelError(
                "YOLOE's text encoder cannot be used here",
                where=f"{SECTION}.text_encoder",
                got=named,
                allowed=f"null, with {EMBEDDINGS} and {NAMES} in the weights file",
                fix="it is published as TorchScript, which is code: embed the class names once where it is trusted; or "
                "use YOLO-World with CLIP",
            )
        path = Path(weights_dir or ".") / named
        refuse_pickles(path, f"{SECTION}.text_encoder")
        folder = weights_folder(str(path) if path.is_dir() else named)
        check_model_type(folder, ("clip", "clip_text_model"), SECTION)
        return folder


def named_classes(names: Sequence[str], wanted: Wanted) -> list[int]:
    """Which classes of a vocabulary the title or the category names, whatever their number and case."""
    texts = [_stems(text) for text in (wanted.title or "", *wanted.category)]
    return [index for index, name in enumerate(names) if any(f" {_stems(name).strip()} " in text for text in texts)]


def _stems(text: str) -> str:
    # "Mugs" and "mug" are one class; a space on both sides keeps "cap" out of "caption".
    words = re.findall(r"[^\W_]+", plain_words(text).casefold())
    return " " + " ".join(word.removesuffix("s") if len(word) > 3 else word for word in words) + " "


def _weights_file(cfg: OpenVocabularyConfig, weights_dir: str | Path | None) -> Path:
    where, fix = f"{SECTION}.weights", "export the weights of the trained model as safetensors"
    if cfg.weights is None:
        raise ModelError(f"{SECTION} has no weights", where=where, got="null", fix=fix)
    path = Path(weights_dir or ".") / cfg.weights
    refuse_pickles(path, where)
    if not path.is_file():
        raise ModelError("detector weights are missing", where=where, got=str(path), fix=fix)
    return path


def _class_names(weights: Path) -> list[str]:
    """Names of the vocabulary that a weights file carries; empty where it carries none.

    Raises:
        ModelError: The file is damaged, or names and embeddings do not match.
    """
    try:
        with safe_open(weights, "pt") as stream:
            metadata = stream.metadata() or {}
            shape = tuple(stream.get_slice(EMBEDDINGS).get_shape()) if EMBEDDINGS in set(stream.keys()) else None
    except (SafetensorError, OSError) as error:
        raise ModelError("detector weights are damaged", where=str(weights), got=str(error)) from None
    if shape is None and NAMES not in metadata:
        return []
    try:
        names = json.loads(metadata.get(NAMES, "[]"))
    except ValueError:
        names = None
    told = isinstance(names, list) and all(isinstance(one, str) and one.strip() for one in names)
    if not told or not names or shape != (len(names), _WIDTH):
        raise ModelError(
            "class names and class embeddings of the weights do not match",
            where=str(weights),
            got=f"{NAMES} {metadata.get(NAMES, 'absent')[:60]}, {EMBEDDINGS} {shape or 'absent'}",
            allowed=f"a JSON list of names in the metadata, and (names, {_WIDTH}) numbers",
            fix="save both again",
        )
    return [str(name) for name in names]
