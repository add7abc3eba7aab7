"""How many photographs a product needs: the scores of one model with 1, 2, 3, .. of them.

    python -m benchmarks.num_images --recipe configs/train_moon/demo.yaml --model FOLDER

Judges the recipe's held-out products again and again, each time with no more than so many photographs a product; the
queries stay the same. Products that have fewer keep what they have, so the curve is read together with the share that
has enough. Prints a table, writes benchmarks/results/num_images.json and draws docs/images/num_images.png.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.ablation.machine import commit, machine
from benchmarks.ablation.places import checked, limits_of, region_store, take_in
from benchmarks.command import held_out_splits, read_config, run
from catalog import ProductItem, QueryItem, StorageError
from catalog.fonts import draws_catalogue_text
from models.encoder import MoonEncoder
from validation.benchmark import MAIN_METRICS, build_eval_set, main_score, run_benchmark

SHOWN = (*MAIN_METRICS, "image_to_product/recall@10")
LINE = "#2a78b5"


class FewPhotos:
    """An encoder that is shown the first photographs of a product only.

    Args:
        encoder: The encoder itself; its limit of photographs is lifted to `most`.
        most: Photographs a product.
    """

    modalities = MoonEncoder.modalities

    def __init__(self, encoder: MoonEncoder, most: int) -> None:
        self.encoder, self.most = encoder, most
        self.name, self.dims = f"{encoder.name}, {most} photos", encoder.dims
        self.digest = f"{encoder.digest}:{most}"
        encoder.processor.config = encoder.processor.config.model_copy(update={"max_images": most})

    def embed_products(self, items: Iterable[ProductItem], hide: frozenset[str] = frozenset()) -> np.ndarray:
        return self.encoder.embed_products((replace(item, photos=item.photos[: self.most]) for item in items), hide)

    def embed_queries(self, items: Iterable[QueryItem]) -> np.ndarray:
        return self.encoder.embed_queries(items)

    def embed_labels(self, texts: Iterable[str]) -> np.ndarray:
        return self.encoder.embed_labels(texts)


def main(
    recipe: Annotated[Path, typer.Option(help="Recipe that the model was trained with.")],
    model: Annotated[Path, typer.Option(help="Model folder.")],
    most: Annotated[int, typer.Option(min=1, max=16, help="Longest list of photographs.")] = 4,
    out: Annotated[Path, typer.Option(help="Where the figures go, JSON.")] = Path("benchmarks/results/num_images.json"),
    picture: Annotated[Path, typer.Option(help="Where the curve goes.")] = Path("docs/images/num_images.png"),
) -> None:
    """Scores of one model by the number of photographs a product is shown with."""
    config = read_config(recipe)
    with tempfile.TemporaryDirectory() as work:
        _, places = take_in(config, Path(work))
        catalog = checked(places, config.catalog.split, config.checks)
        limits = limits_of(catalog)
        encoder = MoonEncoder.load(model, store=region_store(places, config.regions), limits=limits)
        eval_set = build_eval_set(catalog, held_out_splits(encoder, catalog, config), config.benchmark)
        photos = [len(item.photos) for item in eval_set.gallery]
        rows: list[dict[str, Any]] = []
        for number in range(1, most + 1):
            record = run_benchmark(FewPhotos(encoder, number), eval_set, config.benchmark)
            scores = {key: record.scores[key] for key in SHOWN if key in record.scores}
            rows.append(
                {
                    "photos": number,
                    "products_with_as_many": sum(own >= number for own in photos),
                    "main_score": main_score(record),
                    "scores": {key: [one.value, one.low, one.high, one.n] for key, one in scores.items()},
                }
            )
    table = Table("photos", "products with as many", "mean of five", *SHOWN)
    for row in rows:
        shares = [f"{100 * row['scores'][key][0]:.1f}" if key in row["scores"] else "n/a" for key in SHOWN]
        table.add_row(str(row["photos"]), str(row["products_with_as_many"]), f"{100 * row['main_score']:.1f}", *shares)
    Console(width=240).print(table)
    out.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "model": encoder.digest,
        "num_products": len(photos),
        "commit": commit(),
        "machine": machine(),
        "rows": rows,
    }
    out.write_text(json.dumps(told, indent=1) + "\n")
    draw(rows, len(photos), picture, config.benchmark.confidence)


@draws_catalogue_text
def draw(rows: Sequence[Mapping[str, Any]], num_products: int, path: Path, confidence: float = 0.95) -> None:
    """Draw a panel a score: photographs a product across, the score with its interval up.

    Each panel has a scale of its own, since what is read is the course of one score; a score that no row has is left
    out.

    Args:
        rows: As `num_images.json` has them: `photos`, `products_with_as_many`, and `scores` by name, each
            [value, low, high, n] with values in [0, 1].
        num_products: Of the gallery.
        path: The PNG.
        confidence: Coverage of the intervals.

    Raises:
        StorageError: It cannot be written.
    """
    from matplotlib.figure import Figure

    names = [key for key in SHOWN if any(key in row["scores"] for row in rows)]
    across = min(len(names), 3) or 1
    down = -(-len(names) // across) or 1
    figure = Figure(figsize=(0.6 + 3.1 * across, 0.9 + 2.5 * down), dpi=130, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    ticks = [f"{row['photos']}\n{100 * row['products_with_as_many'] / max(num_products, 1):.0f} %" for row in rows]
    for place, name in zip(panels, names, strict=False):
        points = [(row["photos"], *row["scores"][name]) for row in rows if name in row["scores"]]
        at, value, low, high, _ = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
        place.vlines(at, 100 * low, 100 * high, color=LINE, linewidth=2, alpha=0.5)
        place.plot(at, 100 * value, "o-", color=LINE, markersize=5, linewidth=1.2)
        place.set_title(f"{name}\nn = {points[-1][-1]}", loc="left", fontsize=8)
        place.set_xticks([row["photos"] for row in rows], ticks, fontsize=7)
        place.set_xlim(rows[0]["photos"] - 0.4, rows[-1]["photos"] + 0.4)
        place.tick_params(axis="y", labelsize=7)
        place.grid(axis="y", color="#dddddd", linewidth=0.6)
        place.set_axisbelow(True)
        place.spines[["top", "right"]].set_visible(False)
    for place in panels[len(names) :]:
        place.set_axis_off()
    figure.supxlabel("most photographs a product; below, the share of products that have as many", fontsize=8)
    figure.supylabel(f"%, with {100 * confidence:g} % intervals", fontsize=8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise StorageError("the curve cannot be drawn", where=str(path), got=str(error)) from None


if __name__ == "__main__":
    run(main)
