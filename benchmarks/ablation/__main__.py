"""The command: `python -m benchmarks.ablation --help`."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from catalog.errors import ConfigError, MoonError
from moon.quiet import share_the_cores, switch_off_telemetry

if TYPE_CHECKING:
    from benchmarks.ablation.children import Children
    from benchmarks.ablation.planning import Origin
    from benchmarks.ablation.protocol import Protocol
    from benchmarks.ablation.runs import Job


class _ShortErrors(TyperGroup):
    """Ends with the text of a MoonError and status 1; a traceback is for our own mistakes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MoonError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(error.exit_status) from None


app = typer.Typer(
    cls=_ShortErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="What each part of MOON is worth: full, full minus each part, and rivals, on the same data.\n\n"
    "In this order:\n\n"
    "  lr         full and the dual encoder at the same learning rates, on a validation side\n\n"
    "  run        trains and judges arms, seed by seed; stop it when you like, the same command goes on\n\n"
    "  baselines  rivals that learn nothing, on the same folds\n\n"
    "  report     tables and bars to docs/RESULTS.md, a figure to docs/images\n\n"
    "`arms` lists what there is. Each finished run is a row in benchmarks/results/ablation, to be committed; a row is "
    "never made twice while its configuration and data stay the same, but with `run --again`.",
)

