"""How well core regions are found in real photographs, and what finding them costs.

    python -m benchmarks.regions photos DATA --labels FILE --finder saliency --finder yolo --finder luma=FOLDER
    python -m benchmarks.regions cost DATA --finder saliency --finder yolo
    python -m benchmarks.regions clutter DATA OUT --backgrounds PHOTOS

`photos` compares finders on photographs labelled by eye: median IoU, share at IoU 0.5, and the difference from each
other finder with a paired 95 % interval over articles. `--sheets` writes every photograph of the data with its box, to
be looked through. `cost` tells milliseconds an image, decoding apart, in one process and one thread, the median of
rounds in which the finders take turns, and counts the detector calls of a second run over the same catalogue.
`clutter` writes a shop whose second photographs, put into real scenes, ask for the product: a recipe may read it.
Writes benchmarks/results/regions.json.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.ablation.machine import commit, machine
from benchmarks.regions.cluttered import surroundings, write_cluttered
from benchmarks.regions.finders import Finder, boxes_of, read_finders
from benchmarks.regions.labels import Labels, read_labels
from benchmarks.regions.overlap import GOOD_IOU, Difference, median_difference, overlaps
from benchmarks.regions.overlays import Overlay, write_sheets
from benchmarks.regions.pictures import Asked, asked_photos, read_data
from catalog import MoonError, StorageError
from models.regions import RegionStore, detect_catalog, make_detector

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Data = Annotated[Path, typer.Argument(help="Folder with queries.jsonl or products.jsonl and images/.")]
Finders = Annotated[list[str], typer.Option("--finder", help="whole, a backend, BACKEND+worn, or NAME=FOLDER.")]
Results = Annotated[Path, typer.Option(help="Where the figures go.")]
_RESULTS = Path("benchmarks/results/regions.json")


@app.command()
def photos(
    data: Data,
    finder: Finders,
    labels: Annotated[Path, typer.Option(help="Boxes drawn by eye, such as tests/regions/labels/luma_worn.json.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 0,
    sheets: Annotated[Path | None, typer.Option(help="Write sheets of overlays here.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Sheets of every photograph, not of labelled ones.")
    ] = False,
    results: Results = _RESULTS,
) -> None:
    """Compare finders on photographs that were labelled by eye."""
    finders, told = read_finders(finder), read_labels(labels)
    catalog = read_data(data)
    boxes = {label.image: label.box for label in told.labels}
    asked = asked_photos(catalog, list(boxes))
    true = [boxes[one.ref] for one in asked]
    ious, rows = {}, {}
    for one in finders:
        regions = one.find([shot.image for shot in asked], [shot.wanted for shot in asked])
        ious[one.name] = overlaps(boxes_of(regions), true)
        rows[one.name] = [
            {"image": shot.ref, "box": [round(value, 1) for value in region.box], "reason": region.reason}
            for shot, region in zip(asked, regions, strict=True)
        ]
    summary = summarise(ious, [shot.group for shot in asked], told, seed)
    Console(width=150).print(as_table(summary))
    for name, kinds in summary["kinds"].items():
        print(f"{name}: " + ", ".join(f"{kind} {value:.3f} (n = {n})" for kind, (value, n) in kinds.items()))
    if sheets is not None:
        _write_overlays(finders, asked_photos(catalog, None) if everything else asked, boxes, sheets)
    own = {"data": told.source, "seed": seed, "summary": summary, "found": rows}
    _keep(results, labels.stem, own | {"commit": commit(), "machine": machine()})


@app.command()
def cost(
    data: Data,
    finder: Finders,
    most: Annotated[int, typer.Option(min=1, help="Most photographs.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the finders take turns in each.")] = 5,
    results: Results = _RESULTS,
) -> None:
    """Milliseconds an image of each finder, and the detector calls of a second run."""
    import torch

    torch.set_num_threads(1)
    finders, catalog = read_finders(finder), read_data(data)
    asked = asked_photos(catalog, None, most)
    images, wanted = [shot.image for shot in asked], [shot.wanted for shot in asked]
    detectors = {one.name: make_detector(one.config) for one in finders}
    times: dict[str, list[float]] = {one.name: [] for one in finders}
    for detector in detectors.values():
        detector.detect(images[:1], wanted[:1])
    for _ in range(rounds):
        for name, detector in detectors.items():
            started = time.perf_counter()
            detector.detect(images, wanted)
            times[name].append(1e3 * (time.perf_counter() - started) / len(images))
    told = {}
    for name, detector in detectors.items():
        store = RegionStore(detector.digest)
        first = detect_catalog(catalog, detector, store)
        again = detect_catalog(catalog, detector, store)
        told[name] = {
            "ms_an_image": statistics.median(times[name]),
            "rounds": [round(value, 3) for value in times[name]],
            "n": len(images),
            "first_run_calls": first.num_detected,
            "second_run_calls": again.num_detected,
        }
        print(
            f"{name}: {told[name]['ms_an_image']:.1f} ms an image (n = {len(images)}, {rounds} rounds, one thread); "
            f"{first.num_detected} detector calls, {again.num_detected} in a second run"
        )
    _keep(results, f"cost_{catalog.name}", {"cost": told, "commit": commit(), "machine": machine()})


@app.command()
def clutter(
    data: Data,
    out: Annotated[Path, typer.Argument(help="Folder to write; `catalog.source: folder` reads it.")],
    backgrounds: Annotated[
        Path, typer.Option(help="Photographs taken at home, as DATA; the product in them is not used.")
    ],
    scenes: Annotated[int, typer.Option(min=1, help="Queries from each photograph.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of the scenes.")] = 0,
) -> None:
    """Write a shop whose second photographs ask from real scenes, marked as augmented."""
    grounds = surroundings([shot.image for shot in asked_photos(read_data(backgrounds), None)])
    made = write_cluttered(read_data(data), grounds, out, scenes, seed)
    print(
        f"{out}: {made.num_products} products, {made.num_queries} cluttered queries, "
        f"{made.num_refused} photographs could not be cut out"
    )


def summarise(ious: dict[str, np.ndarray], groups: Sequence[str], told: Labels, seed: int) -> dict[str, Any]:
    """Medians, shares and paired differences as plain data."""
    kind_of = {label.image: label.kind for label in told.labels}
    names = list(ious)
    kinds = [kind_of[image] for image in sorted(kind_of)]
    agreements = [label.agreement for label in told.labels if label.agreement is not None]
    return {
        "n": len(groups),
        "num_groups": len(set(groups)),
        "median": {name: float(np.median(values)) for name, values in ious.items()},
        "mean": {name: float(values.mean()) for name, values in ious.items()},
        "good": {name: float((values >= GOOD_IOU).mean()) for name, values in ious.items()},
        "differences": {
            name: {other: _plain(median_difference(ious[name], ious[other], groups, seed)) for other in names[:index]}
            for index, name in enumerate(names)
        },
        "kinds": {
            name: {
                kind: (float(np.median(values[rows])), len(rows))
                for kind in sorted(set(kinds))
                if kind and len(rows := np.flatnonzero([one == kind for one in kinds]))
            }
            for name, values in ious.items()
        },
        "labellers": float(np.median(agreements)) if agreements else None,
    }


def as_table(summary: dict[str, Any]) -> Table:
    """One row a finder."""
    names = list(summary["median"])
    table = Table("finder", "median IoU", "mean IoU", f"IoU >= {GOOD_IOU}", *(f"minus {name}" for name in names[:-1]))
    for name in names:
        less = summary["differences"][name]
        cells = [f"{d[0]:+.3f} [{d[1]:+.3f}, {d[2]:+.3f}]" if (d := less.get(other)) else "" for other in names[:-1]]
        table.add_row(
            name,
            f"{summary['median'][name]:.3f}",
            f"{summary['mean'][name]:.3f}",
            f"{100 * summary['good'][name]:.0f} %",
            *cells,
        )
    table.title = f"{summary['n']} photographs of {summary['num_groups']} articles"
    if summary["labellers"] is not None:
        table.caption = f"median IoU of the two labellers with each other: {summary['labellers']:.3f}"
    return table


def _write_overlays(finders: Sequence[Finder], asked: list[Asked], boxes: dict[str, Any], folder: Path) -> None:
    for one in finders:
        regions = one.find([shot.image for shot in asked], [shot.wanted for shot in asked])
        overlays = [
            Overlay(shot.image, region.box, f"{region.score:.2f} {Path(shot.ref).stem}", boxes.get(shot.ref))
            for shot, region in zip(asked, regions, strict=True)
        ]
        for path in write_sheets(overlays, folder, one.name):
            print(path)


def _plain(one: Difference) -> tuple[float, float, float]:
    return one.value, one.low, one.high


def _keep(path: Path, name: str, own: dict[str, Any]) -> None:
    """Add these figures to the file, which is replaced whole.

    Raises:
        StorageError: The file is no such file, or cannot be written; it is left as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        told = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(told | {name: own}, indent=1, allow_nan=False) + "\n", "utf-8")
        os.replace(partial, path)
    except (OSError, json.JSONDecodeError, TypeError) as error:
        raise StorageError(
            "figures cannot be kept", where=str(path), got=str(error), fix="name another file with --results"
        ) from None


def main() -> None:
    """Run; what a user can cause ends it with its text and no traceback."""
    try:
        app()
    except MoonError as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_status) from None


if __name__ == "__main__":
    main()
