"""`nano` against transformers' own classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionPatchEmbed, Qwen2_5_VLModel

from catalog import ModelError
from models.backbones import picture_layout
from models.backbones.nano import NanoBackbone, cosine_filters, patches_of_pixels, qwen_config
from models.batch import Batch
from models.moon import MoonModel
from models.pictures import PictureMaker
from models.processor import Processor
from models.tokenizer import train_tokenizer
from models.tokens import PICTURE_TYPES
from tests.models import shop

TEXTS = ["Lovely red mug", "black box number 3", "Home > Mug", "colour: red"]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    config = shop.tiny_model(slots=False)
    catalog = shop.make_shop(tmp_path_factory.mktemp("shop"))
    processor = Processor.of(train_tokenizer(TEXTS, 400), config, PictureMaker(32, shop.regions()))
    items = [processor.product(item) for item in list(catalog.items())[:2]]
    return processor.collate(
        [*items, processor.label("red mug"), processor.query(catalog.query_item(catalog.queries[0]))]
    )


def _stock(backbone: NanoBackbone) -> Qwen2_5_VLModel:
    """transformers' own model with the same weights."""
    nano = shop.tiny_model().nano
    stock = Qwen2_5_VLModel(qwen_config(nano, 400))
    weights = {name: value for name, value in backbone.qwen.state_dict().items() if "patch_embed" not in name}
    missing, unexpected = stock.load_state_dict(weights, strict=False)
    assert missing == ["visual.patch_embed.proj.weight"]
    assert not unexpected
    assert isinstance(stock.visual.patch_embed, Qwen2_5_VisionPatchEmbed)
    flat = backbone.qwen.visual.patch_embed.proj.weight
    stock.visual.patch_embed.proj.weight.data.copy_(flat.view_as(stock.visual.patch_embed.proj.weight))
    return stock.eval()


def test_hidden_states_equal_the_stock_model(batch: Batch) -> None:
    torch.manual_seed(1)
    backbone = NanoBackbone(shop.tiny_model().nano, 400).eval()
    stock = _stock(backbone)
    with torch.inference_mode():
        model = MoonModel(shop.tiny_model(moe={"layers": []}, slots=False), 400, backbone).eval()
        ours = model.hidden_states(batch, model.encode_pictures(batch.pixels_NCHW))
        patches, grid = patches_of_pixels(batch.pixels_NCHW, 8, 2)
        theirs = stock(
            input_ids=batch.ids_BL,
            attention_mask=batch.mask_BL.long(),
            pixel_values=patches,
            image_grid_thw=grid,
            mm_token_type_ids=batch.picture_mask_BL.int(),
        ).last_hidden_state
    assert float((ours - theirs)[batch.mask_BL].abs().max()) <= 1e-5


def test_positions_are_qwens(batch: Batch) -> None:
    stock = Qwen2_5_VLModel(qwen_config(shop.tiny_model().nano, 400))
    grid = patches_of_pixels(batch.pixels_NCHW, 8, 2)[1]
    theirs, _ = stock.get_rope_index(
        batch.ids_BL, batch.picture_mask_BL.int(), image_grid_thw=grid, attention_mask=batch.mask_BL.long()
    )
    present = batch.mask_BL.expand(3, -1, -1)
    assert torch.equal(batch.positions_3BL[present], theirs[present])


def test_pictures_of_several_sizes_take_the_stock_path() -> None:
    torch.manual_seed(2)
    backbone = NanoBackbone(shop.tiny_model().nano, 400).eval()
    grid = torch.tensor([[1, 2, 2], [1, 4, 2]])
    patches = torch.randn(4 + 8, 3 * 64)
    with torch.inference_mode():
        mixed = backbone.qwen.visual(patches, grid_thw=grid).last_hidden_state
        alone = [
            backbone.qwen.visual(one, grid_thw=own).last_hidden_state
            for one, own in ((patches[:4], grid[:1]), (patches[4:], grid[1:]))
        ]
    assert torch.allclose(mixed[:4], alone[0], atol=1e-5)
    assert torch.allclose(mixed[4:], alone[1], atol=1e-5)


