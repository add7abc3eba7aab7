"""The encoder of an earlier version looks at every candidate: how well does the crop agree with the product's words?

The paper asks a second multimodal model for the box of the titled product. An encoder that a shop has trained before
knows its words and pictures already, costs one small forward pass a crop, and its answer is filed with the candidates.
Our choice, as are the three below.

The words are read as a product without its photographs, title, category and attributes together: a colour or a
material tells things apart that share a title's nouns. Fields that are hidden are absent here too. The crop is given as
both views of a photograph, original and core region, so that the encoder never looks for regions of its own; hence it
may be one that was itself trained with this stage, and its detector need not be there.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from catalog import Box, ModelError, Photo, Product, ProductItem, QueryItem
from catalog.labels import attribute_label, category_label
from models.regions.config import AgreementConfig
from models.regions.detector import Candidate, Candidates, RegionDetector, note_of, settings_digest
from models.regions.wanted import Wanted

if TYPE_CHECKING:
    from models.encoder import MoonEncoder

AGREEMENT_VERSION = 1
"""Raise it whenever an agreement changes for the same encoder."""

_DECIMALS = 6
"""Further ones depend on what else was computed beside a crop."""
_MAX_KEPT = 4096
"""Pictures whose candidates and vectors are kept: the same picture is asked for with other words, when fields are
hidden from an evaluation and when two products share it. Of words as many: a product has them for all its pictures."""


class AgreementDetector:
    """Fills `Candidate.agreement` of another detector's candidates: the cosine of crop and words.

    Picklable; the encoder is loaded on first use, in every process anew.

    Args:
        base: Finds the candidates.
        cfg: Which encoder.
        weights_dir: Where a relative folder starts; the working folder when None.

    Raises:
        ModelError: No encoder is named, or its folder is incomplete.
    """

    def __init__(self, base: RegionDetector, cfg: AgreementConfig, weights_dir: str | Path | None = None) -> None:
        self._base = base
        self._folder = encoder_folder(cfg, weights_dir)
        self.encoder_digest = _digest_of(self._folder)
        settings = {"base": base.digest, "encoder": self.encoder_digest}
        self.digest = settings_digest("agreement", AGREEMENT_VERSION, settings)
        self._encoder: MoonEncoder | None = None
        self._seen: OrderedDict[tuple[str, str], _Look] = OrderedDict()
        self._words: OrderedDict[Wanted, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        # A worker process loads its own encoder: the folder is all it needs.
        left = ("_encoder", "_seen", "_words", "_lock")
        return {name: value for name, value in vars(self).items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _encoder=None, _seen=OrderedDict(), _words=OrderedDict(), _lock=Lock())

    def prompt(self, wanted: Wanted) -> str:
        """The words of the base, and all that are compared with the crops."""
        words = words_of(wanted)
        return "\0".join((self._base.prompt(wanted), words)) if words else self._base.prompt(wanted)

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        """The base's candidates in its order, with their agreement; without it where there are no words.

        Raises:
            ModelError: The encoder's folder is damaged, or has changed since this stage was made.
        """
        looks = self._looks(images, wanted)
        return [
            Candidates(
                self._agreed(look, image, one) if words_of(one) and look.candidates else look.candidates, look.note
            )
            for look, image, one in zip(looks, images, wanted, strict=True)
        ]

    def _looks(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[_Look]:
        """What the base found, now or before; it is asked once for all that it has not seen."""
        keys = [(_content(image), self._base.prompt(one)) for image, one in zip(images, wanted, strict=True)]
        with self._lock:
            found = {key: self._seen[key] for key in keys if key in self._seen}
        rows = {key: row for row, key in enumerate(keys) if key not in found}
        if rows:
            answers = self._base.detect([images[row] for row in rows.values()], [wanted[row] for row in rows.values()])
            found |= {key: _Look(tuple(answer), note_of(answer)) for key, answer in zip(rows, answers, strict=True)}
        with self._lock:
            for key in keys:
                _keep(self._seen, key, found[key])
        return [found[key] for key in keys]

    def _agreed(self, look: _Look, image: Image.Image, wanted: Wanted) -> list[Candidate]:
        encoder = self._loaded()
        if look.crops_KE is None:
            # The crops of one picture and no others at a time: an answer must not depend on what else is asked.
            side_px = encoder.processor.layout.side_px
            squares = [_letterboxed(image, candidate.box, side_px) for candidate in look.candidates]
            look.crops_KE = encoder.embed_queries(
                QueryItem(query_id=str(number), photo=_Crop(ref=str(number), square=square))
                for number, square in enumerate(squares)
            )
        words_E = self._spoken(encoder, wanted)
        cosines = np.round((look.crops_KE @ words_E).astype(np.float64), _DECIMALS).tolist()
        return [replace(one, agreement=cosine) for one, cosine in zip(look.candidates, cosines, strict=True)]

    def _spoken(self, encoder: MoonEncoder, wanted: Wanted) -> np.ndarray:
        """(E,) unit vector of the words: asked for once, however many photographs a product has."""
        with self._lock:
            words_E = self._words.get(wanted)
        if words_E is None:
            words_E = encoder.embed_products([_spoken(wanted)])[0]
        with self._lock:
            _keep(self._words, wanted, words_E)
        return words_E

    def _loaded(self) -> MoonEncoder:
        # Two threads that come first at once both load it, and one of the two is dropped.
        if self._encoder is None:
            self._encoder = _load(self._folder, self.encoder_digest)
        return self._encoder


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """Keep the latest, the one that was asked for longest ago out first."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _MAX_KEPT:
        kept.popitem(last=False)


