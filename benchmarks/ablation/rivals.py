"""Rivals that learn nothing, judged on the same folds by the same code."""

from __future__ import annotations

import hashlib

from benchmarks.ablation.protocol import Setup
from catalog import Catalog, ConfigError, Embedder, ImageLimits, Side, Splits
from models.backbones import load_backbone, picture_layout
from models.encoder import MoonEncoder
from models.moon import MoonModel
from models.pictures import PictureMaker
from models.processor import Processor
from models.regions import CoreRegions
from models.rivals import UNTRAINED_SEED, FrozenVision
from models.tokenizer import catalog_texts, train_tokenizer
from validation.benchmark import BenchmarkRecord, build_eval_set, judge
from validation.rivals import ColourHistogram, RandomVectors, TitleWordOverlap
from validation.rivals.majority import MAJORITY, judge_majority
from validation.statistics import Outcome


def judge_baseline(
    name: str,
    setup: Setup,
    seed: int,
    catalog: Catalog,
    splits: Splits,
    side: Side,
    regions: CoreRegions,
    limits: ImageLimits,
) -> tuple[BenchmarkRecord, dict[str, Outcome]]:
    """Judge one of `arms.BASELINES`.

    Raises:
        ConfigError: No baseline has this name.
    """
    eval_set = build_eval_set(catalog, splits, setup.benchmark, side)
    if name == MAJORITY:
        return judge_majority(eval_set, setup.benchmark)
    encoder: Embedder
    if name == "title_words":
        encoder = TitleWordOverlap(catalog)
    elif name == "colour_histogram":
        encoder = ColourHistogram()
    elif name == "random":
        encoder = RandomVectors(seed=seed)
    elif name in ("untrained", "frozen_vision"):
        untrained = untrained_encoder(setup, seed, catalog, splits, regions, limits)
        encoder = untrained if name == "untrained" else FrozenVision(untrained)
    else:
        raise ConfigError("no baseline has this name", got=name)
    return judge(encoder, eval_set, setup.benchmark)


def untrained_encoder(
    setup: Setup, seed: int, catalog: Catalog, splits: Splits, regions: CoreRegions, limits: ImageLimits
) -> MoonEncoder:
    """Full with weights that no training starts from (pretrained ones as they come).

    Neither the weights of rare words nor the whitened start of the raw signals: both are taken from the train side, and
    so belong to what training is worth.
    """
    model = setup.model
    loaded = load_backbone(model, UNTRAINED_SEED + seed)
    tokenizer = loaded[1] if loaded else train_tokenizer(catalog_texts(catalog, splits), model.nano.vocab_size)
    assert tokenizer is not None
    pictures = PictureMaker(picture_layout(model).side_px, regions if model.crops != "none" else None, limits)
    moon = MoonModel.seeded(model, tokenizer.get_vocab_size(), UNTRAINED_SEED + seed, loaded[0] if loaded else None)
    digest = hashlib.sha256(f"untrained:{seed}:{setup.model_dump_json()}".encode()).hexdigest()
    return MoonEncoder(moon, Processor.of(tokenizer, model, pictures), digest, name="untrained")
