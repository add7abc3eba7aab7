"""False alarms and power of the gate's rule of no regression, on simulated pairs of encoders.

    python -m benchmarks.gate_calibration              # 200 pairs a layout, half a minute
    python -m benchmarks.gate_calibration --long       # 2,000, and the rules it was chosen from: minutes

Prints the tables of docs/CALIBRATION.md and writes the figures as JSON. Equal seeds give equal figures on any machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.gate_calibration.rules import RULES
from benchmarks.gate_calibration.tables import gate_table, rules_table
from benchmarks.gate_calibration.trials import compare_rules, judge_pairs
from benchmarks.gate_calibration.worlds import LAYOUTS, World

LEVEL, DROP = 0.05, 0.03
JUDGED = ("Luma, photos", "Luma, categories", "demo, categories", "demo, photos", "250 x 4", "1000 x 1")
SCORES = (0.5, 0.9, 0.97)


def worlds_compared() -> list[World]:
    """Every layout with hits of three scores, reciprocal ranks, and pairs that are equally good and unlike."""
    kinds: list[dict[str, Any]] = [{"score": score} for score in SCORES]
    kinds += [{"kind": "ranks"}, {"score": 0.9, "own_group": (0.0, 0.3)}, {"kind": "ranks", "own_group": (0.3, 0.0)}]
    return [World(layout, **kind) for layout in LAYOUTS for kind in kinds]


def judged(pairs: int, seed: int) -> list[dict[str, Any]]:
    """Rows of `gate_table`."""
    rows = []
    for number, layout in enumerate(JUDGED):
        world, own_seed = World(layout), seed + 2 * number
        equal = judge_pairs(world, pairs=pairs, drop=DROP, true_drop=0.0, level=LEVEL, seed=own_seed)
        worse = judge_pairs(world, pairs=pairs, drop=DROP, true_drop=DROP, level=LEVEL, seed=own_seed + 1)
        rows.append(
            {
                "layout": layout,
                "n": int(world.sizes.sum()),
                "num_groups": len(world.sizes),
                "alarms": equal.alarms,
                "alarms_expected": equal.expected(LEVEL),
                "caught": worse.alarms,
                "caught_expected": worse.expected(worse.power),
                "power": worse.power,
                "power_of_equal": equal.power,
                "covered_equal": equal.covered / pairs,
                "covered_loss": worse.covered / pairs,
            }
        )
    return rows


def compared(pairs: int, seed: int) -> list[dict[str, Any]]:
    """Rows of `rules_table`."""
    rows = []
    for number, world in enumerate(worlds_compared()):
        found = compare_rules(world, pairs=pairs, true_drop=0.0, level=LEVEL, seed=seed + number)
        rows.append(
            {
                "layout": world.layout,
                "values": world.title,
                "groups that differ": found.pop("groups that differ")[0],
                "alarms": {name: own[0] for name, own in found.items()},
                "covered": {name: own[1] for name, own in found.items()},
            }
        )
    return rows


def main(
    long: Annotated[bool, typer.Option("--long", help="Ten times the pairs, and the other rules beside.")] = False,
    seed: Annotated[int, typer.Option(help="Of the drawing.")] = 0,
    out: Annotated[Path, typer.Option(help="JSON of the figures.")] = Path("benchmarks/results/gate_calibration.json"),
) -> None:
    """False alarms and power of the rule of no regression, on simulated pairs of encoders."""
    told = json.loads(out.read_text("utf-8")) if out.is_file() else {}
    told |= {"level": LEVEL, "drop": DROP, "seed": seed, "judged_200": judged(200, seed)}
    print(gate_table(told["judged_200"]))
    if long:
        told["judged_2000"] = judged(2_000, seed + 1_000)
        print("", gate_table(told["judged_2000"]), sep="\n")
        told["compared_2000"] = compared(2_000, seed + 2_000)
        print("", rules_table(told["compared_2000"], list(RULES)), sep="\n")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
