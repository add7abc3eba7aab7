"""The results as a page: tables between two markers of docs/RESULTS.md, all of it computed from committed rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.ablation.arms import ARMS, BASELINES, DUAL, FULL
from benchmarks.ablation.bars import SHOWN, evaluate
from benchmarks.ablation.comparison import (
    CONFIDENCE,
    NUM_BOOTSTRAP,
    ArmRows,
    Gap,
    Judged,
    Pooled,
    arm_of,
    by_pair,
    difference,
    is_sure,
    main_mean,
    paired_rows,
    score,
)
from benchmarks.ablation.hits import hits
from benchmarks.ablation.protocol import Protocol, Setup, arm_setup
from benchmarks.ablation.results import Row, Rows, read_outcomes

_COLUMNS = {
    "image_to_product/recall@1": "image R@1",
    "text_to_product/recall@10": "text R@10",
    "both_to_product/recall@1": "both R@1",
    "category_leaf_title_hidden/accuracy": "leaf",
    "attributes_title_hidden/accuracy_macro": "attributes",
}


@dataclass(frozen=True)
class Section:
    """All that is known of one data set under its own recipe as it is now."""

    protocol: Protocol
    arms: Mapping[str, ArmRows]
    """Arms first, in the order of their first row, then baselines."""
    lr_rows: Sequence[Row]
    earlier: Sequence[Row]
    """Rows of arms under other recipes, and their learning rates tried."""
    wanted: Sequence[str]
    """Arms that change something in this recipe."""

    @property
    def trained(self) -> list[ArmRows]:
        known = [arm for arm in self.arms.values() if arm.rows[0].kind == "arm"]
        return sorted(known, key=lambda arm: arm.name != FULL)

    @property
    def baselines(self) -> list[ArmRows]:
        order = [baseline.name for baseline in BASELINES]
        known = [arm for arm in self.arms.values() if arm.rows[0].kind == "baseline"]
        return sorted(known, key=lambda arm: order.index(arm.name) if arm.name in order else len(order))


def read_section(results: Path, protocol: Protocol, recipe: str | None = None) -> Section | None:
    """The rows of one data set; None when there are none.

    Args:
        results: Where rows stand.
        protocol: Of the data.
        recipe: Path of the recipe whose rows are wanted; None: the data's own, or the last where it has none.

    Raises:
        ModelError: A row or its results by item cannot be read.
    """
    rows = Rows(results / f"{protocol.data}.jsonl").read()
    if not rows:
        return None
    trained = [row for row in rows if row.kind == "arm"] or rows
    # One run of another recipe, tried with --recipe, is no reason to hide the table of the data's own.
    own = [row for row in trained if row.recipe == (recipe or protocol.recipe)]
    if recipe is not None and not own:
        return None
    digest = (own or trained)[-1].recipe_digest
    latest: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        if row.recipe_digest == digest:
            latest[row.arm][row.seed] = row
    arms = {
        name: arm_of(name, [Judged(row, read_outcomes(results, row)) for row in by_seed.values()])
        for name, by_seed in latest.items()
    }
    rates = Rows(results / f"lr-{protocol.data}.jsonl").read()
    return Section(
        protocol,
        arms,
        [row for row in rates if row.recipe_digest == digest],
        [row for row in (*trained, *rates) if row.recipe_digest != digest],
        _with_effect(results / "recipes" / f"{digest}.json", protocol),
    )


def _with_effect(path: Path, protocol: Protocol) -> list[str]:
    """The protocol's arms that change something in the recipe that was written down; all of them where none was."""
    if not path.is_file():
        return [*protocol.arms]
    base = Setup.model_validate(json.loads(path.read_text(encoding="utf-8"))["setup"])
    own = [arm for arm in ARMS if arm.name in protocol.arms]
    return [arm.name for arm in own if arm.name == FULL or arm_setup(base, arm) != base]


