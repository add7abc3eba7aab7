"""Write docs/CASE_STUDY.md and its pictures.

python -m benchmarks.case_study --recipe configs/train_moon/demo.yaml --model FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.ablation.machine import commit
from benchmarks.ablation.places import checked, limits_of, take_in
from benchmarks.case_study.cases import held_out, study, vectors_of
from benchmarks.case_study.page import Origin, built, write_page
from benchmarks.case_study.pictures import draw_case, draw_neighbours, draw_space, plane, save_small
from benchmarks.command import held_out_splits, read_config, run
from benchmarks.pointing_game import kept_or_temporary
from models.encoder import MoonEncoder

COMMAND = "python -m benchmarks.case_study --recipe {recipe} --model FOLDER"


def main(
    recipe: Annotated[Path, typer.Option(help="Recipe that the model was trained with.")],
    model: Annotated[Path, typer.Option(help="Model folder.")],
    num: Annotated[int, typer.Option(min=1, max=24, help="Products to look at.")] = 6,
    work: Annotated[Path | None, typer.Option(help="Keep the drawn shop here for the next run.")] = None,
    page: Annotated[Path, typer.Option(help="The page; pictures go into images/ beside it.")] = Path(
        "docs/CASE_STUDY.md"
    ),
    results: Annotated[Path, typer.Option(help="Where the pointing game's figures are.")] = Path("benchmarks/results"),
) -> None:
    """Six products looked at closely."""
    config = read_config(recipe)
    with kept_or_temporary(work) as folder:
        catalog = checked(take_in(config, folder)[1], config.catalog.split, config.checks)
        encoder = MoonEncoder.load(model, limits=limits_of(catalog))
        held = held_out(catalog, held_out_splits(encoder, catalog, config))
        cases = study(encoder, held, num, _say)
        images = page.parent / "images"
        images.mkdir(parents=True, exist_ok=True)
        for case in cases:
            save_small(draw_case(case), images / f"case_{case.number}.png")
            save_small(draw_neighbours(case), images / f"case_{case.number}_neighbours.png")
        points = plane(np.concatenate([vectors.numpy() for vectors in vectors_of(encoder, held)]))
        save_small(draw_space(held, points, cases), images / "case_space.png")
    origin = Origin(
        COMMAND.format(recipe=recipe),
        encoder.digest[:12],
        catalog.digest[:12],
        commit() or "-",
        len(held.items),
        len(held.queries),
        built(encoder.model.config),
    )
    text = write_page(origin, cases, images.name, _pointing(results / "pointing_game.json", encoder.digest))
    page.write_text(text, encoding="utf-8")
    _say(f"{page}: {len(cases)} cases")


def _pointing(path: Path, model_digest: str) -> str:
    """A paragraph on the pointing game, if it was played with this very model."""
    if not path.is_file():
        return ""
    told = json.loads(path.read_text(encoding="utf-8"))
    if told["model"] != model_digest:
        _say(f"{path} is of another model, {told['model'][:12]}: left out of the page")
        return ""
    one = told["scores"]["all"]
    return (
        f"**Do the maps mean anything?** Pointing game over {one['n']} photographs of this model "
        f"(`python -m benchmarks.pointing_game`): the hottest cell lies in the true box in "
        f"{100 * one['hit_frac']:.1f} % ({100 * one['hit_low']:.1f} to {100 * one['hit_high']:.1f}), "
        f"{one['ratio']:.2f} times the boxes' mean area of {100 * one['area_frac']:.1f} %. With random weights it is "
        f"{100 * one['random_hit_frac']:.1f} %, and the maps' rank correlation with those is {one['spearman']:+.2f}. "
        f"Products stand in the middle here: the middle of the picture hits {100 * one['centre_hit_frac']:.1f} %.\n"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
