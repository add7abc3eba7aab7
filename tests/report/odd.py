"""Runs with names and numbers as odd as shops make them."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from tests.report.runs import IMAGE, LEAF, MACRO, TEXT, confused, decision, outcome, record
from validation.benchmark import BenchmarkRecord, GalleryHit, GalleryRow, Score
from validation.gate import RuleResult
from validation.report import RunReport

ODD = (
    '<script>alert("x")</script>',
    "</style></title><img src=x onerror=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "红色真皮女士手提包",
    "👗🎁",
    "'\"`|\\[a](b)$x$",
    "a\nb\tc",
    "",
    "x" * 300,
    "قميص",
)
MEAN_RANK = "image_to_product/mean_rank"


def names() -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=("Cs", "Cc"))
    texts = st.text(letters, max_size=30).filter(lambda text: not {"nan", "inf"} & set(text.lower().split()))
    return st.one_of(st.sampled_from(ODD), texts)


def scores() -> st.SearchStrategy[Score]:
    shares = st.one_of(st.floats(0, 1), st.just(math.nan))
    counts = st.integers(1, 10**6)
    return st.builds(lambda a, b, c, n: Score(b, min(a, b), max(b, c), n, n, n), shares, shares, shares, counts)


@st.composite
def records(draw: st.DrawFn, encoder: str) -> BenchmarkRecord:
    keys = [IMAGE, TEXT, LEAF, MACRO, MEAN_RANK, "category_level_1_title_hidden/accuracy", "photo_label/accuracy"]
    shown = draw(st.lists(st.sampled_from(keys), unique=True))
    shown += [f"attribute.{name}/accuracy" for name in draw(st.lists(names(), max_size=2))]
    kinds = st.sampled_from(["category", "photos", "background"])
    slices = {
        f"{metric}[{draw(kinds)}={draw(names())}]": draw(scores())
        for metric in shown
        for _ in range(draw(st.integers(0, 3)))
    }
    return record(
        encoder,
        scores={key: draw(scores()) for key in shown},
        slices=slices,
        confusions=(confused(draw(names()), draw(names())),) if draw(st.booleans()) else (),
        notes=tuple(draw(st.lists(names(), max_size=2))),
        not_applicable=draw(st.dictionaries(names(), names(), max_size=2)),
        num_parameters=draw(st.none() | st.integers(0, 10**12)),
        timings=draw(st.dictionaries(st.sampled_from(["product_ms", "total_s"]), st.floats(0, 1e6))),
    )


@st.composite
def rows(draw: st.DrawFn) -> GalleryRow:
    hits = [
        GalleryHit(draw(names()), draw(names()), 0.5, own, own, None)
        for own in draw(st.lists(st.booleans(), max_size=3))
    ]
    right = draw(st.none() | st.just(GalleryHit("p", draw(names()), 0.1, True, True, None)))
    rank = draw(st.integers(1, 10**6))
    return GalleryRow(
        draw(names()), draw(names()), draw(st.none() | names()), None, rank, tuple(hits), right, 0, draw(st.booleans())
    )


@st.composite
def reports(draw: st.DrawFn) -> RunReport:
    encoders = draw(st.lists(names(), max_size=3, unique=True))
    judged = [draw(records(encoder)) for encoder in encoders]
    values = st.lists(st.sampled_from([0.0, 1.0]), min_size=8, max_size=8)
    asked = draw(st.lists(st.sampled_from([IMAGE, TEXT, LEAF, MEAN_RANK]), unique=True))
    rules = [
        RuleResult(draw(names()), draw(st.booleans()), draw(names()), draw(st.none() | st.floats(0, 1e9)))
        for _ in range(3)
    ]
    return RunReport(
        title=draw(names()),
        records=judged,
        decision=draw(st.none() | st.just(decision(*rules))),
        champion=draw(st.none() | st.sampled_from(encoders)) if encoders else None,
        outcomes=draw(st.none() | st.just({key: outcome(draw(values)) for key in asked})),
        champion_outcomes=draw(st.none() | st.just({key: outcome(draw(values)) for key in asked})),
        gallery=draw(st.lists(rows(), max_size=3)),
        lineage=draw(st.dictionaries(names(), names(), max_size=2)),
        links=draw(st.dictionaries(names(), names(), max_size=2)),
        config_yaml=draw(names()),
    )
