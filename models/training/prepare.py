"""What stands before the first step: pairs, pictures, tower features, model and losses."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from catalog import Catalog, ImageLimits, Side, Splits
from models.backbones import load_backbone, picture_layout
from models.colours import code_digest
from models.config import ModelConfig, TrainConfig
from models.lengths import check_longest
from models.moon import MoonModel
from models.pairs import PairTable, build_pairs, usable_photos
from models.pictures import PictureMaker
from models.pooling import rarity
from models.processor import Processor
from models.regions import CoreRegions
from models.tokenizer import catalog_texts, text_ids, train_tokenizer
from models.training.costs import check_experts_fit
from models.training.data import TrainSet
from models.training.objective import Objective
from models.training.parameters import ParameterReport, add_lora, choose_trainable
from models.training.picture_features import FeaturePlan, FeatureStore, StoredFeatures, picture_key, tower_digest
from models.training.picture_store import PictureStore, Shot, fill_picture_store
from models.training.ranks import Ranks
from models.training.raw_start import start_residuals
from models.training.recompute import recompute_activations
from models.training.sampler import BatchSampler, category_key
from models.training.slots import shots_of
from models.training.views import label_fields

_log = logging.getLogger(__name__)
MAX_COUNTED_TOKENS = 4096


@dataclass
class Prepared:
    """Everything a training stands on before its first step."""

    processor: Processor
    dataset: TrainSet
    table: PairTable
    model: MoonModel
    objective: Objective
    report: ParameterReport


def prepare(
    catalog: Catalog,
    splits: Splits,
    model: ModelConfig,
    train: TrainConfig,
    regions: CoreRegions,
    work_dir: Path,
    limits: ImageLimits = ImageLimits(),
    features_dir: Path | None = None,
    ranks: Ranks = Ranks(),
    device: torch.device = torch.device("cpu"),
) -> Prepared:
    """Pairs, pictures, model and losses, as the first step finds them.

    Args:
        catalog: Rows and photographs.
        splits: Sides of products and queries.
        model: What to train.
        train: How.
        regions: Finds core regions.
        work_dir: For decoded pictures.
        limits: What a photograph may cost.
        features_dir: Where features of a frozen tower are shared between trainings; in `work_dir` where empty.
        ranks: This process among those that train together.
        device: Where a frozen tower looks at the pictures.
    """
    loaded = load_backbone(model, train.seed)
    texts = catalog_texts(catalog, splits)
    tokenizer = loaded[1] if loaded else train_tokenizer(texts, model.nano.vocab_size)
    check_experts_fit(model, loaded[0] if loaded else None, device, train.num_processes)
    layout = picture_layout(model)
    finder = regions if model.use_crops else None
    processor = Processor.of(tokenizer, model, PictureMaker(layout.side_px, finder, limits))
    moon = MoonModel.seeded(model, tokenizer.get_vocab_size(), train.seed, loaded[0] if loaded else None)
    check_longest(processor, moon.backbone)  # type: ignore[arg-type]
    if model.word_weights == "rare":
        moon.token_weights.copy_(_token_weights(tokenizer, texts))
    table = build_pairs(catalog, splits, train)
    with_pair = list(table.by_product)
    category_of = {key: category_key(catalog.by_id[key].category, train.hard_negative_level) for key in with_pair}
    sampler = BatchSampler(with_pair, category_of, train.batch_size, train.hard_negatives_per_query, train.seed)
    fields = label_fields([catalog.by_id[key] for key in splits.product_ids(Side.TRAIN)])
    dataset = TrainSet(catalog, table, fields, sampler, processor, PictureStore(work_dir, {}), train, ranks=ranks)
    max_photos = max((len(photos) for photos in dataset.photos.values()), default=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(train.seed)
        if train.parameters.train == "lora":
            add_lora(moon.backbone, train.parameters.lora)  # type: ignore[arg-type]
        objective = Objective(moon, model, train, max(1, max_photos))
    report = choose_trainable(
        objective,
        train.parameters,
        backbone=moon.backbone,  # type: ignore[arg-type]
        vision=moon.backbone.vision_parameters(),
        experts=moon.expert_parameters(),
    )
    if train.gradient_checkpointing:
        recompute_activations(moon)
    dataset.store = decode_pictures(catalog, table, model, regions, work_dir, limits)
    frozen = not any(parameter.requires_grad for parameter in moon.backbone.vision_parameters())
    if frozen and train.feature_variants:
        dataset.features = keep_features(moon, dataset, train, features_dir or work_dir / "features", device)
    if model.residual_start == "whitened":
        start_residuals(moon, dataset, device)
    return Prepared(processor, dataset, table, moon, objective, report)


def decode_pictures(
    catalog: Catalog,
    table: PairTable,
    model: ModelConfig,
    regions: CoreRegions,
    work_dir: Path,
    limits: ImageLimits = ImageLimits(),
) -> PictureStore:
    """Squares of every photograph of the training; from disk where they are there already."""
    products = [catalog.by_id[key] for key in sorted(table.by_product)]
    photos = {product.product_id: usable_photos(catalog, product) for product in products}
    side_px = picture_layout(model).side_px
    return fill_picture_store(
        work_dir,
        shots_of(products, photos, table),
        PictureMaker(side_px, regions if model.use_crops else None, limits, max_cached=0),
        2 if model.use_crops else 1,
        f"{regions.digest}:{side_px}",
        _Every(20.0, "decoded %d of %d photographs"),
    )


def keep_features(
    moon: MoonModel, dataset: TrainSet, train: TrainConfig, folder: Path, device: torch.device = torch.device("cpu")
) -> StoredFeatures:
    """What the frozen tower makes of every picture of the training, each in its variants; from disk where it can."""
    backbone, processor = moon.backbone.eval(), dataset.processor  # type: ignore[attr-defined]
    tensors = [*backbone.vision_parameters(), *(one for _, one in sorted(backbone.named_buffers()))]
    digest = tower_digest(
        tensors, backbone.spec() | ({"colours": code_digest()} if moon.config.colour_residual else {})
    )
    seed = 1  # not the training's: trainings under other seeds may share what the tower saw
    views = range(2 if processor.config.use_crops else 1)
    squares: dict[str, np.ndarray] = {}
    refs: dict[str, str] = {}
    keys: dict[str, str] = {}
    assert dataset.store is not None
    for shot in dataset.shots():
        for view in views:
            square = dataset.store.squares(shot)[view]
            content = hashlib.sha256(square.tobytes()).hexdigest()
            keys[picture_key(shot.key, view)] = content
            squares.setdefault(content, square)
            refs.setdefault(content, shot.photo.ref)
    strong_keys = {
        keys[picture_key(Shot(pair.photo, pair.text).key, view)]
        for pair in dataset.table.pairs()
        if pair.photo and pair.is_crop
        for view in views
    }
    stores = []
    for strong, wanted in ((False, sorted(squares)), (True, sorted(strong_keys))):
        plan = FeaturePlan(digest, processor.layout, train.augment, train.feature_variants, strong, seed)
        store = FeatureStore(folder, plan)
        made = store.fill(
            wanted,
            squares.__getitem__,
            lambda pixels_NCHW: moon.to(device).see(pixels_NCHW.to(device)),
            processor.normalised,
            progress=_Every(20.0, "the vision tower has seen %d of %d pictures"),
            named=refs.__getitem__,
        )
        if wanted:
            told = "strong crops of %d pictures" if strong else "%d pictures"
            _log.info(f"tower features of {told}: %d new, %d kept from before", len(wanted), made, len(wanted) - made)
        stores.append(store)
    moon.cpu()
    return StoredFeatures(stores[0], stores[1] if strong_keys else None, keys)


def _token_weights(tokenizer: Tokenizer, texts: Sequence[str]) -> torch.Tensor:
    counts = torch.zeros(tokenizer.get_vocab_size(), dtype=torch.long)
    for text in texts:
        ids = torch.tensor(text_ids(tokenizer, text, MAX_COUNTED_TOKENS), dtype=torch.long)
        counts += torch.bincount(ids, minlength=len(counts))
    return rarity(counts, int(counts.sum()))


class _Every:
    """Logs progress at most once in `seconds`."""

    def __init__(self, seconds: float, message: str) -> None:
        self.seconds, self.message, self.last = seconds, message, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last >= self.seconds:
            self.last = now
            _log.info(self.message, done, total)
