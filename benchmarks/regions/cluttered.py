"""A shop whose shoppers ask with cluttered photographs: its own second photographs, put into real scenes.

Every product's photograph of the asked roles leaves the product, is cut out, and is composed some times onto real
photographs among other products of the shop. Each picture is a query for its product, marked `augmented`, since no
shopper took it, with the exact box of what is seen of the product.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.regions.finders import read_finder
from catalog import Catalog, CatalogError, Product
from models.regions import NOTHING_KNOWN
from models.scenes import Backgrounds, CutoutSet, SceneComposer, SceneConfig, cut_catalog
from models.weights.place import take_place

ROLES = ("back",)
SCENES = SceneConfig(
    studio_frac=0.0,
    whole_frame_frac=0.0,
    empty_frac=0.0,
    collage_frac=0.0,
    pair_frac=0.0,
    worn_frac=0.0,
    drawn_frac=0.0,
    restyle_frac=0.0,
    camouflage_frac=0.0,
    distractor_frac=1.0,
    large_frac=0.4,
    min_area_frac=0.12,
    max_area_frac=0.5,
    photo_background_frac=1.0,
)
"""Real products in their own colours on photographs, never alone, never filling the picture: shoppers' clutter."""
_QUALITY = 88
_STRIP_PX = 40
"""A narrower strip beside the product shows too little of what it lies on."""
_GROUND_PX = 384


@dataclass(frozen=True)
class Cluttered:
    """What was written."""

    num_products: int
    num_queries: int
    num_refused: int
    """Photographs that could not be cut out; their products are not asked for with them."""


def surroundings(photos: Sequence[Image.Image]) -> Backgrounds:
    """What lies around the product in photographs taken at home: floors, carpets, beds, walls, without the product.

    The broadest strip beside the box that saliency finds, mirrored until it fills a square; photographs without room
    beside their product give none.
    """
    finder = read_finder("saliency")
    grounds = []
    for image, core in zip(photos, finder.find(photos, [NOTHING_KNOWN] * len(photos)), strict=True):
        x0, y0, x1, y1 = (round(value) for value in core.box)
        strips = [(0, 0, x0, image.height), (x1, 0, image.width, image.height)]
        strips += [(0, 0, image.width, y0), (0, y1, image.width, image.height)]
        best = max(strips, key=lambda box: min(box[2] - box[0], box[3] - box[1]))
        if min(best[2] - best[0], best[3] - best[1]) >= _STRIP_PX:
            strip = np.asarray(image.convert("RGB").crop(best))[:_GROUND_PX, :_GROUND_PX]
            fill = [(0, _GROUND_PX - length) for length in strip.shape[:2]]
            grounds.append(Image.fromarray(np.pad(strip, (*fill, (0, 0)), mode="symmetric")))
    return Backgrounds(tuple(grounds))


def write_cluttered(
    catalog: Catalog,
    backgrounds: Backgrounds,
    folder: Path,
    scenes_per_photo: int,
    seed: int,
    roles: Sequence[str] = ROLES,
) -> Cluttered:
    """Write the shop with cluttered queries as a folder that `catalog.source: folder` reads.

    Args:
        catalog: With products of several photographs whose roles are told.
        backgrounds: Real ones, see `surroundings`.
        folder: To write; appears whole or not at all.
        scenes_per_photo: Queries from each photograph.
        seed: Of the scenes.
        roles: Of the photographs that shoppers take; the product keeps the others.

    Raises:
        CatalogError: No product has a photograph of these roles beside others that could be cut out.
    """
    asking, others = (cut_catalog(catalog, roles=wanted) for wanted in (roles, ("main",)))
    kept = {product.product_id: _without(product, roles) for product in catalog.products}
    # A product with no other photograph keeps what would ask for it: the answer would be in the question.
    cutouts = [cutout for cutout in asking.cutouts if cutout.ref not in kept[cutout.product_id].images]
    if not cutouts:
        raise CatalogError(
            "no product has a second photograph that could be cut out",
            where=catalog.name,
            got=f"{len(asking.refused)} photographs of the roles {', '.join(roles)} refused",
            fix="name the roles of the photographs that are to be asked with",
        )
    queries: list[dict[str, Any]] = []
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
        partial = Path(beside) / folder.name
        (partial / "images").mkdir(parents=True)
        for product in kept.values():
            for ref in product.images:
                (partial / ref).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(catalog.root) / ref, partial / ref)
        composers = {cutout.group_id: _composer(others, backgrounds, cutout.group_id, seed) for cutout in cutouts}
        for number, cutout in enumerate(cutouts):
            for again in range(scenes_per_photo):
                scene = composers[cutout.group_id].scene(number * scenes_per_photo + again, cutout)
                if scene.core is None:
                    continue
                name = f"cluttered-{number:04d}-{again}"
                scene.image.save(partial / "images" / f"{name}.jpg", quality=_QUALITY)
                queries.append(
                    {
                        "query_id": name,
                        "kind": "photo",
                        "image": f"images/{name}.jpg",
                        "box": list(scene.core.box),
                        "product_ids": [cutout.product_id],
                        "augmented": True,
                    }
                )
        rows = [product.model_dump(mode="json", exclude_defaults=True) for product in kept.values()]
        for file_name, lines in (("products.jsonl", rows), ("queries.jsonl", queries)):
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (partial / file_name).write_text(text, encoding="utf-8")
        take_place(partial, folder)
    return Cluttered(len(kept), len(queries), len(asking.refused))


def _composer(others: CutoutSet, backgrounds: Backgrounds, group_id: str, seed: int) -> SceneComposer:
    """With other articles to lie about: a variant of the product itself would be a second right answer."""
    cutouts = [cutout for cutout in others.cutouts if cutout.group_id != group_id]
    return SceneComposer(cutouts, SCENES.model_copy(update={"seed": seed}), backgrounds)


def _without(product: Product, roles: Sequence[str]) -> Product:
    """`product` without its photographs of these roles, unless it has no others."""
    rows = [row for row, role in enumerate(product.image_roles or ("",) * len(product.images)) if role not in roles]
    if not rows:
        return product
    changes = {
        name: tuple(getattr(product, name)[row] for row in rows)
        for name in ("images", "image_roles", "boxes")
        if getattr(product, name)
    }
    return product.model_copy(update=changes)
