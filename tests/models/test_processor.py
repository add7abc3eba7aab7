"""Items to tensors: types, budgets, what is hidden stays hidden, the layout of pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from catalog import ConfigError, Product, ProductItem, QueryItem
from models import tokens
from models.backbones.nano import patches_of_pixels
from models.config import ModelConfig
from models.pictures import PictureMaker, crop_box, letterbox
from models.processor import Encoded, Processor
from models.regions import NOTHING_KNOWN, Wanted
from models.tokenizer import text_ids, train_tokenizer
from models.tokens import SPECIAL_TOKENS, TokenType
from tests.models import shop

WORDS = ["zebra", "walnut", "crimson", "kitchen", "festival", "velvet", "linen", "price"]
TOKENIZER = train_tokenizer([" ".join(WORDS), "Home > Kitchen > Mugs", *WORDS], 420)


def _processor(**changes: object) -> Processor:
    config = shop.tiny_model(**changes)
    return Processor.of(TOKENIZER, config, PictureMaker(config.image_side_px, shop.regions()))


def _item(num_photos: int = 2, **changes: object) -> ProductItem:
    product = {
        "product_id": "p",
        "title": "zebra",
        "category": ("walnut", "crimson"),
        "attributes": {"kitchen": "festival", "velvet": ("linen",)},
        "description": "price",
        "images": tuple(f"photo-{number}" for number in range(num_photos)),
    }
    photos = tuple(shop.photo_of(shop.noise(number), f"photo-{number}") for number in range(num_photos))
    return ProductItem(Product.model_validate(product | changes), photos)


def _text_of(encoded: Encoded, kind: TokenType) -> str:
    ids = [i for i, t in zip(encoded.sequence.ids, encoded.sequence.types, strict=True) if t == kind]
    return str(TOKENIZER.decode(ids, skip_special_tokens=False)).strip()


def test_every_token_has_its_type_and_originals_come_before_crops() -> None:
    processor = _processor()
    encoded = processor.product(_item())
    types = encoded.sequence.types
    per_picture = processor.layout.num_tokens
    assert types.count(TokenType.IMAGE) == 2 * per_picture
    assert types.count(TokenType.CROP) == 2 * per_picture
    assert types.index(TokenType.CROP) > max(i for i, t in enumerate(types) if t == TokenType.IMAGE)
    assert _text_of(encoded, TokenType.TITLE) == "zebra"
    assert _text_of(encoded, TokenType.CATEGORY) == "walnut > crimson"
    assert _text_of(encoded, TokenType.ATTRIBUTE) == "kitchen: festival; velvet: linen"
    assert TokenType.PAD not in types
    assert len(encoded.squares) == encoded.sequence.num_pictures == 4
    assert np.array_equal(encoded.squares[1], letterbox(shop.noise(1), 32))


@pytest.mark.parametrize(
    ("field", "word"),
    [
        ("title", "zebra"),
        ("category", "walnut"),
        ("category", "crimson"),
        ("attributes.kitchen", "festival"),
        ("attributes.velvet", "linen"),
        ("description", "price"),
    ],
)
def test_a_hidden_field_is_not_in_the_tokens(field: str, word: str) -> None:
    processor = _processor(use_description=True)

    def everything(hide: frozenset[str]) -> str:
        return str(TOKENIZER.decode(processor.product(_item(), hide).sequence.ids, skip_special_tokens=False))

    assert word in everything(frozenset())
    assert word not in everything(frozenset((field,)))


def test_hidden_images_and_a_removed_query_photo_are_not_in_the_pixels() -> None:
    processor = _processor()
    item = _item()
    secret = processor.pixels([letterbox(shop.noise(1), 32)])

    def holds(item: ProductItem, hide: frozenset[str] = frozenset()) -> bool:
        return any(torch.equal(one, secret[0]) for one in processor.pixels(processor.product(item, hide).squares))

    assert holds(item)
    assert not holds(item, frozenset(("images",)))
    assert not holds(replace(item, photos=item.photos[:1]))
    assert processor.product(item, frozenset(("images",))).sequence.num_pictures == 0
    assert processor.collate([processor.product(item)]).pixels_NCHW.shape == (4, 3, 32, 32)


def test_the_crop_is_found_without_the_hidden_words() -> None:
    asked: list[Wanted] = []

    class Spy(PictureMaker):
        def squares(self, photo, wanted, views=2):  # type: ignore[no-untyped-def]
            asked.append(wanted)
            return super().squares(photo, wanted, views)

    config = shop.tiny_model()
    processor = Processor.of(TOKENIZER, config, Spy(32, shop.regions()))
    processor.product(_item(1), frozenset(("title",)))
    processor.product(_item(1), frozenset(("category",)))
    assert [(one.title, one.category) for one in asked] == [(None, ("walnut", "crimson")), ("zebra", ())]


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown field"):
        _processor().product(_item(), frozenset(("titel",)))


def test_title_budget_is_counted_in_tokens() -> None:
    processor = _processor(max_title_tokens=5)
    types = processor.product(_item(title="zebra walnut " * 20_000)).sequence.types
    assert types.count(TokenType.TITLE) == 5


def _words(num: int, first: int = 0) -> str:
    return " ".join(WORDS[number % len(WORDS)] for number in range(first, first + num))


def test_query_and_label_budget_is_counted_in_tokens() -> None:
    """Each of these words is one token, so that budgets can be counted by hand."""
    assert [len(text_ids(TOKENIZER, word, 9)) for word in WORDS] == [1] * len(WORDS)
    processor = _processor(max_text_tokens=7)
    for encoded in (processor.query(QueryItem("q", _words(30), None)), processor.label(_words(30))):
        assert _text_of(encoded, TokenType.TITLE) == _words(7)
    assert _text_of(processor.label(_words(7)), TokenType.TITLE) == _words(7)
    # The title of a product has a budget of its own.
    assert processor.product(_item(title=_words(30))).sequence.types.count(TokenType.TITLE) == 12


def test_field_budget_is_that_of_category_and_of_attributes_each() -> None:
    processor = _processor(max_field_tokens=6)
    encoded = processor.product(_item(category=(_words(9),), attributes={"walnut": _words(9), "linen": _words(9, 1)}))
    assert _text_of(encoded, TokenType.CATEGORY) == _words(6)
    # By name, "linen" is first; a colon is a token.
    assert _text_of(encoded, TokenType.ATTRIBUTE) == f"linen: {_words(4, 1)}"
    assert encoded.sequence.types.count(TokenType.ATTRIBUTE) == 6
    whole = processor.product(_item(category=(_words(6),), attributes={"linen": _words(4)}))
    assert _text_of(whole, TokenType.CATEGORY) == _words(6)
    assert _text_of(whole, TokenType.ATTRIBUTE) == f"linen: {_words(4)}"


@pytest.mark.parametrize(
    "changes",
    [{"title": None}, {"attributes": {}}, {"category": ()}, {"title": "𝓣 🙂 שלום 中文"}, {"title": "\x00\x07"}],
)
def test_poor_products_work(changes: dict[str, object]) -> None:
    assert len(_processor().product(_item(**changes)).sequence) > 0


def test_items_without_pictures_and_items_without_anything() -> None:
    processor = _processor()
    assert processor.product(_item(0)).sequence.num_pictures == 0
    everything = frozenset(("title", "category", "images", "description", "attributes.kitchen", "attributes.velvet"))
    empty = processor.product(_item(), everything).sequence
    assert [SPECIAL_TOKENS[i] for i in empty.ids[:-2]] == [tokens.EMPTY_MARK]
    assert empty.types[-2:] == [TokenType.CATEGORY_SLOT, TokenType.ATTRIBUTE_SLOT]
    assert processor.query(QueryItem("q", "zebra", None)).sequence.num_pictures == 0


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_special_tokens_typed_by_a_user_stay_text(token: str) -> None:
    assert not set(text_ids(TOKENIZER, f"a {token} b", 64)) & set(range(len(SPECIAL_TOKENS)))


def test_tokenizer_does_not_depend_on_the_order_of_texts() -> None:
    texts = [f"word{number} thing" for number in range(50)]
    assert train_tokenizer(texts, 350).to_str() == train_tokenizer(reversed(texts), 350).to_str()


def test_patches_are_in_qwens_layout() -> None:
    processor = _processor()
    stock = Qwen2VLImageProcessorPil(
        do_resize=False,
        patch_size=8,
        merge_size=2,
        temporal_patch_size=1,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    squares = [np.asarray(shop.noise(seed, 32)) for seed in range(2)]
    theirs = stock([Image.fromarray(square) for square in squares], return_tensors="pt")
    patches, grid = patches_of_pixels(processor.pixels(squares), 8, 2)
    assert torch.allclose(patches, theirs["pixel_values"], atol=1e-5)
    assert torch.equal(grid, theirs["image_grid_thw"])


def test_letterbox_keeps_aspect_and_fills_white() -> None:
    square = letterbox(Image.new("RGB", (40, 20), (10, 20, 30)), 16)
    assert (square[:4] == 255).all()
    assert (square[-4:] == 255).all()
    assert np.abs(square[5:11].astype(int) - [10, 20, 30]).max() <= 1


def test_crop_boxes_outside_the_picture_are_cut_and_never_empty() -> None:
    image = Image.new("RGB", (20, 10))
    assert crop_box(image, (-5, -5, 100, 100)).size == (20, 10)
    assert crop_box(image, (19.9, 9.9, 19.95, 9.95)).size == (1, 1)
    assert crop_box(image, (30, 30, 40, 40)).size == (1, 1)


def test_pictures_are_kept_by_content_and_words(tmp_path: Path) -> None:
    maker = PictureMaker(32, shop.regions(), max_cached=2)
    photo = shop.photo_of(shop.noise(0))
    first = maker.squares(photo, Wanted("zebra"))
    assert maker.squares(photo, Wanted("zebra")) is first
    for number in range(1, 3):
        maker.squares(shop.photo_of(shop.noise(number)), NOTHING_KNOWN)
    again = maker.squares(photo, Wanted("zebra"))
    assert again is not first
    assert np.array_equal(again, first)


def test_without_crops_there_are_no_crop_tokens() -> None:
    config = shop.tiny_model(crops="none")
    processor = Processor.of(TOKENIZER, config, PictureMaker(32, None))
    types = processor.product(_item()).sequence.types
    assert TokenType.CROP not in types
    assert types.count(TokenType.IMAGE) == 2 * processor.layout.num_tokens


def test_config_bounds_name_the_mistake() -> None:
    with pytest.raises(ValueError, match="multiple of patch_px"):
        ModelConfig(image_side_px=100)
    with pytest.raises(ValueError, match="names layer 7"):
        ModelConfig.model_validate({"moe": {"layers": [7]}})
    with pytest.raises(ValueError, match="top_k"):
        ModelConfig.model_validate({"moe": {"num_experts": 2, "top_k": 3}})