def render(sections: Sequence[Section], figure: str | None, bars: bool = True) -> str:
    """The page between the markers.

    Args:
        sections: One a data set.
        figure: Path of the figure, relative to the page.
        bars: Whether the project's bars are among it; they speak of the data's own recipes.
    """
    if not sections:
        return "No rows yet.\n"
    text = [
        "Scores in per cent, differences in points, positive where full is better. Brackets are "
        f"{100 * CONFIDENCE:.0f} % intervals of paired differences: {NUM_BOOTSTRAP:,} bootstrap resamples of whole "
        "groups of variants, with all rows of a group together: repeating seeds does not narrow them. They tell how "
        "much hangs on which questions were asked, not how much one training differs from the next; that is in the "
        "column `each`, the mean of five by seed. Leaf and attributes are asked with the title hidden and without a "
        "classifier head: labels are texts, seen in training on other products. n counts items, `items x seeds` where "
        "seeds share them. Bold: the interval lies on one side of 0, in more than one pair of trainings.",
        "",
    ]
    if figure:
        text += [f"![Full minus each arm, with intervals]({figure})", ""]
    for section in sections:
        text += _section(section, bars)
    return "\n".join(text).rstrip() + "\n"


def _section(section: Section, bars: bool) -> list[str]:
    protocol = section.protocol
    some = next(iter(section.arms.values())).rows[-1]
    layout = (
        f"{protocol.num_folds} folds by group, seed s holds out fold s - 1; scores are pooled over the folds, and the "
        "spread over seeds is one over folds too"
        if protocol.num_folds > 1
        else "the recipe's own split, the same for all seeds; scores are the mean over seeds"
    )
    text = [f"## {protocol.data}", "", f"`{some.recipe}`, recipe {some.recipe_digest}; {layout}.", ""]
    text += [*(_bars(section) if bars else ()), *_scores(section), "### Exact product / any of its group (n)", ""]
    text += [*_table(*hits([*section.trained, *section.baselines])), ""]
    text += [*_gaps(section), *_rates(section), *_earlier(section)]
    return [*text, *_notes(section)]


def _bars(section: Section) -> list[str]:
    rows = [
        [bar.text, f"**{bar.verdict}**", bar.numbers]
        for bar in evaluate(section.protocol, section.arms, section.lr_rows, section.wanted)
    ]
    return ["### Bars", "", *_table(["bar", "verdict", "numbers"], rows), ""]


def _scores(section: Section) -> list[str]:
    head = ["arm", "seeds", *_COLUMNS.values(), "mean of five", "sd over seeds", "parameters", "min", "commit"]
    rows = []
    for arm in (*section.trained, *section.baselines):
        values = [score(arm, metric) for metric in _COLUMNS]
        mean, spread = main_mean(arm), arm.spread
        is_trained = arm.rows[0].kind == "arm"
        rows.append(
            [
                arm.title,
                ", ".join(map(str, sorted(arm.by_seed))),
                *(_scored(one) for one in values),
                "n/a" if mean is None else f"{100 * mean:.1f}",
                "" if spread is None else f"{100 * spread:.1f}",
                f"{arm.rows[-1].trainable:,}" if is_trained else "",
                f"{fmean(row.train_s for row in arm.rows) / 60:.1f}" if is_trained else "",
                ", ".join(sorted({row.commit[:8] + "+" * row.commit.endswith("+") for row in arm.rows})),
            ]
        )
    return ["### Scores (n)", "", *_table(head, rows), ""]


def _gaps(section: Section) -> list[str]:
    if FULL not in section.arms:
        return []
    full = section.arms[FULL]
    head = ["full minus", "pairs", "mean of five", "each", *_COLUMNS.values()]
    rows = []
    others = [arm for arm in (*section.trained, *section.baselines) if arm.name != FULL]
    for arm in sorted(others, key=lambda arm: arm.name != DUAL):
        rows.append([arm.title, *_gap_cells(full, arm, {}, {})])
        if arm.name == "title_words":
            rows.append([f"{arm.title}, shown the title", *_gap_cells(full, arm, {}, SHOWN)])
            rows.append([f"{arm.title}, both shown the title", *_gap_cells(full, arm, SHOWN, SHOWN)])
    return ["### Paired differences", "", *_table(head, rows), ""] if rows else []