def test_patch_filters_start_orthogonal() -> None:
    filters = cosine_filters(8, 40)
    gram = filters @ filters.T
    assert torch.allclose(gram, torch.eye(40) / 64, atol=1e-6)
    assert cosine_filters(2, 16).shape == (16, 12)


def _first(found: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """The dense FFN's matrix out of the first stacked expert: gate rows, then up rows."""
    layer, _, part = name.partition(".mlp.")
    if part == "down_proj.weight":
        return found[f"{layer}.mlp.experts.w_out"][0]
    gate, up = found[f"{layer}.mlp.experts.w_in"][0].chunk(2)
    return {"gate_proj.weight": gate, "up_proj.weight": up}[part]


@pytest.mark.parametrize("combination", ["switch", "additive"])
@pytest.mark.parametrize("expert", ["full", "low_rank"])
def test_guided_moon_at_step_zero_is_dense_moon(batch: Batch, combination: str, expert: str) -> None:
    moe = {"layers": [0, 1], "combination": combination, "expert": expert, "num_experts": 3, "top_k": 2, "rank": 4}
    guided = MoonModel.seeded(shop.tiny_model(moe=moe, slots=False), 400, seed=4).eval()
    dense = MoonModel.seeded(shop.tiny_model(moe={"layers": []}, slots=False), 400, seed=5).eval()
    weights, found = {}, guided.state_dict()
    for name, value in dense.state_dict().items():
        shared = name.replace(".mlp.", ".mlp.shared.")
        weights[name] = found[name] if name in found else found[shared] if shared in found else _first(found, name)
        assert weights[name].shape == value.shape
    dense.load_state_dict(weights)
    with torch.inference_mode():
        assert float((guided(batch) - dense(batch)).abs().max()) <= 1e-5


def test_seeded_weights_leave_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one = MoonModel.seeded(shop.tiny_model(), 400, seed=1).state_dict()
    assert torch.equal(torch.rand(3), expected)
    two = MoonModel.seeded(shop.tiny_model(), 400, seed=1).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("budget", "max_images", "crops", "side"),
    [
        (None, 2, "both", 6),
        (144, 2, "both", 6),  # 4 pictures of 36 tokens
        (143, 2, "both", 5),
        (100, 2, "both", 5),
        (99, 2, "both", 4),
        (99, 2, "none", 6),  # without crops there are half as many
        (99, 2, "queries", 6),  # the budget is a product's
        (99, 2, "products", 4),
        (4, 2, "both", 1),
        (10_000, 2, "both", 6),  # the wish is a limit too
    ],
)
def test_a_budget_of_picture_tokens_lowers_the_resolution(
    budget: int | None, max_images: int, crops: str, side: int
) -> None:
    config = shop.tiny_model(image_side_px=96, max_picture_tokens=budget, max_images=max_images, crops=crops)
    layout = picture_layout(config)
    assert (layout.rows, layout.columns, layout.side_px) == (side, side, 16 * side)


def test_a_budget_below_one_token_a_picture_is_refused() -> None:
    with pytest.raises(ModelError, match="token budget is too small") as caught:
        picture_layout(shop.tiny_model(max_picture_tokens=3))
    assert (caught.value.where, caught.value.got) == ("model.max_picture_tokens", "3")
    assert "at least 4" in caught.value.allowed


@pytest.mark.parametrize("budget", [4, 15, 16])
def test_a_product_takes_no_more_picture_tokens_than_its_budget(tmp_path: Path, budget: int) -> None:
    config = shop.tiny_model(max_picture_tokens=budget)
    layout, tokenizer = picture_layout(config), train_tokenizer(TEXTS, 400)
    processor = Processor.of(tokenizer, config, PictureMaker(layout.side_px, shop.regions()))
    items = list(shop.make_shop(tmp_path).items())[:2]  # each has more photographs than two
    batch = processor.collate([processor.product(item) for item in items])
    counted = [sum(kind in PICTURE_TYPES for kind in types) for types in batch.types_BL.tolist()]
    assert counted == [4 * layout.num_tokens] * 2
    assert max(counted) <= budget
    model = MoonModel.seeded(config, tokenizer.get_vocab_size(), seed=1).eval()
    with torch.inference_mode():
        vectors = model(batch)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)
