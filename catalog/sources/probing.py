"""A first look at every photograph: bytes, digest, size, or the reason why it cannot be used.

One picture a worker is in memory at a time, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from catalog.catalog import ImageRecord
from catalog.errors import ImageError
from catalog.images import ImageLimits, Photo, decode_image, sha256_hex
from catalog.parallel import map_in_order
from catalog.rows import Product, Query


def image_refs(products: Iterable[Product], queries: Iterable[Query]) -> list[str]:
    """Every image referred to, once, in order of appearance."""
    refs = dict.fromkeys(ref for product in products for ref in product.images)
    refs |= dict.fromkeys(query.image for query in queries if query.image)
    return list(refs)


def probe_images(
    refs: list[str],
    root: str,
    limits: ImageLimits,
    progress: Callable[[int, int], None] | None = None,
    num_workers: int = 0,
) -> dict[str, ImageRecord]:
    """Look at each image once and keep its record; the result is the same for any number of workers.

    Args:
        refs: References relative to `root`.
        root: fsspec path.
        limits: What an image may cost.
        progress: Called with the number done and the number in all.
        num_workers: Threads; 0 is one a core and one more.
    """
    probe = partial(probe_image_file, root=root, limits=limits)
    records = {}
    for done, record in enumerate(map_in_order(probe, refs, num_workers), start=1):
        records[record.ref] = record
        if progress:
            progress(done, len(refs))
    return records


def probe_image_file(ref: str, root: str, limits: ImageLimits) -> ImageRecord:
    """The record of one image; a fault becomes its status, told without local paths."""
    data = b""
    try:
        data = Photo(ref=ref, root=root).read_bytes(limits.max_bytes)
        image = decode_image(data, ref, limits)
    except ImageError as error:
        # A file over the limit was read only up to it, so its digest would be of a part.
        whole = data if len(data) <= limits.max_bytes else b""
        return ImageRecord(ref, sha256_hex(whole) if whole else "", num_bytes=len(whole), status=error.problem)
    return ImageRecord(ref, sha256_hex(data), image.width, image.height, len(data))