Data = Annotated[str, typer.Option(help="demo, or luma: real photographs, five folds by group.")]
RecipePath = Annotated[
    str | None, typer.Option("--recipe", help="What full is: a recipe of train_moon. The data's own where empty.")
]
Seeds = Annotated[
    str | None, typer.Option(help="Numbers, such as 1,2,3. On luma seed s holds out fold s - 1. All where empty.")
]
Budget = Annotated[
    float | None, typer.Option(min=0.1, help="Begin no run that would end later than this, by the mean so far.")
]
Work = Annotated[
    Path | None, typer.Option(help="For caches and checkpoints; below MOON_WORK, or .moon/work, where empty.")
]
Results = Annotated[Path, typer.Option(help="Where rows stand.")]
Again = Annotated[
    bool,
    typer.Option("--again", help="Rows of other code do not count: for code mended and committed since."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")]
RESULTS = Path("benchmarks/results/ablation")


@app.callback()
def _settle() -> None:
    switch_off_telemetry()
    share_the_cores()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")


@app.command()
def arms(
    data: Data = "demo",
    arms_file: Annotated[Path | None, typer.Option(help="Further arms, in YAML.")] = None,
) -> None:
    """List the arms: what each changes, and which ones `all` means.

    Example: python -m benchmarks.ablation arms --data luma
    """
    from benchmarks.ablation.arms import ARMS, BASELINES, read_arms
    from benchmarks.ablation.protocol import flat

    protocol = _protocol(data)
    for arm in (*ARMS, *(read_arms(arms_file) if arms_file else ())):
        changes = ", ".join(f"{key} = {value}" for key, value in flat(arm.changes).items()) or "the recipe as it is"
        matched = {"free": "", "checked": "; parameters as full", "fitted": "; parameters fitted to full's"}
        mark = "*" if arm.name in protocol.arms else " "
        typer.echo(f"{mark} {arm.name:<27} {arm.title}\n{'':<30}{changes}{matched[arm.parameters]}")
    typer.echo(f"\n* what `--arms all` runs on {data}; baselines: {', '.join(one.name for one in BASELINES)}")


@app.command()
def run(
    data: Data,
    arms: Annotated[str, typer.Option(help="Names, such as full,dual; or all.")] = "all",
    seeds: Seeds = None,
    recipe: RecipePath = None,
    arms_file: Annotated[
        Path | None, typer.Option(help="Further arms, in YAML: name: {about: .., like: full or dual, changes: {..}}.")
    ] = None,
    budget_minutes: Budget = None,
    keep_models: Annotated[bool, typer.Option(help="Leave each model folder in the working folder.")] = False,
    again: Again = False,
    dry_run: DryRun = False,
    work: Work = None,
    results: Results = RESULTS,
) -> None:
    """Train and judge every arm on every seed, seed by seed, one row each.

    Rows that stand there under the same configuration are skipped; a run that was cut off goes on from its checkpoint.

    Example: python -m benchmarks.ablation run --data luma --arms full,dual --seeds 1,2 --budget-minutes 90
    """
    from benchmarks.ablation.arms import ARMS, choose_arms, read_arms
    from benchmarks.ablation.planning import arm_jobs, chosen_rates
    from benchmarks.ablation.results import Rows

    known = (*ARMS, *(read_arms(arms_file) if arms_file else ()))
    with _harness(data, recipe, work, results, keep_models) as harness:
        protocol = harness.origin.protocol
        named = arms != "all"
        own = [name.strip() for name in arms.split(",") if name.strip()] if named else [*protocol.arms]
        if arms_file and not named:
            own += [arm.name for arm in known[len(ARMS) :]]
        rates = chosen_rates(Rows(results / f"lr-{data}.jsonl").read(), harness.origin.digest)
        for name, (factor, tried) in rates.items():
            typer.echo(f"{name}: the recipe's learning rates x {factor:g}, the best of {tried} tried")
        jobs = arm_jobs(
            harness.origin,
            choose_arms(own, known),
            _seeds(seeds, protocol),
            rates,
            harness.children.match,
            named=named,
            say=typer.echo,
        )
        harness.go(jobs, results / f"{data}.jsonl", budget_minutes, dry_run, again)


@app.command()
def lr(
    data: Data,
    grid: Annotated[str, typer.Option(help="Factors of the recipe's learning rates.")] = "0.5,1,2",
    recipe: RecipePath = None,
    budget_minutes: Budget = None,
    dry_run: DryRun = False,
    work: Work = None,
    results: Results = RESULTS,
) -> None:
    """Try the same learning rates for full and the dual encoder, on the validation side of the first fold.

    `run` then takes the best of each; arms that lack a part take full's.

    Example: python -m benchmarks.ablation lr --data luma --grid 0.5,1,2
    """
    from benchmarks.ablation.arms import ARMS
    from benchmarks.ablation.planning import lr_jobs

    factors = sorted(set(_numbers(grid, float, "--grid")))
    if not factors or factors[0] <= 0:
        raise ConfigError("factors of a learning rate are above 0", where="--grid", got=grid)
    with _harness(data, recipe, work, results, False) as harness:
        jobs = lr_jobs(harness.origin, ARMS, factors, harness.children.match)
        harness.go(jobs, results / f"lr-{data}.jsonl", budget_minutes, dry_run)


@app.command()
def baselines(
    data: Data,
    seeds: Seeds = None,
    recipe: RecipePath = None,
    budget_minutes: Budget = None,
    dry_run: DryRun = False,
    work: Work = None,
    results: Results = RESULTS,
) -> None:
    """Judge the rivals that learn nothing on the same folds.

    Example: python -m benchmarks.ablation baselines --data luma
    """
    from benchmarks.ablation.planning import baseline_jobs

    with _harness(data, recipe, work, results, False) as harness:
        jobs = baseline_jobs(harness.origin, _seeds(seeds, harness.origin.protocol))
        harness.go(jobs, results / f"{data}.jsonl", budget_minutes, dry_run)


@app.command()
def report(
    results: Results = RESULTS,
    page: Annotated[Path, typer.Option(help="Page with the two markers; begun where it is not there.")] = Path(
        "docs/RESULTS.md"
    ),
    figure: Annotated[Path, typer.Option(help="PNG to draw.")] = Path("docs/images/ablation.png"),
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Only what stands under this recipe, and no bars. Name a --page.")
    ] = None,
) -> None:
    """Write tables, bars and figure from the committed rows; trains nothing.

    Example: python -m benchmarks.ablation report
    """
    from benchmarks.ablation.bars import evaluate
    from benchmarks.ablation.figure import draw
    from benchmarks.ablation.page import told_of, write_page
    from benchmarks.ablation.protocol import PROTOCOLS
    from benchmarks.ablation.report import read_section, render

    found = (read_section(results, one, recipe) for one in PROTOCOLS.values())
    sections = [section for section in found if section is not None]
    drawn = draw(sections, figure)
    link = None
    if drawn:
        link = Path(os.path.relpath(figure, page.parent)).as_posix()
    write_page(page, render(sections, link, bars=recipe is None) + told_of(results))
    for section in sections if recipe is None else ():
        for bar in evaluate(section.protocol, section.arms, section.lr_rows, section.wanted):
            typer.echo(f"{section.protocol.data:<5} {bar.verdict:<6} {bar.text}: {bar.numbers}")
    typer.echo(f"{page}" + (f", {figure}" if drawn else "") + ("" if sections else ": no rows yet"))


@dataclass(frozen=True)
class _Harness:
    """A recipe, its data, and the means to run it."""

    origin: Origin
    children: Children
    results: Path
    known: Mapping[str, Mapping[str, Any]]
    """Recipes that rows stand under, by digest."""

    def go(
        self, jobs: Sequence[Job], file: Path, budget_minutes: float | None, dry_run: bool, again: bool = False
    ) -> None:
        from benchmarks.ablation.results import Rows
        from benchmarks.ablation.runs import changed, missing, run_jobs, standing

        rows = Rows(file)
        there = rows.read()
        for line in changed(jobs, there, {digest: one["setup"] for digest, one in self.known.items()}):
            typer.echo(line)
        if dry_run:
            todo = missing(jobs, standing(there, again))
            for job in jobs:
                fold = "" if job.fold is None else f"fold {job.fold}"
                typer.echo(f"{'to do' if job in todo else 'done':<6} {job.name:<32} {fold:<7} {job.config_digest}")
            typer.echo(f"{len(jobs)} runs, {len(todo)} to do")
            return
        self._write_down()
        budget_s = None if budget_minutes is None else 60 * budget_minutes
        try:
            summary = run_jobs(jobs, rows, self.results, self.children, budget_s=budget_s, again=again, say=typer.echo)
        except KeyboardInterrupt:
            typer.echo("stopped; the same command goes on, the run under way from its checkpoint", err=True)
            raise typer.Exit(130) from None
        typer.echo(f"{len(summary.done)} new rows in {file}; next: python -m benchmarks.ablation report")
        if summary.failed:
            typer.echo(f"failed: {', '.join(summary.failed)}", err=True)
            raise typer.Exit(1)

    def _write_down(self) -> None:
        """Keep the resolved recipe beside its rows; the first to be written down stays."""
        from benchmarks.ablation.planning import recipe_setup
        from benchmarks.ablation.results import write_json

        own = self.origin
        if own.digest not in self.known:
            setup = recipe_setup(own.recipe, own.protocol).plain()
            record = {"data": own.protocol.data, "recipe": own.recipe.path, "data_digest": own.data_digest}
            write_json(self.results / "recipes" / f"{own.digest}.json", record | {"setup": setup})


@contextmanager
def _harness(data: str, path: str | None, work: Path | None, results: Path, keep_models: bool) -> Iterator[_Harness]:
    """Take the data in and hold the working folder until the block ends."""
    from benchmarks.ablation.children import Children
    from benchmarks.ablation.places import take_in
    from benchmarks.ablation.planning import origin_of
    from benchmarks.ablation.protocol import read_recipe
    from models.training.workdir import locked
    from steps.workdir import work_root

    protocol = _protocol(data)
    recipe = read_recipe(path or protocol.recipe, protocol)
    root = (work or work_root() / "ablation").absolute()
    with locked(root):
        catalog, places = take_in(recipe.config, root)
        folder = results / "recipes"
        known = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
        origin = origin_of(recipe, protocol, catalog.digest, known)
        typer.echo(f"{data}: {len(catalog.products)} products, digest {catalog.digest[:12]}")
        typer.echo(f"{recipe.path}: digest {origin.digest}" + (", new" if origin.digest not in known else ""))
        if origin.new_keys:
            typer.echo(f"at their default, and younger than its rows: {', '.join(sorted(origin.new_keys))}")
        yield _Harness(origin, Children(places, keep_models), results, known)


def _protocol(data: str) -> Protocol:
    from benchmarks.ablation.protocol import PROTOCOLS

    if data not in PROTOCOLS:
        raise ConfigError("no such data", where="--data", got=data, allowed=", ".join(PROTOCOLS))
    return PROTOCOLS[data]


def _seeds(text: str | None, protocol: Protocol) -> list[int]:
    seeds = sorted(set(_numbers(text, int, "--seeds"))) if text else [*protocol.seeds]
    for seed in seeds:
        protocol.fold_of(seed)
    return seeds


def _numbers(text: str, kind: type, where: str) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError("not a list of numbers", where=where, got=text, allowed="such as 1,2,3") from None


if __name__ == "__main__":
    app()
