"""Crops on one side, both or none: sequences, squares, batches, old folders, and serving with fewer than trained."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from catalog import ModelError, Photo, Product, ProductItem, QueryItem
from models import encoder as encoders
from models.config import ModelConfig
from models.crops import allowed_crops, crops_digest, with_crops
from models.encoder import MoonEncoder
from models.folder import write_model_folder
from models.lengths import num_places
from models.moon import MoonModel
from models.pictures import PictureMaker, crop_box, letterbox
from models.processor import Processor
from models.regions import CoreRegions, Wanted
from models.tokenizer import train_tokenizer
from models.tokens import TokenType
from models.training.fit import _lineage
from models.training.train_batch import TrainBatch, View
from tests.models import shop
from tests.models.test_pairs import NO_CHANGE, _dataset

CROPS = ("both", "products", "queries", "none")
TOKENIZER = train_tokenizer(["lovely red mug", "Home > Mug", "colour: red"], 320)


class Counting:
    """The shop's core regions, and who asked for them."""

    def __init__(self) -> None:
        self.inner, self.asked = shop.regions(), list[Wanted]()
        self.digest = self.inner.digest

    def prompt(self, wanted: Wanted) -> str:
        return self.inner.prompt(wanted)

    def core(self, photo: Photo, image: Image.Image, wanted: Wanted):  # type: ignore[no-untyped-def]
        self.asked.append(wanted)
        return self.inner.core(photo, image, wanted)


def _item(num_photos: int = 2) -> ProductItem:
    refs = tuple(f"photo-{number}" for number in range(num_photos))
    product = Product(
        product_id="p", title="lovely mug", category=("Home", "Mug"), attributes={"colour": "red"}, images=refs
    )
    return ProductItem(product, tuple(shop.photo_of(_mug(number), ref) for number, ref in enumerate(refs)))


def _mug(view: int) -> Image.Image:
    return shop.picture("red", "mug", view)


def _query() -> QueryItem:
    return QueryItem("q", "red mug", shop.photo_of(_mug(4), "asked"))


def _core(image: Image.Image, wanted: Wanted) -> np.ndarray:
    box = shop.regions().core(shop.photo_of(image), image, wanted).box
    return letterbox(crop_box(image, box), 32)


@pytest.mark.parametrize("order", ["words_first", "pictures_first"])
@pytest.mark.parametrize("crops", CROPS)
def test_each_side_has_its_crops_or_goes_without(crops: str, order: str) -> None:
    config = shop.tiny_model(crops=crops, order=order)
    finder = Counting()
    processor = Processor.of(TOKENIZER, config, PictureMaker(32, finder))
    per_picture = processor.layout.num_tokens
    item, query = _item(), _query()
    wanted = {"products": Wanted.of(item.product), "queries": Wanted("red mug")}
    for side, made, views in (
        ("products", processor.product(item), [_mug(0), _mug(1)]),
        ("queries", processor.query(query), [_mug(4)]),
    ):
        has_crops = crops in ("both", side)
        types = [kind for kind in made.sequence.types if kind in (TokenType.IMAGE, TokenType.CROP)]
        expected = [TokenType.IMAGE] * len(views) * per_picture
        expected += [TokenType.CROP] * len(views) * per_picture * has_crops
        assert types == expected
        squares = [letterbox(image, 32) for image in views]
        squares += [_core(image, wanted[side]) for image in views] if has_crops else []
        assert made.sequence.num_pictures == len(squares)
        assert all(np.array_equal(one, two) for one, two in zip(made.squares, squares, strict=True))
    # Nobody looks for a region that nobody is fed.
    assert set(finder.asked) == {wanted[side] for side in wanted if crops in ("both", side)}


@pytest.mark.parametrize("crops", CROPS)
def test_one_side_is_that_of_both_and_the_other_that_of_none(crops: str) -> None:
    def made(crops: str):  # type: ignore[no-untyped-def]
        processor = Processor.of(TOKENIZER, shop.tiny_model(crops=crops), PictureMaker(32, shop.regions()))
        return processor.product(_item()).sequence, processor.query(_query()).sequence

    own = made(crops)
    assert own[0] == made("both" if crops in ("both", "products") else "none")[0]
    assert own[1] == made("both" if crops in ("both", "queries") else "none")[1]


