"""A tiny model and a step of it, for the tests of the estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from models.batch import Batch, TokenSequence, collate
from models.bucketing import bucket
from models.config import ModelConfig, MoeConfig
from models.moon import MoonModel
from models.tokens import TokenType
from models.training.workload import Workload

SIDE, PER_PICTURE = 32, 4
VOCABULARY = 300


def make_model(moe: MoeConfig, **nano: int) -> MoonModel:
    sizes = {
        "hidden_size": 64,
        "num_layers": 3,
        "num_heads": 4,
        "ffn_size": 160,
        "vision_hidden_size": 48,
        "vision_depth": 2,
        "vision_num_heads": 2,
        "vision_ffn_size": 96,
        "patch_px": 8,
    }
    config = ModelConfig.model_validate({"nano": sizes | nano, "moe": moe, "image_side_px": SIDE, "embedding_dims": 32})
    return MoonModel.seeded(config, VOCABULARY, 0).train()


def make_views() -> dict[str, Batch]:
    """Products of a picture and words, and queries of words, none of equal length."""

    def sequence(num_pictures: int, words: list[TokenType]) -> TokenSequence:
        types = [TokenType.IMAGE] * (num_pictures * PER_PICTURE) + words
        return TokenSequence(
            [7] * len(types), [int(one) for one in types], [(i,) * 3 for i in range(len(types))], num_pictures
        )

    slots = [TokenType.CATEGORY_SLOT, TokenType.ATTRIBUTE_SLOT]
    products = [sequence(1, [TokenType.TITLE] * n + [TokenType.CATEGORY] * 3 + slots) for n in (20, 26, 33, 40)]
    queries = [sequence(0, [TokenType.TITLE] * n + slots) for n in (9, 12, 14, 30)]
    pixels = torch.randn(4, 3, SIDE, SIDE)
    return {
        "products": replace(collate(products, range(4)), pixels_NCHW=pixels),
        "queries": replace(collate(queries, []), pixels_NCHW=pixels[:0]),
    }


def make_work(views: Mapping[str, Batch], **changes: object) -> Workload:
    plans = {name: bucket(view.mask_BL.sum(dim=1).tolist(), rows_per_chunk=2) for name, view in views.items()}
    work = Workload(views, plans, num_pictures=4, picture_px=SIDE, pairs=4, steps=100)
    return replace(work, **changes)  # type: ignore[arg-type]


def run_step(model: MoonModel, work: Workload) -> torch.Tensor:
    pictures = model.encode_pictures(work.views["products"].pixels_NCHW)
    vectors = [
        model(view.rows(torch.tensor(rows)), pictures)
        for name, view in work.views.items()
        for rows in work.plans[name].chunks
    ]
    return torch.cat(vectors).square().sum()
