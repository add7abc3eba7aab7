"""Cut-outs: the products of a catalogue without their backgrounds, to be put into scenes.

The edge is one to two pixels soft, and its colour is the product's own: what shines through there belongs to the
studio and would stand as a white line before a dark wall.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from PIL import Image
from scipy import ndimage

from catalog import BadRow, Catalog, ImageError, ImageLimits, Photo
from catalog.parallel import map_in_order
from catalog.rows import Product
from catalog.splits import Side as SplitSide
from catalog.splits import Splits
from models.scenes.segmentation import NotCutError, Segmentation, Side, opencv, segment

_EDGE_SIGMA_PX = 0.7
_BAND_PX = 3
"""How far from the edge the colour may be mixed with the background's."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Cutout:
    """One product, cut out."""

    image: Image.Image = field(repr=False, compare=False)
    """RGBA, cropped to the product; at most 384 pixels on the longer side."""
    product_id: str
    group_id: str
    title: str = ""
    category: tuple[str, ...] = ()
    ref: str = ""
    """The photograph it was cut from."""
    cut_sides: tuple[Side, ...] = ()
    """Sides on which the photograph's edge cuts the product: there it is straight where it should not be."""


@dataclass(frozen=True)
class CutoutSet:
    """The cut-outs of a catalogue, and the photographs that gave none."""

    cutouts: tuple[Cutout, ...]
    refused: tuple[BadRow, ...] = ()
    """`where` is the photograph's reference."""

    def __len__(self) -> int:
        return len(self.cutouts)

    def of_products(self, product_ids: Collection[str]) -> CutoutSet:
        """Those of the products named."""
        keep = frozenset(product_ids)
        return CutoutSet(
            tuple(cutout for cutout in self.cutouts if cutout.product_id in keep),
            tuple(row for row in self.refused if row.product_id in keep),
        )

    def side(self, side: SplitSide, splits: Splits) -> CutoutSet:
        """Those on one side of the split; the variants of an article are never on two."""
        return self.of_products(splits.product_ids(side))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over whatever of them decides a scene, in this order: words tell what hangs, is worn, is a pair."""
        total = hashlib.sha256()
        for cutout in self.cutouts:
            words = (cutout.product_id, cutout.group_id, cutout.title, cutout.category, cutout.ref)
            total.update(f"{words}\0{cutout.image.size}\0{cutout.cut_sides}\0".encode())
            total.update(cutout.image.tobytes())
        return total.hexdigest()


def cut_out(image: Image.Image) -> tuple[Image.Image, tuple[Side, ...]]:
    """Cut the product out of a photograph before a plain background.

    Args:
        image: As `catalog.images.decode_image` returns it.

    Returns:
        RGBA, cropped to the product, and the sides on which the photograph cuts it.

    Raises:
        NotCutError: The photograph gives no clean cut-out.
        ModelError: OpenCV is not installed.
    """
    found = segment(image)
    rgba = matte(found)
    rows, columns = np.flatnonzero(found.mask.any(axis=1)), np.flatnonzero(found.mask.any(axis=0))
    # A pixel more on each side, for the soft edge.
    top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
    bottom, right = min(rows[-1] + 2, rgba.shape[0]), min(columns[-1] + 2, rgba.shape[1])
    return Image.fromarray(np.ascontiguousarray(rgba[top:bottom, left:right])), found.cut_sides


def matte(found: Segmentation) -> np.ndarray:
    """Coverage and the product's own colour.

    Near the edge a pixel takes the colour of the nearest one well inside. Where the product is so thin that no
    such pixel is close, its colour is unmixed from the background instead.

    Returns:
        (H, W, 4) uint8, not premultiplied.
    """
    mask, rgb = found.mask, found.rgb.astype(np.float32)
    alpha = ndimage.gaussian_filter(mask.astype(np.float32), _EDGE_SIGMA_PX, mode="nearest")
    # Half a pixel inward: the outermost half is mostly background in a photograph.
    alpha = np.clip((alpha - 0.3) / 0.6, 0.0, 1.0)
    inside = ndimage.binary_erosion(mask, iterations=2, border_value=1)
    colour = rgb.copy()
    band = (alpha > 0) & ~inside
    if inside.any():
        distance, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
        near = band & (distance <= _BAND_PX + 1.5)
        colour[near] = rgb[nearest[0][near], nearest[1][near]]
        band &= ~near
    cover = np.maximum(alpha[band], 0.25)[:, None]
    colour[band] = np.clip((rgb[band] - (1.0 - cover) * found.ground[band]) / cover, 0, 255)
    return np.concatenate([colour, alpha[..., None] * 255.0], axis=2).round().astype(np.uint8)


def cut_catalog(
    catalog: Catalog,
    limits: ImageLimits = ImageLimits(),
    *,
    max_cutouts: int = 2000,
    seed: int = 0,
    roles: Collection[str] = (),
    num_workers: int = 0,
    progress: Progress | None = None,
) -> CutoutSet:
    """Cut out the catalogue's products, photograph by photograph.

    Args:
        catalog: Any; photographs without a plain background are refused one by one.
        limits: What a picture may cost.
        max_cutouts: Stop at so many, which bounds memory: a cut-out of a person holds 0.3 MB, none more than 0.6.
            Photographs are visited in an order drawn by `seed`, every product's first photograph before any
            product's second, so that a few cut-outs are of many products.
        seed: Of that order; a larger `max_cutouts` gives the same cut-outs and more.
        roles: Only photographs of these roles (main, back, alt, ...); empty: all.
        num_workers: Threads; 0 is one a core and one more.
        progress: Called with the number of photographs visited and of all.

    Returns:
        Cut-outs and refusals, in the order visited. Photographs alike to the byte are cut once.

    Raises:
        ModelError: OpenCV is not installed.
    """
    opencv()
    jobs = _photographs(catalog, seed, roles)
    cutouts: list[Cutout] = []
    refused: list[BadRow] = []
    for visited, result in enumerate(map_in_order(partial(_cut_one, limits=limits), jobs, num_workers), 1):
        if isinstance(result, Cutout):
            cutouts.append(result)
        else:
            refused.append(result)
        if progress is not None:
            progress(visited, len(jobs))
        if len(cutouts) >= max_cutouts:
            break
    return CutoutSet(tuple(cutouts), tuple(refused))


def _photographs(catalog: Catalog, seed: int, roles: Collection[str]) -> list[tuple[Product, Photo]]:
    """First photographs before second ones, products shuffled by the hash of seed and id."""
    ranked: list[tuple[int, str, Product, Photo]] = []
    seen: set[str] = set()
    for item in catalog.items():
        product = item.product
        order = hashlib.sha256(f"{seed}\0{product.product_id}".encode()).hexdigest()
        wanted = [photo for photo in item.photos if not roles or photo.role in roles]
        for number, photo in enumerate(wanted):
            if photo.digest and photo.digest in seen:
                continue
            seen.add(photo.digest)
            ranked.append((number, order, product, photo))
    ranked.sort(key=lambda row: row[:2])
    return [(product, photo) for _, _, product, photo in ranked]


def _cut_one(job: tuple[Product, Photo], limits: ImageLimits) -> Cutout | BadRow:
    product, photo = job
    try:
        image, cut_sides = cut_out(photo.load(limits))
    except (NotCutError, ImageError) as error:
        return BadRow(photo.ref, product.product_id, error.problem if isinstance(error, ImageError) else str(error))
    return Cutout(
        image=image,
        product_id=product.product_id,
        group_id=product.group_id,
        title=product.title or "",
        category=product.category,
        ref=photo.ref,
        cut_sides=cut_sides,
    )


def mirrored(cutout: Cutout) -> Cutout:
    """The cut-out seen in a mirror, its cut sides too."""
    swap: dict[Side, Side] = {"left": "right", "right": "left"}
    sides = tuple(swap.get(side, side) for side in cutout.cut_sides)
    flipped = cutout.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return replace(cutout, image=flipped, cut_sides=sides)
