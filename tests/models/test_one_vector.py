"""An item has one vector: alone, among others, padded on either side, after save and load; in fp32 and under bf16."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from catalog import ProductItem, QueryItem
from models.batch import collate
from models.encoder import MoonEncoder
from models.folder import write_model_folder
from models.pictures import PictureMaker
from models.processor import Encoded, Processor
from tests.models import shop
from tests.models.inside_models import TOKENIZER, item, lively

LEAST_COSINE = {"fp32": 0.99999, "bf16": 0.999}
PRODUCTS = [
    item(shop.noise(1), shop.noise(2), product_id="both"),
    item(shop.noise(3), title="blue box", category=(), attributes={}, product_id="short"),
    item(shop.noise(4), shop.noise(5), title="red mug for the kitchen " * 6, product_id="long"),
    item(title="red", product_id="words"),
    item(shop.noise(6), title=None, category=(), attributes={}, product_id="photo"),
]
QUERIES = [
    QueryItem("words", "red mug for the kitchen, blue box for the mug", None),
    QueryItem("word", "box", None),
    QueryItem("photo", None, shop.photo_of(shop.noise(7))),
    QueryItem("both", "red", shop.photo_of(shop.noise(8))),
]
SIDES: dict[str, Sequence[ProductItem | QueryItem]] = {"products": PRODUCTS, "queries": QUERIES}


def _precision(name: str) -> AbstractContextManager[object]:
    """An encoder computes in the fp32 of its weights; bf16 comes from autocast around it, as in a training's step."""
    return torch.autocast("cpu", torch.bfloat16) if name == "bf16" else nullcontext()


@cache
def _model(name: str) -> MoonEncoder:
    """Every weight and gate counts, so that nothing hides behind a zero."""
    model = lively(**shop.MODELS[name]().model_dump()).model
    pictures = PictureMaker(model.config.image_side_px, shop.regions())
    return MoonEncoder(model, Processor.of(TOKENIZER, model.config, pictures), "digest")


def _fresh(name: str) -> MoonEncoder:
    """Without kept pictures."""
    known = _model(name)
    return MoonEncoder(known.model, known.processor, "digest")


def _embed(encoder: MoonEncoder, side: str, items: Sequence[ProductItem | QueryItem]) -> np.ndarray:
    embed = encoder.embed_products if side == "products" else encoder.embed_queries
    return embed(items)  # type: ignore[arg-type]


def _encoded(encoder: MoonEncoder, side: str) -> list[Encoded]:
    make = encoder.processor.product if side == "products" else encoder.processor.query
    return [make(one) for one in SIDES[side]]  # type: ignore[arg-type]


@torch.inference_mode()
def _padded(encoder: MoonEncoder, side: str, padding: Literal["left", "right"]) -> np.ndarray:
    """All items in one batch as long as the longest."""
    made = _encoded(encoder, side)
    sequences, squares = [one.sequence for one in made], [square for one in made for square in one.squares]
    pad_id = encoder.processor.template.pad_id
    batch = collate(sequences, range(len(squares)), encoder.processor.pixels(squares), pad_id, padding)
    assert batch.ids_BL.shape[1] > min(len(one) for one in sequences)
    return encoder.model(batch).float().numpy()


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one.astype(np.float64) * other).sum(axis=1).min())


@pytest.mark.parametrize("side", list(SIDES))
@pytest.mark.parametrize("precision", list(LEAST_COSINE))
@pytest.mark.parametrize("name", list(shop.MODELS))
def test_alone_in_a_batch_and_padded(name: str, precision: str, side: str) -> None:
    items, least = SIDES[side], LEAST_COSINE[precision]
    with _precision(precision):
        together = _embed(_fresh(name), side, items)
        others = {
            "alone": np.concatenate([_embed(_fresh(name), side, [one]) for one in items]),
            "in another order": _embed(_fresh(name), side, items[::-1])[::-1],
            "padded right": _padded(_fresh(name), side, "right"),
            "padded left": _padded(_fresh(name), side, "left"),
        }
    for how, vectors in others.items():
        assert _cosine(together, vectors) >= least, how
    # The comparison can fail: other items have other vectors.
    cosines = together @ together.T - 2 * np.eye(len(items))
    assert cosines.max() < least - 1e-3
    if precision == "bf16":
        # Autocast was at work, and stays near fp32.
        precise = _embed(_fresh(name), side, items)
        assert not np.array_equal(together, precise)
        assert _cosine(together, precise) >= least


@pytest.mark.parametrize("side", list(SIDES))
@pytest.mark.parametrize("precision", list(LEAST_COSINE))
@pytest.mark.parametrize("name", list(shop.MODELS))
def test_after_save_and_load(name: str, precision: str, side: str, tmp_path: Path) -> None:
    ours = _fresh(name)
    regions = shop.regions()
    write_model_folder(tmp_path / "model", ours.model, TOKENIZER, shop.REGIONS, regions.digest, {})
    theirs = MoonEncoder.load(tmp_path / "model", device="cpu")
    with _precision(precision):
        assert _cosine(_embed(ours, side, SIDES[side]), _embed(theirs, side, SIDES[side])) >= LEAST_COSINE[precision]