def _gap_cells(
    full: ArmRows, arm: ArmRows, ours_instead: Mapping[str, str], theirs_instead: Mapping[str, str]
) -> list[str]:
    ours = [ours_instead.get(metric, metric) for metric in _COLUMNS]
    theirs = [theirs_instead.get(metric, metric) for metric in _COLUMNS]
    whole = difference(full, arm, ours, theirs)
    each = by_pair(full, arm) if whole is not None and ours == theirs else []
    cells = [_gap(whole), ", ".join(f"{100 * one:+.1f}" for one in each)]
    cells += [_gap(difference(full, arm, [own], [other])) for own, other in zip(ours, theirs, strict=True)]
    return [str(len(paired_rows(full, arm))), *cells]


def _rates(section: Section) -> list[str]:
    if not section.lr_rows:
        return []
    rows = [
        [row.title, f"{row.lr_factor:g}", _percent(row.main_score), f"{row.train_s / 60:.1f}", row.commit[:8]]
        for row in section.lr_rows
    ]
    head = ["arm", "times the recipe's rates", "main score, validation side", "min", "commit"]
    return ["### Learning rates tried", "", *_table(head, rows), ""]


def _earlier(section: Section) -> list[str]:
    """What other recipes gave, so that no result is lost with the recipe that made it."""
    by_arm: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in section.earlier:
        rate = f", learning rates x {row.lr_factor:g}, validation side" if row.kind == "lr" else ""
        by_arm[row.recipe_digest, row.recipe, row.title + rate].append(row)
    rows = [
        [
            f"{recipe}, {digest}",
            title,
            ", ".join(str(seed) for seed in sorted({row.seed for row in found})),
            _percent(fmean(scores) if (scores := [r.main_score for r in found if r.main_score is not None]) else None),
            found[-1].commit[:8],
        ]
        for (digest, recipe, title), found in by_arm.items()
    ]
    if not rows:
        return []
    head = ["recipe", "arm", "seeds", "main score, mean", "commit"]
    return ["### Under other recipes", "", *_table(head, rows), ""]


def _notes(section: Section) -> list[str]:
    rows = [row for arm in section.arms.values() for row in arm.rows]
    machines = sorted({_machine(row) for row in rows})
    notes = [f"Machine: {'; '.join(machines)}."]
    mixed = {row.harness_digest for row in rows}
    if len(mixed) > 1:
        notes.append(
            f"Rows were judged by {len(mixed)} versions of the benchmark's code; only rows of one version are paired."
        )
    full_rates = {row.lr_factor for arm in section.trained if arm.name == FULL for row in arm.rows}
    others = {
        arm.title for arm in section.trained if arm.name != DUAL and {row.lr_factor for row in arm.rows} - full_rates
    }
    if others:
        notes.append(f"Trained at other learning rates than full, and to be run again: {', '.join(sorted(others))}.")
    idle = {arm.title: arm.rows[-1].idle for arm in section.trained if arm.rows[-1].idle}
    if idle:
        told = ", ".join(f"{title} {count:,}" for title, count in idle.items())
        notes.append(f"Not counted as parameters, because no embedding depends on them: {told}.")
    return [*notes, ""]


def _machine(row: Row) -> str:
    one = row.machine
    return f"{one.get('cpu', 'unknown')}, {one.get('cores', '?')} cores, PyTorch {one.get('torch', '?')}"


def _gap(found: Gap | None) -> str:
    if found is None:
        return "n/a"
    text = f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return f"**{text}**" if is_sure(found) else text


def _scored(one: Pooled | None) -> str:
    if one is None:
        return "n/a"
    times, rest = divmod(one.n, one.num_items)
    return (
        f"{100 * one.value:.1f} ({one.num_items} x {times})"
        if times > 1 and not rest
        else f"{100 * one.value:.1f} ({one.n})"
    )


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