@pytest.mark.parametrize("crops", CROPS)
def test_the_longest_sequences_count_the_crops_of_their_side(crops: str) -> None:
    processor = Processor.of(TOKENIZER, shop.tiny_model(crops=crops), PictureMaker(32, shop.regions()))
    plain = Processor.of(TOKENIZER, shop.tiny_model(crops="none"), PictureMaker(32, None))
    mark = processor.layout
    more = len(processor.template.before_picture) + max(mark.rows, mark.columns)
    more += len(processor.template.after_picture)
    product = num_places(processor.longest_product()) - num_places(plain.longest_product())
    query = num_places(processor.longest_query()) - num_places(plain.longest_query())
    assert product == (2 * more if crops in ("both", "products") else 0)
    assert query == (more if crops in ("both", "queries") else 0)


GOLDEN = {"both": ("3bd1a65f90d5ddf7", "2c87c9ba82775af7"), "none": ("88985444afda586c", "c374a4b41cb2dd6d")}
"""Batches of steps 0 and 1, as they were when one switch stood for both sides."""


def _digest(batch: TrainBatch) -> str:
    total = hashlib.sha256()
    for name, view in sorted(batch.views.items()):
        for one in (view.ids_BL, view.types_BL, view.positions_3BL, view.slot_picture_S, view.slot_row_S):
            total.update(str((name.value, tuple(one.shape))).encode())
            total.update(one.contiguous().numpy().tobytes())
    total.update(str(tuple(batch.pixels_NCHW.shape)).encode())
    return total.hexdigest()[:16]


def _batches(folder: Path, crops: str, **train: object) -> list[TrainBatch]:
    dataset = _dataset(shop.make_shop(folder / "data"), folder / crops, shop.default_model(crops=crops), **train)
    return [dataset[number] for number in range(2)]


@pytest.mark.parametrize("crops", list(GOLDEN))
def test_batches_of_both_and_of_none_are_what_they_were(tmp_path: Path, crops: str) -> None:
    assert tuple(map(_digest, _batches(tmp_path, crops))) == GOLDEN[crops]


def _shown(batch: TrainBatch, view: View) -> torch.Tensor:
    """Pixels in the order of a view's slots."""
    return batch.pixels_NCHW[batch.views[view].slot_picture_S]


@pytest.mark.parametrize("crops", ["products", "queries"])
def test_a_batch_of_one_side_is_made_of_those_of_both_and_of_none(tmp_path: Path, crops: str) -> None:
    plain: dict[str, object] = {"augment": NO_CHANGE, "single_photo_crops": False}
    own, both, none = (_batches(tmp_path, value, **plain) for value in (crops, "both", "none"))
    of_products, of_queries = (both, none) if crops == "products" else (none, both)
    for mine, theirs, views in (
        (own, of_products, (View.PRODUCTS, View.IMAGES, View.WORDS, View.TEXTS)),
        (own, of_queries, (View.QUERIES,)),
    ):
        for left, right in zip(mine, theirs, strict=True):
            for view in views:
                for name in ("ids_BL", "types_BL", "positions_3BL", "slot_row_S"):
                    assert torch.equal(getattr(left.views[view], name), getattr(right.views[view], name)), (view, name)
                assert torch.equal(_shown(left, view), _shown(right, view))
    assert View.IMAGES in own[0].views


def test_the_old_switch_is_read_as_what_it_said() -> None:
    assert ModelConfig.model_validate({"use_crops": True}).crops == "both"
    assert ModelConfig.model_validate({"use_crops": False}).crops == "none"
    assert ModelConfig().crops == "both"
    for wrong in ({"use_crops": True, "crops": "both"}, {"use_crops": "yes"}):
        with pytest.raises(ValidationError, match="use_crops is crops now"):
            ModelConfig.model_validate(wrong)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("model") / "model", "both")


def _write(place: Path, crops: str, **changes: object) -> Path:
    config = shop.default_model(crops=crops, **changes)
    moon = MoonModel.seeded(config, TOKENIZER.get_vocab_size(), seed=2)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in moon.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    write_model_folder(place, moon, TOKENIZER, shop.REGIONS, shop.regions().digest, {"commit": "abc"})
    return place


def test_a_folder_of_the_old_switch_is_read_and_keeps_its_digest(tmp_path: Path) -> None:
    place = _write(tmp_path / "model", "none")
    plain = MoonEncoder.load(place, device="cpu")
    stored = json.loads((place / "config.json").read_text())
    del stored["model"]["crops"]
    stored["model"]["use_crops"] = False
    (place / "config.json").write_text(json.dumps(stored))
    old = MoonEncoder.load(place, device="cpu")
    assert old.config.crops == "none"
    assert np.array_equal(old.embed_products([_item()]), plain.embed_products([_item()]))


