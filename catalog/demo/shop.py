"""Render the demo shop: plan everything in one place, draw it in as many processes as wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from glob import escape as glob_escape
from glob import glob

from joblib.externals.loky import ProcessPoolExecutor

from catalog.config import DemoConfig
from catalog.demo.assortment import Article, plan_articles
from catalog.demo.camera import take
from catalog.demo.seeds import rng_of
from catalog.demo.sessions import draw, shop_views, shopper_view
from catalog.demo.shoppers import Intent, plan_queries
from catalog.errors import StorageError
from catalog.rows import Box, Product, Query

Progress = Callable[[int, int], None]
"""Called with the number of products drawn and the number of all."""

IMAGES = "images"
_PARTIAL = ".part"


@dataclass(frozen=True)
class _Job:
    """Everything to draw for one product."""

    article: Article
    intents: tuple[Intent, ...]
    """Of the queries that show the product."""


@dataclass(frozen=True)
class _Drawn:
    images: tuple[str, ...]
    roles: tuple[str, ...]
    boxes: tuple[Box, ...]
    query_images: dict[str, tuple[str, Box]]
    """query_id -> reference and core box."""


def render_demo(
    config: DemoConfig, out_dir: str, progress: Progress | None = None
) -> tuple[list[Product], list[Query]]:
    """Draw the demo shop below `out_dir`.

    The same configuration gives the same rows and the same bytes, whatever `num_workers` is. The products of a
    smaller shop are the first of a larger one with the same seed, and so are their pictures; the queries are not,
    since a shopper may mean any product of the shop.

    Args:
        config: Size, seed and number of processes.
        out_dir: Pictures are written to its folder `images`; a file is complete or absent.
        progress: Called after every product with (products done, products in all).

    Returns:
        Products and queries; image references are relative to `out_dir`.

    Raises:
        StorageError: `out_dir` cannot be written.
    """
    articles = plan_articles(config.num_products, config.seed)
    intents = plan_queries(articles, config.seed, config.queries_per_product)
    shown: dict[str, list[Intent]] = {}
    for intent in intents:
        if intent.shows is not None:
            shown.setdefault(intent.shows.product_id, []).append(intent)
    jobs = [_Job(article, tuple(shown.get(article.product_id, ()))) for article in articles]
    products: list[Product] = []
    photos: dict[str, tuple[str, Box]] = {}
    try:
        os.makedirs(os.path.join(out_dir, IMAGES), exist_ok=True)
        with closing(_draw_all(jobs, config, out_dir)) as all_drawn:
            for article, drawn in zip(articles, all_drawn, strict=True):
                products.append(_product_row(article, drawn))
                photos.update(drawn.query_images)
                if progress is not None:
                    progress(len(products), len(articles))
    except OSError as error:
        raise StorageError(
            "the demo shop cannot be written",
            where=error.filename or out_dir,
            got=error.strerror or str(error),
            fix="free some space or choose another working folder",
        ) from error
    finally:
        # A worker that was ended with its pool could not clear up after itself.
        for left_over in glob(os.path.join(glob_escape(out_dir), IMAGES, f"*{_PARTIAL}")):
            with suppress(OSError):
                os.unlink(left_over)
    return products, [_query_row(intent, photos.get(intent.query_id)) for intent in intents]


def _draw_all(jobs: list[_Job], config: DemoConfig, out_dir: str) -> Generator[_Drawn, None, None]:
    num_workers = min(config.num_workers or _num_cores(), len(jobs))
    work = partial(_draw_product, out_dir=out_dir, image_size_px=config.image_size_px)
    if num_workers == 1:
        yield from map(work, jobs)
        return
    # Not forked: the caller may hold threads and locks of torch or a tracking client. Not the standard library's spawn:
    # its children import the main program again, which under the zenml command costs seconds each.
    with ProcessPoolExecutor(num_workers) as pool:
        try:
            yield from pool.map(work, jobs, chunksize=4)
        except BrokenProcessPool:
            raise StorageError(
                "a drawing process died", got="most often out of memory", fix="set catalog.demo.num_workers to 1"
            ) from None
        finally:
            pool.shutdown(wait=True, kill_workers=True)


def _num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _draw_product(job: _Job, out_dir: str, image_size_px: int) -> _Drawn:
    article = job.article
    views = shop_views(article)
    laid_out = draw(article, "shop", image_size_px)
    carried = draw(article, "shoppers", image_size_px) if job.intents else laid_out
    images, boxes = [], []
    for number, (_, view) in enumerate(views):
        ref = f"{IMAGES}/{article.product_id}-{number + 1}.jpg"
        shot = take(laid_out, view, image_size_px)
        _write(os.path.join(out_dir, ref), shot.jpeg(view.quality))
        images.append(ref)
        boxes.append(shot.box)
    query_images = {}
    for intent in job.intents:
        ref = f"{IMAGES}/{intent.query_id}.jpg"
        view = shopper_view(article, rng_of(article.seed, intent.query_id))
        shot = take(carried, view, image_size_px)
        _write(os.path.join(out_dir, ref), shot.jpeg(view.quality))
        query_images[intent.query_id] = (ref, shot.box)
    return _Drawn(tuple(images), tuple(role for role, _ in views), tuple(boxes), query_images)


def _write(path: str, data: bytes) -> None:
    """Write whole or not at all: a reader never sees half a picture."""
    partial_path = f"{path}{_PARTIAL}"
    try:
        with open(partial_path, "wb") as stream:
            stream.write(data)
        os.replace(partial_path, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial_path)
        raise


def _product_row(article: Article, drawn: _Drawn) -> Product:
    return Product(
        product_id=article.product_id,
        group_id=article.group_id,
        title=article.title,
        category=article.leaf.path,
        attributes=article.listed,
        description=article.description,
        images=drawn.images,
        image_roles=drawn.roles,
        boxes=drawn.boxes,
        price=article.price,
    )


def _query_row(intent: Intent, photo: tuple[str, Box] | None) -> Query:
    return Query(
        query_id=intent.query_id,
        kind=intent.kind,
        text=intent.text,
        image=photo[0] if photo else None,
        box=photo[1] if photo else None,
        product_ids=intent.product_ids,
        timestamp=intent.timestamp,
        weight=intent.weight,
        signal=intent.signal,
    )
