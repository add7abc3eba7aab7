"""Encoders for the tests of `models.inside`: a tiny one with lively weights, and one that looks at a single spot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn

from catalog import Box, Photo, Product, ProductItem
from models.backbones import PictureFeatures, SeenPictures
from models.config import ModelConfig
from models.encoder import MoonEncoder
from models.moon import MoonModel
from models.pictures import PictureMaker
from models.processor import Processor
from models.regions import Wanted
from models.tokenizer import train_tokenizer
from tests.models import shop

TOKENIZER = train_tokenizer(["red mug for the kitchen", "Home > Mug", "colour: red; use: daily", "blue box"], 400)


@dataclass(frozen=True)
class Core:
    """A region finder that always answers the same box."""

    box: Box
    digest: str = "fixed"

    def prompt(self, wanted: Wanted) -> str:
        return ""

    def core(self, photo: Photo, image: Image.Image, wanted: Wanted) -> Core:
        return self


def lively(seed: int = 0, core: Box = (4.0, 6.0, 30.0, 40.0), **changes: object) -> MoonEncoder:
    """A tiny encoder in which every weight, gate, offset and expert counts."""
    config = shop.tiny_model(**changes)
    model = MoonModel.seeded(config, TOKENIZER.get_vocab_size(), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return encoder_of(model, config, core)


def encoder_of(model: MoonModel, config: ModelConfig, core: Box) -> MoonEncoder:
    """An encoder around `model` whose core regions are always `core`."""
    regions = Core(core) if config.crops != "none" else None
    processor = Processor.of(TOKENIZER, config, PictureMaker(config.image_side_px, regions))
    return MoonEncoder(model, processor, "test")


class SpotBackbone(nn.Module):
    """Sees the mean brightness of one patch of the square and nothing else; its decoder passes tokens through."""

    ffn_name = "mlp"
    positions = "mrope"
    hidden_size = vision_size = 8

    def __init__(self, vocab_size: int, patch: tuple[slice, slice]) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Embedding(vocab_size, self.hidden_size)

    def see(self, pixels_NCHW: torch.Tensor) -> SeenPictures:
        seen_N = pixels_NCHW[:, :, self.patch[0], self.patch[1]].mean(dim=(1, 2, 3))
        pooled_NP = torch.zeros((len(seen_N), self.vision_size))
        pooled_NP[:, 0], pooled_NP[:, 1] = seen_N, 1.0 - seen_N
        return SeenPictures(torch.zeros((len(seen_N), 4, self.hidden_size)), pooled_NP)

    def project(self, seen: SeenPictures) -> PictureFeatures:
        return PictureFeatures(seen.grid_NKV, seen.pooled_NP)

    def embed_tokens(self, ids_BL: torch.Tensor) -> torch.Tensor:
        return self.embed(ids_BL)

    def decode(self, embeds_BLD: torch.Tensor, *_: object) -> torch.Tensor:
        return embeds_BLD

    def decoder_layers(self) -> nn.ModuleList:
        return nn.ModuleList()

    def vision_parameters(self) -> list[nn.Parameter]:
        return []

    def spec(self) -> dict[str, Any]:
        return {}


def spot_encoder(patch: tuple[slice, slice], core: Box, **changes: object) -> MoonEncoder:
    """An encoder that looks at `patch` (rows, columns) of every square of 32 px."""
    config = shop.tiny_model(moe={"layers": ()}, **changes)
    backbone = SpotBackbone(TOKENIZER.get_vocab_size(), patch)
    model = MoonModel.seeded(config, TOKENIZER.get_vocab_size(), 0, backbone)
    return encoder_of(model, config, core)


def item(*images: Image.Image, box: Box | None = None, **changes: object) -> ProductItem:
    """A red mug with these photographs."""
    fields: dict[str, object] = {
        "product_id": "mug",
        "title": "red mug",
        "category": ("Home", "Mug"),
        "attributes": {"colour": "red", "use": ("daily",)},
        "images": tuple(f"photo-{number}" for number in range(len(images))),
    }
    photos = []
    for number, image in enumerate(images):
        photo = shop.photo_of(image, f"photo-{number}")
        photos.append(Photo(ref=photo.ref, digest=photo.digest, data=photo.data, box=box))
    return ProductItem(Product.model_validate(fields | changes), tuple(photos))
