"""What stands before the first step: pairs, model and losses, and then pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from catalog import Catalog, ImageLimits, Side, Splits
from models.backbones import load_backbone, picture_layout
from models.config import ModelConfig, TrainConfig
from models.lengths import check_longest
from models.moon import MoonModel
from models.pairs import PairTable, build_pairs
from models.pictures import PictureMaker
from models.pooling import rarity
from models.processor import Processor
from models.regions import CoreRegions
from models.tokenizer import catalog_texts, text_ids, train_tokenizer
from models.training.costs import check_experts_fit
from models.training.data import TrainSet
from models.training.objective import Objective
from models.training.parameters import ParameterReport, add_lora, choose_trainable
from models.training.ranks import Ranks
from models.training.recompute import recompute_activations
from models.training.sampler import BatchSampler, category_key
from models.training.sight import Sight
from models.training.views import label_fields

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
    """Pairs, model, losses and pictures, as the first step finds them.

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

    Raises:
        MoonError: As `assemble` and `Sight.open` say.
    """
    prepared = assemble(catalog, splits, model, train, regions, limits, ranks, device)
    Sight(prepared.model, prepared.dataset, regions, work_dir, features_dir, limits, device).open()
    return prepared


def assemble(
    catalog: Catalog,
    splits: Splits,
    model: ModelConfig,
    train: TrainConfig,
    regions: CoreRegions,
    limits: ImageLimits = ImageLimits(),
    ranks: Ranks = Ranks(),
    device: torch.device = torch.device("cpu"),
) -> Prepared:
    """Everything that needs no photograph decoded: of the batches only outlines can be asked for.

    Args:
        catalog: Rows and photographs.
        splits: Sides of products and queries.
        model: What to train.
        train: How.
        regions: Finds core regions.
        limits: What a photograph may cost.
        ranks: This process among those that train together.
        device: Where the model will learn.

    Raises:
        ModelError: Too few pairs, weights that cannot be used, more experts than fit, or budgets that allow longer
            sequences than the decoder has positions.
    """
    loaded = load_backbone(model, train.seed)
    texts = catalog_texts(catalog, splits)
    tokenizer = loaded[1] if loaded else train_tokenizer(texts, model.nano.vocab_size)
    check_experts_fit(model, loaded[0] if loaded else None, device, train.num_processes)
    layout = picture_layout(model)
    finder = regions if model.crops != "none" else None
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
    dataset = TrainSet(catalog, table, fields, sampler, processor, None, train, ranks=ranks)
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
    return Prepared(processor, dataset, table, moon, objective, report)


def _token_weights(tokenizer: Tokenizer, texts: Sequence[str]) -> torch.Tensor:
    counts = torch.zeros(tokenizer.get_vocab_size(), dtype=torch.long)
    for text in texts:
        ids = torch.tensor(text_ids(tokenizer, text, MAX_COUNTED_TOKENS), dtype=torch.long)
        counts += torch.bincount(ids, minlength=len(counts))
    return rarity(counts, int(counts.sum()))