@dataclass
class _Look:
    """What was found in one picture."""

    candidates: tuple[Candidate, ...]
    note: str = ""
    """What the base said beside them."""
    crops_KE: np.ndarray | None = None
    """Unit vectors of the crops, once words were compared with them."""


@dataclass(frozen=True)
class _Crop(Photo):
    """A part of a photograph that is in memory, fitted into the encoder's square."""

    square: np.ndarray = field(default_factory=lambda: np.zeros((1, 1, 3), np.uint8), repr=False, compare=False)


class _Squares:
    """A `PictureSource` of crops: the crop is the original and its own core region."""

    def squares(self, photo: Photo, wanted: Wanted, views: int = 2) -> np.ndarray:
        """(2, side, side, 3) uint8."""
        assert isinstance(photo, _Crop), "nothing but crops is embedded here"
        return np.stack([photo.square, photo.square])


def words_of(wanted: Wanted) -> str:
    """All words that a crop is compared with, one field a line; empty where nothing is known."""
    lines = [f"title: {wanted.title}"] if wanted.title else []
    lines += [f"category: {category_label(wanted.category)}"] if wanted.category else []
    lines += [attribute_label(name, ", ".join(values)) for name, values in wanted.attributes]
    return "\n".join(lines)


def _letterboxed(image: Image.Image, box: Box, side_px: int) -> np.ndarray:
    """The part of `image` inside `box` as training would feed it: (side_px, side_px, 3) uint8."""
    from models.pictures import crop_box, letterbox

    return letterbox(crop_box(image, box).convert("RGB"), side_px)


def encoder_folder(cfg: AgreementConfig, weights_dir: str | Path | None = None) -> Path:
    """Where the encoder's model folder is.

    Raises:
        ModelError: None is named.
    """
    if cfg.folder is None:
        raise ModelError(
            "the chooser has no encoder to ask",
            where="regions.chooser.encoder.folder",
            got="null",
            allowed="the model folder of an earlier version",
            fix="train a first version with regions.chooser.kind: rule, and name its folder here",
        )
    return Path(weights_dir or ".") / cfg.folder


def encoder_bytes(cfg: AgreementConfig, weights_dir: str | Path | None = None) -> int:
    """Size of the encoder's weights on disk; 0 where they are not there.

    Raises:
        ModelError: None is named.
    """
    from models.folder import WEIGHTS

    path = encoder_folder(cfg, weights_dir) / WEIGHTS
    return path.stat().st_size if path.is_file() else 0


def _digest_of(folder: Path) -> str:
    from models.folder import DIGESTED, LINEAGE, folder_digest

    missing = [name for name in (*DIGESTED, LINEAGE) if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            "the chooser's encoder is no whole model folder",
            where="regions.chooser.encoder.folder",
            got=f"{folder}, which lacks {', '.join(missing)}",
            fix="name the model folder of an earlier version, or set regions.chooser.kind: rule",
        )
    return folder_digest(folder)


def _load(folder: Path, digest: str) -> MoonEncoder:
    """The encoder of a model folder, on the CPU, without what finds its core regions.

    Raises:
        ModelError: The folder is damaged, or no longer that of `digest`.
    """
    from models.encoder import MoonEncoder
    from models.folder import read_model_folder
    from models.processor import Processor

    found = read_model_folder(folder)
    if found.digest != digest:
        raise ModelError(
            "the chooser's encoder has changed since it was chosen",
            where=str(folder),
            got=found.digest[:12],
            allowed=digest[:12],
            fix="start again, so that its new digest counts",
        )
    spec = found.model.backbone.spec()
    processor = Processor.of(found.tokenizer, found.config, _Squares(), spec)
    return MoonEncoder(found.model, processor, found.digest, found.lineage)


def _spoken(wanted: Wanted) -> ProductItem:
    """The words as a product whose photographs nobody shows; their reference stands in for a title that is hidden."""
    return ProductItem(
        Product(
            product_id="wanted",
            group_id="wanted",
            title=wanted.title,
            category=wanted.category,
            attributes=dict(wanted.attributes),
            images=("hidden",),
        )
    )


def _content(image: Image.Image) -> str:
    total = hashlib.sha256(f"{image.mode} {image.size}".encode())
    total.update(image.tobytes())
    return total.hexdigest()
