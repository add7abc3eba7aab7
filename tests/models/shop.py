"""A tiny shop for the models' tests: coloured shapes, two groups of variants, queries of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from catalog import Catalog, ImageRecord, Photo, Product, Query, QueryKind, Side, Splits, sha256_hex
from models.config import ModelConfig, MoeConfig, NanoConfig, TrainConfig
from models.regions import CoreRegions, RegionsConfig, make_chooser, make_detector

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 200), "black": (20, 20, 20)}
SHAPES = {"mug": "ellipse", "box": "rectangle"}
REGIONS = RegionsConfig()


PINNED: dict[str, object] = {
    "head": "sum",
    "pooling": "balanced",
    "colour_residual": False,
    "code_residual": False,
    "order": "pictures_first",
    "word_weights": "equal",
    "residual_start": "zero",
    "vision_residual": True,
    "word_residual": True,
}
"""What most tests were written on; the defaults are younger, and have tests of their own."""


def tiny_model(**changes: object) -> ModelConfig:
    """A model of a few thousand weights."""
    nano = NanoConfig(
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        ffn_size=48,
        vocab_size=400,
        vision_hidden_size=32,
        vision_depth=2,
        vision_num_heads=2,
        vision_ffn_size=48,
        patch_px=8,
    )
    moe = MoeConfig(layers=(-1,), num_experts=3, top_k=2, rank=4)
    settings: dict[str, object] = {
        "nano": nano,
        "moe": moe,
        "image_side_px": 32,
        "max_images": 2,
        "embedding_dims": 24,
        "max_title_tokens": 12,
    }
    return ModelConfig.model_validate(settings | PINNED | changes)


def default_model(**changes: object) -> ModelConfig:
    """As small, with the default head and order."""
    defaults = {name: ModelConfig.model_fields[name].default for name in PINNED}
    return tiny_model(**(defaults | {"embedding_dims": 48} | changes))


MODELS: dict[str, Callable[..., ModelConfig]] = {"pinned": tiny_model, "default": default_model}
"""For tests that hold for both."""


def tiny_train(**changes: object) -> TrainConfig:
    """A training of a few seconds."""
    settings: dict[str, object] = {
        "steps": 6,
        "batch_size": 6,
        "checkpoint_every_steps": 2,
        "log_every_steps": 1,
        "hard_negatives_per_query": 1,
        # What the tests compare to the last digits is computed on the processor, whatever else a machine has.
        "device": "cpu",
    }
    return TrainConfig.model_validate(settings | changes)


def picture(colour: str, shape: str, view: int, side_px: int = 48) -> Image.Image:
    """One view of a product: the shape, smaller or larger, on a light background."""
    image = Image.new("RGB", (side_px, side_px), (235 - 10 * view, 235, 225 + 5 * view))
    margin = 8 + 3 * view
    draw = ImageDraw.Draw(image)
    getattr(draw, SHAPES[shape])((margin, margin, side_px - margin, side_px - margin - view), fill=COLOURS[colour])
    return image


def make_shop(root: Path, *, purchases: bool = True) -> Catalog:
    """Eight products of two leaves, three views each, every colour of a shape one group; photo and text queries."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    products, queries, records = [], [], {}

    def keep(name: str, image: Image.Image) -> str:
        ref = f"images/{name}.png"
        image.save(root / ref)
        data = (root / ref).read_bytes()
        records[ref] = ImageRecord(ref, sha256_hex(data), *image.size, len(data))
        return ref

    for shape in SHAPES:
        for number, colour in enumerate(COLOURS):
            key = f"{shape}-{colour}"
            products.append(
                Product(
                    product_id=key,
                    group_id=f"{shape}-{number // 2}",
                    title=f"Lovely {shape} number {number}",
                    category=("Home", shape.title()),
                    attributes={"colour": colour, "use": ("daily", "gift")},
                    description=f"A {shape} for every kitchen. It comes in {colour} and lasts long.",
                    images=tuple(keep(f"{key}-{view}", picture(colour, shape, view)) for view in range(3)),
                )
            )
            if purchases:
                image = keep(f"q-{key}", picture(colour, shape, 4))
                common = {"product_ids": (key,), "timestamp": 1.0}
                queries += [
                    Query(query_id=f"{key}-p", kind=QueryKind.PHOTO, image=image, **common),
                    Query(query_id=f"{key}-t", kind=QueryKind.TEXT, text=f"{colour} {shape}", **common),
                    Query(query_id=f"{key}-b", kind=QueryKind.BOTH, text=colour, image=image, **common),
                ]
    return Catalog("tiny", tuple(products), tuple(queries), records, root=str(root), image_root=str(root))


def all_train(catalog: Catalog) -> Splits:
    """Everything on the train side."""
    side_of = {product.product_id: Side.TRAIN for product in catalog.products}
    return Splits(side_of, {Side.TRAIN: catalog.queries, Side.VAL: (), Side.TEST: ()}, {})


def regions() -> CoreRegions:
    """The default detector and chooser."""
    return CoreRegions(make_detector(REGIONS), make_chooser(REGIONS))


def photo_of(image: Image.Image, name: str = "photo") -> Photo:
    """A photograph held in memory."""
    import io

    stream = io.BytesIO()
    image.save(stream, format="PNG")
    data = stream.getvalue()
    return Photo(ref=name, digest=sha256_hex(data), data=data)


def noise(seed: int, side_px: int = 40) -> Image.Image:
    """A picture like no other."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side_px, side_px, 3), dtype=np.uint8))
