"""The encoder that everything uses: products, queries and label texts to unit vectors."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from catalog import ImageError, ImageLimits, ModelError, MoonError, ProductItem, QueryItem, check_vectors
from models.backbones import PictureFeatures, SeenPictures, picture_layout
from models.batch import collate
from models.bucketing import bucket
from models.config import ModelConfig
from models.devices import choose_device
from models.folder import read_model_folder
from models.heads import matryoshka
from models.moon import MoonModel
from models.pictures import CoreFinder, PictureMaker
from models.prefix import check_dims, prefix_digest
from models.processor import Encoded, Processor
from models.regions import CoreRegions, RegionsConfig, RegionStore, make_chooser, make_detector

BATCH_SIZE, MAX_ROWS = 64, 16
"""Items read at a time, and rows of like length encoded together."""
MAX_CACHED_PICTURES = 8192
"""Pictures whose tower features are kept: an evaluation embeds the same products under many hide sets, and only the
decoder's part of the work differs."""


class MoonEncoder:
    """An `Embedder` around a trained model.

    Args:
        model: Weights and configuration; put into evaluation mode.
        processor: The preprocessing the model was trained with.
        digest: The model's; changes whenever the vectors could. `digest` of the encoder also tells a prefix.
        lineage: Where the model came from.
        device: Where it runs.
        name: Shown in score tables.
        batch_size: Items a forward pass; vectors do not depend on it.
        dims: Length that vectors are cut to, then L2-normalised again: `embedding_dims` or one of `matryoshka_dims`;
            None: `embedding_dims`.

    Raises:
        ModelError: The model was not trained for vectors of `dims` numbers.
    """

    modalities = frozenset(("text", "image"))

    def __init__(
        self,
        model: MoonModel,
        processor: Processor,
        digest: str,
        lineage: dict[str, str] | None = None,
        device: torch.device | None = None,
        name: str = "moon",
        batch_size: int = BATCH_SIZE,
        dims: int | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.model, self.processor = model.to(self.device).eval(), processor
        self.lineage, self.name, self.batch_size = lineage or {}, name, batch_size
        self.config: ModelConfig = model.config
        self.dims = check_dims(self.config, dims)
        self.digest = prefix_digest(digest, self.config, self.dims)
        self._seen = _SeenCache(MAX_CACHED_PICTURES)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str = "auto",
        store: RegionStore | None = None,
        limits: ImageLimits = ImageLimits(),
        dims: int | None = None,
    ) -> MoonEncoder:
        """Read a model folder.

        Args:
            folder: With `model.safetensors`, `config.json`, `tokenizer.json` and `lineage.json`.
            device: `auto`, `cpu` or `cuda`.
            store: Core-region candidates found before; without it they are found when needed.
            limits: What a photograph may cost.
            dims: Length of the vectors, as in the constructor.

        Raises:
            ModelError: The folder is incomplete, damaged, of another schema, its core regions cannot be had here, or
                its model was not trained for vectors of `dims` numbers.
        """
        folder = Path(folder)
        where, _ = choose_device(device)
        found = read_model_folder(folder)
        regions = core_regions(found.config, found.regions, folder, store)
        if regions is not None and found.regions_digest and regions.digest != found.regions_digest:
            raise ModelError(
                "core regions are found differently here than in training",
                where=str(folder),
                got=regions.digest[:12],
                allowed=found.regions_digest[:12],
                fix="use the version of MOON and the detector weights that the model was trained with",
            )
        spec = found.model.backbone.spec()
        pictures = PictureMaker(picture_layout(found.config, spec).side_px, regions, limits)
        processor = Processor.of(found.tokenizer, found.config, pictures, spec)
        return cls(found.model, processor, found.digest, found.lineage, where, dims=dims)

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        """Vectors of products without the hidden fields.

        Returns:
            (N, dims) float32, L2-normalised, in the order given.

        Raises:
            ModelError, ImageError: Names the product.
        """
        return self._embed(self._named(item.product.product_id, self.processor.product, item, hide) for item in items)

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        """Vectors of queries, (N, dims) float32, L2-normalised, in the order given."""
        return self._embed(self._named(item.query_id, self.processor.query, item) for item in items)

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        """Vectors of label texts, (N, dims) float32, L2-normalised, in the order given."""
        return self._embed((text, self.processor.label(text)) for text in texts)

    @staticmethod
    def _named(name: str, make, *args: object) -> tuple[str, Encoded]:  # type: ignore[no-untyped-def]
        try:
            return name, make(*args)
        except MoonError as error:
            kind = ImageError if isinstance(error, ImageError) else ModelError
            raise kind(
                error.problem, where=f"{name}: {error.where}", got=error.got, allowed=error.allowed, fix=error.fix
            ) from None

    def _embed(self, items: Iterable[tuple[str, Encoded]]) -> np.ndarray:
        parts, names = [], []
        for chunk in _chunks(items, self.batch_size):
            names += [name for name, _ in chunk]
            parts.append(self._forward([encoded for _, encoded in chunk]))
        vectors = np.concatenate(parts) if parts else np.zeros((0, self.dims), np.float32)
        return check_vectors(vectors, names, self.dims, self.name)

    @torch.inference_mode()
    def _forward(self, items: list[Encoded]) -> np.ndarray:
        squares = [square for item in items for square in item.squares]
        features = self.picture_features(squares)
        sequences = [item.sequence for item in items]
        batch = collate(sequences, range(len(squares)), pad_id=self.processor.template.pad_id).to(self.device)
        # Rows of like length together: what is computed for padding is computed for nothing.
        plan = bucket([len(one) for one in sequences], rows_per_chunk=MAX_ROWS)
        chunks = [batch.rows(torch.tensor(rows, device=self.device)) for rows in plan.chunks]
        vectors_BE = plan.restore(torch.cat([self.model(chunk, features) for chunk in chunks])).float()
        if self.dims < self.config.embedding_dims:
            vectors_BE = matryoshka(vectors_BE, self.dims)
        return vectors_BE.cpu().numpy()

    @torch.inference_mode()
    def picture_features(self, squares: list[np.ndarray]) -> PictureFeatures:
        """The decoder's pictures for (side, side, 3) uint8 squares; what the tower saw is kept by content."""
        keys = [hashlib.sha256(square.tobytes()).digest() for square in squares]
        known = self._seen.get(keys)
        missing = {key: square for key, square in zip(keys, squares, strict=True) if key not in known}
        if missing or not squares:
            made = self.model.see(self.processor.pixels(list(missing.values())).to(self.device))
            if not squares:
                return self.model.project(made)
            # A clone of a row, so that one kept picture does not hold its whole batch in memory.
            fresh = {key: made.map(partial(_row, row=row)) for row, key in enumerate(missing)}
            self._seen.put(fresh)
            known |= fresh
        kept = [known[key] for key in keys]
        return self.model.project(
            SeenPictures(
                torch.stack([one.grid_NKV for one in kept]),
                torch.stack([one.pooled_NP for one in kept]),
                tuple(torch.stack(level) for level in zip(*(one.deep for one in kept), strict=True)),
            )
        )


def _row(values: torch.Tensor, row: int) -> torch.Tensor:
    return values[row].clone()


def core_regions(
    config: ModelConfig, regions: RegionsConfig, weights_dir: Path, store: RegionStore | None
) -> CoreFinder | None:
    """What finds core regions for this model; None when it is fed none."""
    if not config.use_crops:
        return None
    return CoreRegions(make_detector(regions, weights_dir), make_chooser(regions), store)


class _SeenCache:
    """What the tower saw, a picture at a time; least recently used out first; safe under threads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: OrderedDict[bytes, SeenPictures] = OrderedDict()
        self._lock = Lock()

    def get(self, keys: list[bytes]) -> dict[bytes, SeenPictures]:
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
        return found

    def put(self, fresh: dict[bytes, SeenPictures]) -> None:
        with self._lock:
            self._kept |= fresh
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)


def _chunks(items: Iterable[tuple[str, Encoded]], size: int) -> Iterator[list[tuple[str, Encoded]]]:
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk
