"""Do the heat maps mean anything?

    python -m benchmarks.pointing_game --recipe configs/train_moon/demo.yaml --model FOLDER

Maps the photographs of held-out products against queries that bought them, and the shoppers' photographs against those
products, and counts how often the hottest cell lies in the true box of the product. The boxes are read from the
catalogue for this alone; no model sees them. Beside the hits stand the mean share of a picture that a box covers (what
a map without meaning would hit), the hits of a point in the middle of the picture, those of the same model with random
weights, and the rank correlation of the two models' maps, which has to be low. Large boxes in the middle are hit by
random weights nearly as often, so what training adds is told too: hits minus those of random weights on the same
photographs, with an interval over products, and the same on small boxes alone. Writes
benchmarks/results/pointing_game.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.ablation.comparison import CONFIDENCE, NUM_BOOTSTRAP, SEED
from benchmarks.ablation.machine import commit, machine
from benchmarks.ablation.places import checked, limits_of, take_in
from benchmarks.command import held_out_splits, read_config, run
from catalog import CatalogError, sha256_hex
from models.encoder import MoonEncoder
from models.inside.heat import HeatConfig
from models.inside.pairs import bought_pairs
from models.inside.pointing import PRODUCT, QUERY, SMALL_FRAC, Score, Shot, play, score
from validation.statistics import Difference, Outcome, paired_difference

MIN_RATIO, MAX_SPEARMAN = 2.0, 0.5
"""Hits over the boxes' mean area at least; correlation with the maps of random weights at most."""
ALL, SMALL = "all", "small boxes"
GROUPS: Mapping[str, Mapping[str, object]] = {
    ALL: {},
    SMALL: {"is_small": True},
    "shop's photographs": {"side": PRODUCT},
    "shop's, asked in words": {"side": PRODUCT, "asked": "text"},
    "shop's, asked with a photograph": {"side": PRODUCT, "asked": "photo"},
    "shop's, asked with both": {"side": PRODUCT, "asked": "both"},
    "shoppers' photographs": {"side": QUERY},
}


