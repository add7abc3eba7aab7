"""The model card: what a version is, what it was made of, what it can and cannot do."""

from __future__ import annotations

from catalog import Catalog
from steps.records import Benchmark, GateResult, ModelFolder, TrainingRun
from validation.benchmark import SHOWN_METRICS, BenchmarkRecord, Score, main_score, shown


def model_card(
    catalog: Catalog, model: ModelFolder, training: TrainingRun, benchmark: Benchmark, decision: GateResult
) -> str:
    """Markdown for the registry."""
    candidate = benchmark.candidate
    lineage = training.record["lineage"]
    rows = [
        ("model digest", model.digest),
        ("data", f"{catalog.name}, {len(catalog.products)} products, digest {catalog.digest}"),
        ("evaluation set", f"{candidate.num_gallery} held-out products, digest {candidate.eval_set_digest}"),
        *((name.replace("_", " "), str(value)) for name, value in sorted(lineage.items()) if name != "data_digest"),
        ("vector length", str(candidate.dims)),
    ]
    return "\n".join(
        [
            "# MOON product embeddings",
            "",
            "| | |\n|---|---|",
            *(f"| {name} | `{value}` |" for name, value in rows),
            "",
            "## Scores on held-out groups",
            "",
            _score_table(candidate),
            "",
            f"Main score {100 * main_score(candidate):.1f} %; beside it "
            + ", ".join(f"{name} {100 * main_score(record):.1f} %" for name, record in _rivals(benchmark))
            + ".",
            "",
            "## Gate",
            "",
            "```",
            decision.text,
            "```",
            "",
            *_waivers(decision),
            "## Intended use",
            "",
            "Finding products of this shop by a photograph, by words or by both, and naming their category and "
            "attributes without training for it.",
            "",
            "## Limits",
            "",
            "- Scores hold for catalogues like the one it was judged on, and only as far as the intervals say.",
            "- It was not judged on people, brands, safety or legality, and must not decide about any of them.",
            "- Words in a language, and products of a kind, that the training data lacks are embedded all the same.",
            *(f"- {note}" for note in candidate.notes),
            "",
            "## Licence",
            "",
            "The code is Apache-2.0. The weights inherit the terms of the catalogue they were trained on.",
        ]
    )


def _waivers(decision: GateResult) -> list[str]:
    """What the version was forgiven; nothing where every rule held."""
    rows = decision.to_decision().used_waivers
    if not rows:
        return []
    lines = [f"- `{row['rule']}`: waived by {row['name']} until {row['expires']}: {row['reason']}" for row in rows]
    return ["## Waivers", "", "Rules that did not hold, and who answered for them:", "", *lines, ""]


def _rivals(benchmark: Benchmark) -> list[tuple[str, BenchmarkRecord]]:
    """Rivals that were asked everything; what cannot read has no main score."""
    return [(name, record) for name, record in benchmark.rivals.items() if main_score(record) == main_score(record)]


def _score_table(record: BenchmarkRecord) -> str:
    def row(name: str, score: Score) -> str:
        value, low, high = (shown(name, number) for number in (score.value, score.low, score.high))
        return f"| {name} | {value} | {low} to {high} | {score.n} | {score.pool} |"

    head = f"| task / metric, % | | {record.confidence:.0%} interval | n | pool |\n|---|---|---|---|---|"
    return "\n".join([head, *(row(name, record.scores[name]) for name in SHOWN_METRICS if name in record.scores)])
