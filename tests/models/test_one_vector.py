"""An item has one vector: alone, among others, padded on either side, after save and load; in fp32 and under bf16."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from catalog import ProductItem, QueryItem
from models.backbones import SeenPictures
from models.batch import collate
from models.encoder import MoonEncoder, _SeenCache
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


@pytest.mark.parametrize("order", ["words_first", "pictures_first"])
@pytest.mark.parametrize("name", list(shop.MODELS))
def test_the_order_of_photographs_counts_but_little(name: str, order: str) -> None:
    """The decoder is causal: which photograph stands first moves the vector, far less than another photograph does.

    Averages do not know an order: where pictures do not enter the decoder, the vector stays what it was.
    """
    first, second, third = (shop.noise(seed) for seed in (1, 2, 3))

    def distances(fusion: str) -> tuple[float, float]:
        encoder = lively(**shop.MODELS[name](order=order, fusion=fusion).model_dump())
        vectors = encoder.embed_products([item(first, second), item(second, first), item(first, third)])
        one, swapped, another = vectors.astype(np.float64)
        return 1 - float(one @ swapped), 1 - float(one @ another)

    swapped, another = distances("decoder")
    assert 2e-6 < swapped < another / 10
    swapped, another = distances("late")
    assert abs(swapped) < 1e-6 < another / 10


def _cached(budget: int) -> MoonEncoder:
    encoder = _fresh("default")
    encoder._seen = _SeenCache(budget)
    return encoder


def _held(encoder: MoonEncoder) -> int:
    """Bytes of storage that kept pictures hold, so that a view into a batch would count whole."""
    return sum(
        one.untyped_storage().nbytes()
        for seen in encoder._seen._kept.values()
        for one in (seen.grid_NKV, seen.pooled_NP, *seen.deep)
    )


def test_kept_pictures_never_exceed_their_budget_and_change_no_vector() -> None:
    twice = [*PRODUCTS, *PRODUCTS[::-1]]
    never, always = _cached(0), _cached(1 << 30)
    expected = _embed(never, "products", twice)
    assert len(never._seen) == 0
    # The first pass is the same pass; later ones ask the tower in other batches, which rounds otherwise.
    assert np.array_equal(_embed(always, "products", twice), expected)
    assert np.allclose(_embed(always, "products", twice), expected, atol=1e-6)
    assert _held(always) == always._seen.num_bytes
    one = always._seen.num_bytes // len(always._seen)
    for pictures in (1, 2.5, 5):
        tight = _cached(int(pictures * one))
        for _ in range(2):
            for product in twice:
                _embed(tight, "products", [product])
                assert _held(tight) == tight._seen.num_bytes <= tight._seen.max_bytes
        assert len(tight._seen) == int(pictures)
        assert np.allclose(_embed(tight, "products", twice), expected, atol=1e-6)


def test_what_was_used_last_is_kept_and_the_tower_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = _cached(1 << 30)
    asked: list[int] = []
    see = encoder.model.see
    monkeypatch.setattr(encoder.model, "see", lambda pixels: asked.append(len(pixels)) or see(pixels))
    squares = {seed: np.asarray(shop.noise(seed, encoder.model.config.image_side_px)) for seed in range(1, 5)}
    made = encoder.picture_features([squares[1], squares[2], squares[1]])
    assert asked == [2]
    assert torch.equal(made.tokens_NKD[0], made.tokens_NKD[2])
    encoder._seen.max_bytes = encoder._seen.num_bytes  # room for two
    encoder.picture_features([squares[1], squares[3]])
    assert asked == [2, 1]
    encoder.picture_features([squares[3], squares[1]])
    assert asked == [2, 1]  # the second went, which was not used in the meantime
    again = encoder.picture_features([squares[2], squares[1]])
    assert asked == [2, 1, 1]
    assert torch.equal(again.tokens_NKD[1], made.tokens_NKD[0])
    assert torch.allclose(again.tokens_NKD[0], made.tokens_NKD[1], atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
def test_features_of_a_gpu_are_kept_in_the_machines_memory() -> None:
    known = _model("default")
    on_gpu = MoonEncoder(copy.deepcopy(known.model), known.processor, "digest", device=torch.device("cuda"))
    first = _embed(on_gpu, "products", PRODUCTS)
    assert len(on_gpu._seen) > 0
    assert {one.grid_NKV.device.type for one in on_gpu._seen._kept.values()} == {"cpu"}
    assert np.allclose(_embed(on_gpu, "products", PRODUCTS), first, atol=1e-6)


def test_what_is_kept_is_a_copy_in_the_machines_memory() -> None:
    """As the GPU's test, with a device that is only said to be one."""
    moved: list[torch.Tensor] = []

    class Elsewhere(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in (torch.Tensor.cpu, torch.Tensor.to):
                moved.append(args[0])
                return torch.zeros(args[0].shape)
            return super().__torch_function__(func, types, args, kwargs or {})

    cache = _SeenCache(1 << 20)
    cache.put([b"a", b"b"], SeenPictures(*(torch.ones(2, *rest).as_subclass(Elsewhere) for rest in ((4, 8), (8,)))))
    assert len(moved) == 2
    kept = cache.get([b"a"])[b"a"]
    assert type(kept.grid_NKV) is torch.Tensor
    assert cache.num_bytes == 2 * 4 * (4 * 8 + 8)
