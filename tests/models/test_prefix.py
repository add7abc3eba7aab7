"""Prefixes of a vector: cut, of unit length, with a digest of their own, and refused where no loss was taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from catalog import ModelError, QueryItem
from models.encoder import MoonEncoder
from models.folder import write_model_folder
from models.heads import matryoshka
from tests.models import shop
from tests.models.inside_models import TOKENIZER, item, lively

LENGTHS = (12, 20)
ITEMS = [
    item(shop.noise(1), shop.noise(2)),
    item(shop.noise(3), title="blue box", product_id="box"),
    item(title="red", product_id="words"),
]
QUERIES = [QueryItem("words", "red mug", None), QueryItem("photo", None, shop.photo_of(shop.noise(4)))]


def _encoder(dims: int | None = None, trained: tuple[int, ...] = LENGTHS) -> MoonEncoder:
    whole = lively(matryoshka_dims=trained)
    return MoonEncoder(whole.model, whole.processor, "digest", dims=dims)


def _vectors(encoder: MoonEncoder) -> list[np.ndarray]:
    return [encoder.embed_products(ITEMS), encoder.embed_queries(QUERIES), encoder.embed_labels(["red mug", "box"])]


@pytest.mark.parametrize("dims", [*LENGTHS, 24])
def test_a_prefix_is_the_whole_vector_cut_and_normalised_again(dims: int) -> None:
    encoder = _encoder(dims)
    assert encoder.dims == dims
    for cut, whole in zip(_vectors(encoder), _vectors(_encoder()), strict=True):
        assert cut.shape == (len(whole), dims)
        assert cut.dtype == np.float32
        np.testing.assert_allclose(cut, matryoshka(torch.from_numpy(whole), dims).numpy(), atol=1e-6)
        # Independent of torch: what is left, over its length.
        np.testing.assert_allclose(
            cut, whole[:, :dims] / np.sqrt((whole[:, :dims] ** 2).sum(axis=1, keepdims=True)), atol=1e-6
        )
        np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1.0, atol=1e-6)
        assert dims == 24 or np.linalg.norm(whole[:, :dims], axis=1).max() < 0.99
    assert encoder.embed_products([]).shape == (0, dims)


def test_the_length_asked_for_alone_changes_nothing() -> None:
    whole, asked = _encoder(), _encoder(24)
    assert (whole.digest, whole.dims) == (asked.digest, asked.dims) == ("digest", 24)
    assert all(np.array_equal(one, two) for one, two in zip(_vectors(whole), _vectors(asked), strict=True))


def test_each_length_has_a_digest_of_its_own() -> None:
    digests = [_encoder(dims).digest for dims in (*LENGTHS, 24)]
    assert len(set(digests)) == 3
    assert digests == [_encoder(dims).digest for dims in (*LENGTHS, 24)]


@pytest.mark.parametrize(
    ("dims", "trained", "allowed", "fix"),
    [
        (16, LENGTHS, "12, 20, 24", "16 among model.matryoshka_dims"),
        (12, (), "24", "12 among model.matryoshka_dims"),
        (48, LENGTHS, "12, 20, 24", "take an allowed length"),
        (0, LENGTHS, "12, 20, 24", "take an allowed length"),
    ],
)
def test_a_length_that_was_not_trained_is_refused(dims: int, trained: tuple[int, ...], allowed: str, fix: str) -> None:
    with pytest.raises(ModelError, match="not trained for vectors of this length") as caught:
        _encoder(dims, trained)
    assert (caught.value.got, caught.value.allowed) == (str(dims), allowed)
    assert fix in caught.value.fix
    assert ("train again" in caught.value.fix) == (0 < dims < 24)


def test_a_folder_is_read_at_any_of_its_lengths(tmp_path: Path) -> None:
    whole = _encoder()
    regions = shop.regions()
    digest = write_model_folder(tmp_path / "model", whole.model, TOKENIZER, shop.REGIONS, regions.digest, {})
    loaded = {dims: MoonEncoder.load(tmp_path / "model", device="cpu", dims=dims) for dims in (None, 12, 24)}
    assert loaded[None].digest == loaded[24].digest == digest != loaded[12].digest
    full, cut = (loaded[dims].embed_products(ITEMS) for dims in (None, 12))
    np.testing.assert_allclose(cut, matryoshka(torch.from_numpy(full), 12).numpy(), atol=1e-6)
    with pytest.raises(ModelError, match="not trained"):
        MoonEncoder.load(tmp_path / "model", device="cpu", dims=13)