def main(
    recipe: Annotated[Path, typer.Option(help="Recipe that the model was trained with; the demo has true boxes.")],
    model: Annotated[Path, typer.Option(help="Model folder.")],
    most: Annotated[int, typer.Option(min=1, help="Most pairs of query and product.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="Of the random weights.")] = 0,
    work: Annotated[Path | None, typer.Option(help="Keep the drawn shop here for the next run.")] = None,
    results: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("benchmarks/results"),
) -> None:
    """Pointing game of a model's heat maps, with random weights for control."""
    config = read_config(recipe)
    with kept_or_temporary(work) as folder:
        catalog = checked(take_in(config, folder)[1], config.catalog.split, config.checks)
        encoder = MoonEncoder.load(model, limits=limits_of(catalog))
        pairs = bought_pairs(catalog, held_out_splits(encoder, catalog, config))
        # A product is mapped for the first query that names it: in the order of ids that would always be a photograph.
        pairs = sorted(pairs, key=lambda pair: sha256_hex(pair[1].query_id.encode()))[:most]
        heat = HeatConfig()
        shots = play(encoder, pairs, heat, seed, lambda done: say_progress(done, len(pairs)))
    if not shots:
        raise CatalogError("no photograph has a true box", where=str(recipe), fix="play on the demo shop")
    parts = {name: rows for name, keys in GROUPS.items() if (rows := _those(shots, keys))}
    found = {name: score(rows) for name, rows in parts.items()}
    gains = {name: gain(rows) for name, rows in parts.items()}
    shares = {name: hits(rows) for name, rows in parts.items()}
    Console(width=180).print(as_table(found, gains, shares))
    whole = found[ALL]
    for what, value, bar, passed in (
        ("hits over area", whole.ratio, f"at least {MIN_RATIO}", whole.ratio >= MIN_RATIO),
        ("Spearman with random weights", whole.spearman, f"below {MAX_SPEARMAN}", whole.spearman < MAX_SPEARMAN),
    ):
        print(f"{what}: {value:.2f}, {bar}: {'met' if passed else 'MISSED'}")
    for line in gain_lines(found, gains):
        print(line)
    told: dict[str, Any] = {
        "model": encoder.digest,
        "data": catalog.digest,
        "heat": heat.model_dump(),
        "seed": seed,
        "num_pairs": len(pairs),
        "small_frac": SMALL_FRAC,
        "scores": as_data(found, gains, shares),
        "shots": [asdict(shot) for shot in shots],
        "commit": commit(),
        "machine": machine(),
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / "pointing_game.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def gain(shots: Sequence[Shot]) -> Difference:
    """Share of hits minus that of random weights on the same photographs, at least one.

    The 95 % interval resamples whole products, variants of one together, with all their photographs and both maps of
    each, as the ablation's intervals do.
    """
    return _paired(shots, [shot.random_hit for shot in shots])


def hits(shots: Sequence[Shot]) -> Difference:
    """Share of hits, at least one photograph, with an interval over products as that of `gain`."""
    return _paired(shots, [0.0] * len(shots))


def _paired(shots: Sequence[Shot], others: Sequence[float]) -> Difference:
    ids = tuple(str(number) for number in range(len(shots)))
    groups = tuple(shot.group for shot in shots)
    trained, other = (
        Outcome(ids, groups, np.array(values, dtype=np.float64)) for values in ([shot.hit for shot in shots], others)
    )
    return paired_difference([trained], [other], num_bootstrap=NUM_BOOTSTRAP, confidence=CONFIDENCE, seed=SEED)


def gain_lines(found: Mapping[str, Score], gains: Mapping[str, Difference]) -> list[str]:
    """What training adds to the hits, on all boxes and on small ones, in words."""
    lines = []
    for name, what in ((ALL, "all boxes"), (SMALL, f"boxes under {100 * SMALL_FRAC:.0f} % of the picture")):
        if name not in found:
            lines.append(f"hits on {what}: there are none")
            continue
        one, more = found[name], gains[name]
        lines.append(
            f"hits on {what} (n = {one.n}): {100 * one.hit_frac:.1f} %, random weights "
            f"{100 * one.random_hit_frac:.1f} %; difference {_points(more)} points, "
            f"interval {'over' if more.low > 0 else 'not over'} 0"
        )
    return lines


def as_data(
    found: Mapping[str, Score], gains: Mapping[str, Difference], shares: Mapping[str, Difference]
) -> dict[str, dict[str, Any]]:
    """Each group's score as plain data, with the interval of its hits and what training adds to them."""
    told = {}
    for name, one in found.items():
        more, share = gains[name], shares[name]
        told[name] = asdict(one) | {"hit_low": share.low, "hit_high": share.high}
        told[name] |= {"hit_gain": more.value, "hit_gain_low": more.low, "hit_gain_high": more.high}
    return told


def as_table(found: Mapping[str, Score], gains: Mapping[str, Difference], shares: Mapping[str, Difference]) -> Table:
    """One row a group of photographs, shares in per cent."""
    table = Table(
        "photographs",
        "n",
        "hits",
        "95 %",
        "mean area",
        "ratio",
        "heat inside",
        "random weights: hits",
        "hits more, 95 %",
        "heat inside",
        "middle",
        "Spearman",
    )
    for name, one in found.items():
        table.add_row(
            name,
            str(one.n),
            f"{100 * one.hit_frac:.1f}",
            f"{100 * shares[name].low:.1f}-{100 * shares[name].high:.1f}",
            f"{100 * one.area_frac:.1f}",
            f"{one.ratio:.2f}",
            f"{100 * one.heat_in_frac:.1f}",
            f"{100 * one.random_hit_frac:.1f}",
            _points(gains[name]),
            f"{100 * one.random_heat_in_frac:.1f}",
            f"{100 * one.centre_hit_frac:.1f}",
            f"{one.spearman:+.2f}",
        )
    return table


def say_progress(done: int, total: int) -> None:
    """One line that is written over."""
    print(f"\r{done}/{total} pairs mapped", end="\n" if done == total else "", file=sys.stderr, flush=True)


@contextmanager
def kept_or_temporary(folder: Path | None) -> Iterator[Path]:
    """The folder asked for, or one that is gone afterwards."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def _points(more: Difference) -> str:
    return f"{100 * more.value:+.1f} ({100 * more.low:+.1f} to {100 * more.high:+.1f})"


def _those(shots: list[Shot], keys: Mapping[str, object]) -> list[Shot]:
    return [shot for shot in shots if all(getattr(shot, name) == value for name, value in keys.items())]


if __name__ == "__main__":
    run(main)