def test_served_without_crops_it_needs_no_detector(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a detector was made")

    monkeypatch.setattr(encoders, "make_detector", refuse)
    encoder = MoonEncoder.load(folder, device="cpu", crops="none")
    assert encoder.embed_products([_item()]).shape == encoder.embed_queries([_query()]).shape == (1, 48)
    with pytest.raises(AssertionError, match="a detector was made"):
        MoonEncoder.load(folder, device="cpu")


def test_each_side_served_without_is_the_model_with_the_other_crops_absent(folder: Path) -> None:
    made = {crops: MoonEncoder.load(folder, device="cpu", crops=crops) for crops in CROPS}  # type: ignore[arg-type]
    products = {crops: one.embed_products([_item(), _item(0)]) for crops, one in made.items()}
    queries = {crops: one.embed_queries([_query()]) for crops, one in made.items()}
    assert np.array_equal(products["products"], products["both"])
    assert np.array_equal(products["queries"], products["none"])
    assert np.array_equal(queries["queries"], queries["both"])
    assert np.array_equal(queries["products"], queries["none"])
    assert np.abs(products["both"] - products["none"])[0].max() > 1e-3
    # A product without a photograph has no crop to lose.
    assert np.array_equal(products["both"][1], products["none"][1])
    trained = MoonEncoder.load(folder, device="cpu")
    assert trained.digest == made["both"].digest
    assert len({one.digest for one in made.values()}) == len(CROPS)


def test_what_was_not_trained_is_not_served(tmp_path: Path) -> None:
    place = _write(tmp_path / "model", "products")
    assert MoonEncoder.load(place, device="cpu", crops="none").config.crops == "none"
    for crops in ("both", "queries"):
        with pytest.raises(ModelError, match="not trained with the crops") as caught:
            MoonEncoder.load(place, device="cpu", crops=crops)  # type: ignore[arg-type]
        assert (caught.value.got, caught.value.allowed) == (crops, "products, none")
    assert allowed_crops(ModelConfig()) == CROPS


def test_pictures_keep_the_size_that_the_budget_gave_them_in_training(tmp_path: Path) -> None:
    """Without crops half as many pictures share the budget, but the model knows those of the smaller size."""
    place = _write(tmp_path / "model", "both", image_side_px=64, max_picture_tokens=16)
    encoders_of = [MoonEncoder.load(place, device="cpu", crops=crops) for crops in (None, "none")]  # type: ignore[arg-type]
    assert {one.processor.layout.side_px for one in encoders_of} == {32}
    assert {one.processor.product(_item()).squares[0].shape for one in encoders_of} == {(32, 32, 3)}


def test_digests_of_what_is_as_trained_are_the_models() -> None:
    config = ModelConfig()
    assert crops_digest("d", config, None) == crops_digest("d", config, "both") == "d"
    assert crops_digest("d", config, "none") not in ("d", crops_digest("d", config, "queries"))
    assert with_crops(config, None) is config
    assert with_crops(config, "queries") == ModelConfig(crops="queries")


def test_core_regions_at_hand_are_taken_and_held_to_the_models(folder: Path) -> None:
    own = MoonEncoder.load(folder, device="cpu", regions=shop.regions())
    assert np.array_equal(
        own.embed_queries([_query()]), MoonEncoder.load(folder, device="cpu").embed_queries([_query()])
    )
    other = shop.regions()
    other.digest = "another"
    with pytest.raises(ModelError, match="found differently"):
        MoonEncoder.load(folder, device="cpu", regions=other)
    assert isinstance(other, CoreRegions)


def test_the_lineage_tells_what_it_was_trained_with(tmp_path: Path) -> None:
    splits = shop.all_train(shop.make_shop(tmp_path))
    plain = _lineage(splits, shop.tiny_model(crops="products"), shop.tiny_train())
    assert plain == {"crops": "products"}
    train = shop.tiny_train(distill_crops=0.5, dropout={"crops": 0.25})
    told = _lineage(splits, shop.tiny_model(), train)
    assert told == {"crops": "both", "distill_crops": "0.5", "dropout_crops": "0.25"}
