"""The encoder that everything uses: products, queries and label texts to unit vectors."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from catalog import ImageError, ImageLimits, ModelError, MoonError, ProductItem, QueryItem, check_vectors
from models.backbones import PictureFeatures, SeenPictures, picture_layout
from models.backbones.places import places
from models.batch import collate
from models.bucketing import bucket
from models.config import Crops, ModelConfig
from models.crops import crops_digest, with_crops
from models.devices import choose_device
from models.folder import read_model_folder
from models.heads import matryoshka
from models.lengths import check_length
from models.moon import MoonModel
from models.pictures import PictureMaker
from models.prefix import check_dims, prefix_digest
from models.processor import Encoded, Processor
from models.regions import CoreRegions, RegionsConfig, RegionStore, make_chooser, make_detector

BATCH_SIZE, MAX_ROWS = 64, 16
"""Items read at a time, and rows of like length encoded together."""
CACHE_BYTES = 1 << 30
"""Most memory for the tower features that are kept: an evaluation embeds the same products under many hide sets, and
only the decoder's part of the work differs. Bytes, not pictures, because one takes from 5 KB (nano) to 1.6 MB (Qwen3-VL
2B at 224 px), and no more, because every worker of a service holds a cache of its own."""
DEVICE_KEY = "serving.device (the argument device of MoonEncoder.load)"


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
        # Not the model's own: it may be fed fewer crops than it was trained with.
        self.config: ModelConfig = processor.config
        self.dims = check_dims(self.config, dims)
        self.digest = prefix_digest(digest, self.config, self.dims)
        weights = list(self.model.parameters())
        self.num_parameters = sum(own.numel() for own in weights)
        self.num_bytes = sum(own.numel() * own.element_size() for own in weights)
        self._seen = _SeenCache(CACHE_BYTES)
        self._places = places(model.backbone)  # type: ignore[arg-type]

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str = "auto",
        store: RegionStore | None = None,
        limits: ImageLimits = ImageLimits(),
        dims: int | None = None,
        crops: Crops | None = None,
        regions: CoreRegions | None = None,
    ) -> MoonEncoder:
        """Read a model folder.

        Args:
            folder: With `model.safetensors`, `config.json`, `tokenizer.json` and `lineage.json`.
            device: `auto`, `cpu`, `cuda`, or one GPU of several, such as `cuda:1`.
            store: Core-region candidates found before; without it they are found when needed.
            limits: What a photograph may cost.
            dims: Length of the vectors, as in the constructor.
            crops: Feed fewer crops than the model was trained with; none: no detector is needed. None: as trained.
            regions: What finds core regions, for a caller that has it already; None: as the folder says.

        Raises:
            ModelError: The folder is incomplete, damaged, of another schema, its core regions cannot be had here, its
                model was not trained for vectors of `dims` numbers or with these crops, or the device is not there.
        """
        folder = Path(folder)
        where, _ = choose_device(device, DEVICE_KEY)
        found = read_model_folder(folder)
        config = with_crops(found.config, crops)
        if regions is None or config.crops == "none":
            regions = core_regions(config, found.regions, folder, store)
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
        processor = Processor.of(found.tokenizer, found.config, pictures, spec).configured(config)
        digest = crops_digest(found.digest, found.config, crops)
        return cls(found.model, processor, digest, found.lineage, where, dims=dims)

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        """Vectors of products without the hidden fields.

        Returns:
            (N, dims) float32, L2-normalised, in the order given.

        Raises:
            ModelError, ImageError: Names the product: its fields or photographs cannot be used, or a table of positions
                cannot hold it.
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
            for name, encoded in chunk:
                check_length(encoded.sequence, self._places, name)
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
        parts = []
        if missing or not squares:
            parts.append(self.model.see(self.processor.pixels(list(missing.values())).to(self.device)))
            self._seen.put(list(missing), parts[0])
        if known:
            parts.append(_joined(list(known.values()), torch.stack).map(lambda values: values.to(self.device)))
        place = {key: row for row, key in enumerate([*missing, *known])}
        rows_N = torch.tensor([place[key] for key in keys], device=self.device, dtype=torch.long)
        return self.model.project(_joined(parts, torch.cat).map(lambda values: values.index_select(0, rows_N)))


def _joined(parts: list[SeenPictures], join: Callable[[list[torch.Tensor]], torch.Tensor]) -> SeenPictures:
    return SeenPictures(
        join([one.grid_NKV for one in parts]),
        join([one.pooled_NP for one in parts]),
        tuple(join(list(level)) for level in zip(*(one.deep for one in parts), strict=True)),
    )


def core_regions(
    config: ModelConfig, regions: RegionsConfig, weights_dir: Path, store: RegionStore | None
) -> CoreRegions | None:
    """What finds core regions for this model; None when it is fed none."""
    if config.crops == "none":
        return None
    return CoreRegions(make_detector(regions, weights_dir), make_chooser(regions), store)


class _SeenCache:
    """What the tower saw, a picture at a time, in the machine's memory: a GPU's is for the model and its batch.

    Least recently used out first; safe under threads.

    Args:
        max_bytes: Never exceeded; a picture that alone is larger is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.num_bytes = max_bytes, 0
        self._kept: OrderedDict[bytes, SeenPictures] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, keys: list[bytes]) -> dict[bytes, SeenPictures]:
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
        return found

    def put(self, keys: list[bytes], seen: SeenPictures) -> None:
        """Keep the pictures of `seen`, whose row n is that of key n."""
        if not keys:
            return
        on_cpu = seen.map(torch.Tensor.cpu)
        size = _num_bytes(on_cpu) // len(keys)
        if size > self.max_bytes:
            return
        with self._lock:
            for row, key in enumerate(keys):
                if key in self._kept:  # another thread was faster
                    continue
                while self.num_bytes + size > self.max_bytes:
                    self.num_bytes -= _num_bytes(self._kept.popitem(last=False)[1])
                self._kept[key] = on_cpu.map(partial(_row, row=row))
                self.num_bytes += size


def _row(values: torch.Tensor, row: int) -> torch.Tensor:
    """A clone, so that one kept picture does not hold its whole batch in memory."""
    return values[row].clone()


def _num_bytes(seen: SeenPictures) -> int:
    return sum(one.nbytes for one in (seen.grid_NKV, seen.pooled_NP, *seen.deep))


def _chunks(items: Iterable[tuple[str, Encoded]], size: int) -> Iterator[list[tuple[str, Encoded]]]:
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk
