"""The training itself: pairs, pictures, Lightning, model folder."""

from __future__ import annotations

import hashlib
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from tokenizers import Tokenizer
from torch.utils.data import DataLoader

from catalog import Catalog, Embedder, ImageLimits, Side, Splits
from models.backbones import load_backbone, picture_layout
from models.config import ModelConfig, TrainConfig
from models.devices import choose_device, choose_precision
from models.encoder import MoonEncoder
from models.folder import write_model_folder
from models.moon import MoonModel
from models.pairs import PairTable, build_pairs
from models.pictures import PictureMaker
from models.pooling import rarity
from models.processor import Processor
from models.regions import CoreRegions, RegionsConfig
from models.tokenizer import catalog_texts, text_ids, train_tokenizer
from models.training.data import TrainBatch, TrainSet
from models.training.module import MoonModule
from models.training.objective import Objective
from models.training.parameters import ParameterReport, add_lora, choose_trainable, merge_lora
from models.training.picture_features import FeaturePlan, FeatureStore, StoredFeatures, picture_key, tower_digest
from models.training.picture_store import PictureStore, Shot, fill_picture_store
from models.training.progress import Progress
from models.training.record import TrainingRecord
from models.training.sampler import BatchSampler, category_key
from models.training.signals import StopOnSigterm, ignore_sigterm
from models.training.views import label_fields
from models.training.workdir import load_checkpoint, locked

_log = logging.getLogger(__name__)
MAX_COUNTED_TOKENS = 4096


def train(
    catalog: Catalog,
    splits: Splits,
    *,
    model: ModelConfig,
    train: TrainConfig,
    regions: CoreRegions,
    regions_config: RegionsConfig,
    work_dir: str | Path,
    out_dir: str | Path,
    logger: Logger | None = None,
    score: Callable[[Embedder], float] | None = None,
    lineage: dict[str, str] | None = None,
    limits: ImageLimits = ImageLimits(),
    features_dir: Path | None = None,
) -> TrainingRecord:
    """Train a model on the train side and write its folder.

    A run that was killed goes on from its last checkpoint when it is started again with the same `work_dir`, and ends
    where an uninterrupted run would have.

    Args:
        catalog: Rows and photographs.
        splits: Sides of products and queries.
        model: What to train.
        train: How.
        regions: Finds core regions.
        regions_config: Written with the model, so that whoever loads it finds the same regions.
        work_dir: Decoded pictures and checkpoints of this very training; locked while in use.
        out_dir: Place of the model folder; replaced whole.
        logger: Lightning logger for curves.
        score: Judges the finished encoder; for the record only, the last weights are the ones kept.
        lineage: Commit, data digest, code digest; written with the model.
        limits: What a photograph may cost.
        features_dir: Where features of a frozen tower are shared between trainings; in `work_dir` where empty.

    Raises:
        ModelError: Too few pairs, a loss or weight that is not finite, a checkpoint of another training.
        StorageError: Working or model folder cannot be written, or is in use.
        ImageError: A photograph cannot be read any more.
    """
    work_dir, out_dir = Path(work_dir), Path(out_dir)
    with locked(work_dir):
        if train.num_threads:
            torch.set_num_threads(train.num_threads)
        device, device_reason = choose_device(train.device)
        prepared = prepare(catalog, splits, model, train, regions, work_dir, limits, features_dir)
        fingerprint = _fingerprint(catalog, splits, model, train, regions, prepared.processor)
        precision, precision_reason = choose_precision(train.precision, device, prepared.model.backbone.hidden_size)
        module, resumed_from = _module(prepared, train, work_dir, fingerprint, score)
        _announce(module, prepared, splits, device, device_reason, precision, precision_reason)
        started = time.monotonic()
        if resumed_from < train.steps:
            _fit(module, prepared.dataset, train, resumed_from, device, precision, logger)
        seconds = time.monotonic() - started
        module.settle()
        trained = module.objective.model.eval().cpu()
        merge_lora(trained)
        tokenizer = prepared.processor.tokenizer
        digest = write_model_folder(out_dir, trained, tokenizer, regions_config, regions.digest, lineage or {})
        encoder = MoonEncoder(trained, prepared.processor, digest, lineage, device)
        done = module.step - resumed_from
        return TrainingRecord(
            digest=digest,
            model_folder=str(out_dir),
            steps=module.step,
            resumed_from_step=resumed_from,
            seconds=module.seconds if done else module.seconds_before,
            samples_per_s=done * prepared.dataset.sampler.batch_size / max(seconds, 1e-9),
            num_parameters=sum(parameter.numel() for parameter in trained.parameters()),
            num_trainable=prepared.report.trainable,
            num_products=len(prepared.dataset.products),
            num_pairs=prepared.table.counts(),
            dropped=dict(prepared.table.dropped) | splits.dropped,
            device=str(device),
            precision=precision,
            final=module.last_report or (module.history[-1] if module.history else {}),
            score=score(encoder) if score is not None else None,
            history=module.history,
        )


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
    """
    loaded = load_backbone(model)
    texts = catalog_texts(catalog, splits)
    tokenizer = loaded[1] if loaded else train_tokenizer(texts, model.nano.vocab_size)
    layout = picture_layout(model)
    finder = regions if model.use_crops else None
    maker = PictureMaker(layout.side_px, finder, limits, max_cached=0)
    processor = Processor.of(tokenizer, model, PictureMaker(layout.side_px, finder, limits))
    moon = MoonModel.seeded(model, tokenizer.get_vocab_size(), train.seed, loaded[0] if loaded else None)
    if model.word_weights == "rare":
        moon.token_weights.copy_(_token_weights(tokenizer, texts))
    table = build_pairs(catalog, splits, train)
    with_pair = list(table.by_product)
    category_of = {key: category_key(catalog.by_id[key].category, train.hard_negative_level) for key in with_pair}
    sampler = BatchSampler(with_pair, category_of, train.batch_size, train.hard_negatives_per_query, train.seed)
    fields = label_fields([catalog.by_id[key] for key in splits.product_ids(Side.TRAIN)])
    dataset = TrainSet(catalog, table, fields, sampler, processor, PictureStore(work_dir, {}), train)
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
    dataset.store = fill_picture_store(
        work_dir,
        dataset.shots(),
        maker,
        2 if model.use_crops else 1,
        f"{regions.digest}:{layout.side_px}",
        _Every(20.0, "decoded %d of %d photographs"),
    )
    frozen = not any(parameter.requires_grad for parameter in moon.backbone.vision_parameters())
    if frozen and train.feature_variants:
        dataset.features = keep_features(moon, dataset, train, features_dir or work_dir / "features")
    return Prepared(processor, dataset, table, moon, objective, report)


def keep_features(moon: MoonModel, dataset: TrainSet, train: TrainConfig, folder: Path) -> StoredFeatures:
    """What the frozen tower makes of every picture of the training, each in its variants; from disk where it can."""
    backbone, processor = moon.backbone.eval(), dataset.processor  # type: ignore[attr-defined]
    tensors = [*backbone.vision_parameters(), *(one for _, one in sorted(backbone.named_buffers()))]
    digest = tower_digest(tensors, backbone.spec())
    seed = 1  # not the training's: trainings under other seeds may share what the tower saw
    views = range(2 if processor.config.use_crops else 1)
    squares: dict[str, np.ndarray] = {}
    keys: dict[str, str] = {}
    for shot in dataset.shots():
        for view in views:
            square = dataset.store.squares(shot)[view]
            content = hashlib.sha256(square.tobytes()).hexdigest()
            keys[picture_key(shot.key, view)] = content
            squares.setdefault(content, square)
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
            backbone.see,
            processor.normalised,
            progress=_Every(20.0, "the vision tower has seen %d of %d pictures"),
        )
        _log.info("tower features of %d pictures: %d new, %d kept from before", len(wanted), made, len(wanted) - made)
        stores.append(store)
    return StoredFeatures(stores[0], stores[1] if strong_keys else None, keys)


def _token_weights(tokenizer: Tokenizer, texts: Sequence[str]) -> torch.Tensor:
    counts = torch.zeros(tokenizer.get_vocab_size(), dtype=torch.long)
    for text in texts:
        ids = torch.tensor(text_ids(tokenizer, text, MAX_COUNTED_TOKENS), dtype=torch.long)
        counts += torch.bincount(ids, minlength=len(counts))
    return rarity(counts, int(counts.sum()))


def _module(
    prepared: Prepared,
    train: TrainConfig,
    work_dir: Path,
    fingerprint: str,
    score: Callable[[Embedder], float] | None,
) -> tuple[MoonModule, int]:
    objective = prepared.objective

    def judge() -> float:
        assert score is not None
        # What an encoder remembers of pictures is older than the weights by the next judgement.
        return score(MoonEncoder(prepared.model, prepared.processor, f"{fingerprint}:{time.monotonic_ns()}"))

    judging = judge if score is not None else None
    state = load_checkpoint(work_dir, fingerprint)
    if state is None:
        torch.manual_seed(train.seed)
        return MoonModule(objective, train, work_dir, fingerprint, score=judging), 0
    objective.load_state_dict(state["objective"])
    torch.set_rng_state(state["torch_rng"])
    module = MoonModule(
        objective, train, work_dir, fingerprint, state["step"], state["seconds"], state["optimizer"], judging
    )
    module.go_on_from(state)
    _log.info("going on from the checkpoint at step %d of %d", module.step, train.steps)
    return module, module.step


def _fit(
    module: MoonModule,
    dataset: TrainSet,
    train: TrainConfig,
    first_step: int,
    device: torch.device,
    precision: str,
    logger: Logger | None,
) -> None:
    loader: DataLoader[TrainBatch] = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(first_step, train.steps),
        num_workers=train.num_workers,
        worker_init_fn=ignore_sigterm,
    )
    stopper = StopOnSigterm(module.checkpoint, str(module.work_dir))
    # Lightning announces devices and other products on every run; what matters was said above in our own words.
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    trainer = Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        max_epochs=1,
        logger=logger if logger is not None else False,
        callbacks=[Progress(first_step, train.steps), stopper],
        gradient_clip_val=train.clip_norm,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=train.log_every_steps,
    )
    module.train()
    with stopper.watching():
        trainer.fit(module, loader)


def _fingerprint(
    catalog: Catalog,
    splits: Splits,
    model: ModelConfig,
    train: TrainConfig,
    regions: CoreRegions,
    processor: Processor,
) -> str:
    """What a checkpoint must agree with: everything that decides the weights, and nothing that does not."""
    changes_nothing = {"num_workers", "num_threads", "checkpoint_every_steps", "log_every_steps", "max_seconds"}
    total = hashlib.sha256()
    for part in (
        catalog.digest,
        sorted((key, str(side)) for key, side in splits.side_of.items()),
        sorted(query.query_id for query in splits.queries.get(Side.TRAIN, ())),
        model.model_dump_json(),
        train.model_dump_json(exclude=changes_nothing),
        regions.digest,
        processor.tokenizer.to_str(),
    ):
        total.update(hashlib.sha256(str(part).encode()).digest())
    return total.hexdigest()


def _announce(
    module: MoonModule,
    prepared: Prepared,
    splits: Splits,
    device: torch.device,
    device_reason: str,
    precision: str,
    precision_reason: str,
) -> None:
    dataset, table, processor = prepared.dataset, prepared.table, prepared.processor
    train, sampler = dataset.config, dataset.sampler
    parameters = sum(parameter.numel() for parameter in module.objective.model.parameters())
    vision = sum(parameter.numel() for parameter in module.objective.model.backbone.vision_parameters())
    _log.info("device %s (%s), %s (%s)", device, device_reason, precision, precision_reason)
    _log.info(
        "%s parameters, %s of them vision; a picture of %d px is %d tokens",
        f"{parameters:,}",
        f"{vision:,}",
        processor.layout.side_px,
        processor.layout.num_tokens,
    )
    for line in prepared.report.lines():
        _log.info(line)
    _log.info(
        "%d steps x %d pairs = %s pairs, %.1f times over %d products; pairs to draw from: %s",
        train.steps,
        sampler.batch_size,
        f"{train.steps * sampler.batch_size:,}",
        train.steps / sampler.batches_per_epoch,
        len(dataset.products),
        ", ".join(f"{name} {count}" for name, count in table.counts().items()),
    )
    dropped: dict[str, Any] = {name: count for name, count in (dict(table.dropped) | splits.dropped).items() if count}
    without = len(splits.product_ids(Side.TRAIN)) - len(dataset.products)
    if without:
        dropped["train products without a pair"] = without
    _log.info("left out: %s", ", ".join(f"{name} {count}" for name, count in dropped.items()) or "nothing")
    kinds = {kind for pair in table.pairs() for kind in (pair.kind,)}
    for kind, share in dataset.mix.items():
        if share and kind not in kinds:
            _log.warning("the query mix asks for %s queries and there are none", kind)


class _Every:
    """Logs progress at most once in `seconds`."""

    def __init__(self, seconds: float, message: str) -> None:
        self.seconds, self.message, self.last = seconds, message, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last >= self.seconds:
            self.last = now
            _log.info(self.message, done, total)
