"""Examples and the page's company on their way through a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from catalog import ArtifactName, Catalog
from models.regions import CoreRegions, RegionStore, make_chooser, make_detector
from steps import tracking
from steps.showcase import rows_from_data, rows_to_data
from tests.benchmark.shop import stocked
from tests.models.shop import REGIONS
from tests.report.runs import IMAGE, record, score
from validation.benchmark import build_eval_set, gallery_and_failures
from validation.config import BenchmarkConfig
from validation.report import RunReport, figures, render_markdown
from validation.rivals import RandomVectors


def test_examples_come_back_from_json_as_they_were_with_the_right_product_and_the_photographs(tmp_path: Path) -> None:
    shop = stocked(tmp_path, num_test=12)
    catalog: Catalog = shop.catalog()
    eval_set = build_eval_set(catalog, shop.splits(), BenchmarkConfig(min_attribute_n=5, num_bootstrap=100))
    rows = gallery_and_failures(RandomVectors(), eval_set, queries_per_task=2, worst_per_task=2, k=3)
    detector = make_detector(REGIONS)
    core = CoreRegions(detector, make_chooser(REGIONS), RegionStore(detector.digest))
    again, cores = rows_from_data(json.loads(json.dumps(rows_to_data(rows, core))), catalog)
    assert [row.worst for row in again] == [row.worst for row in rows]
    for own, other in zip(again, rows, strict=True):
        assert (own.task, own.query_id, own.text, own.rank, own.pool) == (
            *(other.task, other.query_id, other.text),
            *(other.rank, other.pool),
        )
        assert own.right is not None
        assert other.right is not None
        for one, two in zip((own.right, *own.hits), (other.right, *other.hits), strict=True):
            assert (one.product_id, one.title, one.score, one.right) == (
                two.product_id,
                two.title,
                two.score,
                two.right,
            )
            assert (one.photo.digest if one.photo else None) == (two.photo.digest if two.photo else None)
    assert set(cores) == {row.query_id for row in rows if row.photo}


def test_a_run_keeps_the_summary_and_the_figures_beside_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, Any] = {}
    monkeypatch.setattr("mlflow.log_text", lambda text, name: logged.setdefault(name, text))
    monkeypatch.setattr("mlflow.log_figure", lambda figure, name: logged.setdefault(name, figure))
    report = RunReport("a run", [record(slices={f"{IMAGE}[photos=one]": score(0.3)})])
    tracking.log_summary(render_markdown(report), ArtifactName.REPORT)
    tracking.log_figures(figures(report), ArtifactName.REPORT)
    assert set(logged) == {"report/report.md", "report/figures/slices.png"}
    assert logged["report/report.md"].startswith("## a run\n")
