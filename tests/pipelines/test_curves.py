"""Training curves outlive a kill, and read the same however often a step was logged."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.curves import CurveLogger, mlflow_key
from steps.tracking import flatten


def test_a_resumed_run_goes_on_with_the_curve(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    before = CurveLogger(path)
    for step in (5, 10, 15):
        before.log_metrics({"train/loss": 1.0 / step}, step=step)
    with path.open("a", encoding="utf-8") as stream:
        stream.write('\n{"step": 20.0, "train/lo')  # killed while it wrote
    after = CurveLogger(path)
    assert [row["step"] for row in after.rows()] == [5, 10, 15]
    after.log_metrics({"train/loss": 0.5}, step=15)
    after.log_metrics({"train/lr": 0.1}, step=15)
    assert after.rows()[-1] == {"step": 15.0, "train/loss": 0.5, "train/lr": 0.1}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("image_to_product/recall@1", "image_to_product/recall_at_1"),
        ("category_leaf[word_in_title=yes]", "category_leaf_word_in_title_yes_"),
        ("train/loss", "train/loss"),
    ],
)
def test_names_become_what_mlflow_takes(name: str, key: str) -> None:
    assert mlflow_key(name) == key


def test_a_tree_becomes_its_leaves() -> None:
    tree = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None, "f": {}}
    assert dict(flatten(tree)) == {"a.b": 1, "a.c.d": [1, 2], "e": None, "f": {}}
