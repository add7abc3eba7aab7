from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from catalog import Box
from models.region_training import Score, draw_curves, draw_precision_recall, draw_samples, judge_detector
from models.region_training.judging import DetectorScores, SceneOutcome, mean_score, share_score
from models.region_training.plots import failures_first
from models.region_training.scene_set import SceneTruth
from models.regions import Candidate, CoreRegion, Wanted

_CORE: Box = (30.0, 30.0, 70.0, 70.0)
_OTHER: Box = (0.0, 0.0, 20.0, 20.0)


class _Told:
    """Answers what it is told, picture by picture."""

    digest = "told"

    def __init__(self, answers: Sequence[list[Candidate]]) -> None:
        self._answers = list(answers)

    def prompt(self, wanted: Wanted) -> str:
        return ""

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        return [self._answers.pop(0) for _ in images]


@pytest.fixture
def truths(tmp_path: Path) -> list[SceneTruth]:
    """Four scenes with a product and a distractor, and one empty."""
    path = tmp_path / "scene.jpg"
    Image.new("RGB", (100, 100), (200, 200, 200)).save(path)
    full = [SceneTruth(path, (100, 100), (_CORE,), (_OTHER,)) for _ in range(4)]
    return [*full, SceneTruth(path, (100, 100), (), ())]


def test_scores_by_hand(truths: list[SceneTruth]) -> None:
    half: Box = (30.0, 30.0, 70.0, 58.0)
    answers = [
        [Candidate(_CORE, 0.9), Candidate(_OTHER, 0.8)],
        [Candidate(half, 0.9)],
        [Candidate(_OTHER, 0.9)],
        [],
        [Candidate(_CORE, 0.3)],
    ]
    judged = judge_detector("all", truths, _Told(answers))
    # Exact, 70 %, the distractor, and the whole picture of which the product is 16 %.
    assert judged.scores.mean_iou.value == pytest.approx((1.0 + 0.7 + 0.0 + 0.16) / 4)
    assert judged.scores.recall.value == pytest.approx(2 / 4)
    assert judged.scores.core_right.value == pytest.approx(2 / 4)
    assert judged.scores.mean_iou.n == 4
    assert judged.curve.num_true == 8
    assert DetectorScores.from_dict(judged.scores.to_dict()) == judged.scores


def test_the_true_boxes_themselves_score_one(truths: list[SceneTruth]) -> None:
    answers = [[Candidate(box, 0.9) for box in truth.core] for truth in truths]
    scores = judge_detector("all", truths, _Told(answers)).scores
    assert scores.mean_iou.value == 1.0
    assert scores.core_average_precision == 1.0
    assert scores.average_precision == pytest.approx(0.5), "the distractors were not found"


def test_a_box_over_both_is_not_right_when_it_fits_the_other_better() -> None:
    outcome = SceneOutcome(
        SceneTruth(Path("x"), (100, 100), ((0.0, 0.0, 60.0, 100.0),), ((0.0, 0.0, 90.0, 100.0),)),
        (),
        CoreRegion((0.0, 0.0, 80.0, 100.0), 0.9, ""),
    )
    assert outcome.iou == pytest.approx(0.75)
    assert not outcome.is_right


def test_the_interval_of_a_mean_is_close_to_the_normal_one() -> None:
    values = np.random.default_rng(0).uniform(size=400).tolist()
    score = mean_score(values)
    low, high = stats.norm.interval(0.95, np.mean(values), stats.sem(values))
    assert (score.low, score.high) == pytest.approx((low, high), abs=0.005)


def test_the_interval_of_a_share_is_wilsons() -> None:
    score = share_score([True] * 9 + [False])
    # Closed form of Wilson 1927, z 1.959964.
    p, n, z = 0.9, 10, 1.959964
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (score.low, score.high) == pytest.approx(
        ((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n))
    )
    assert share_score([True] * 20).low < 1.0


def test_of_nothing_there_is_no_score() -> None:
    assert mean_score([]) == share_score([]) == Score(0.0, 0.0, 0.0, 0)


def _outcomes(truths: list[SceneTruth]) -> list[SceneOutcome]:
    boxes: list[Box] = [_CORE, (30.0, 30.0, 70.0, 58.0), _OTHER, (0.0, 0.0, 100.0, 100.0)]
    pairs = zip(truths, boxes, strict=False)
    return [SceneOutcome(truth, (Candidate(box, 0.5),), CoreRegion(box, 0.5, "")) for truth, box in pairs]


def test_failures_come_first_and_others_evenly(truths: list[SceneTruth]) -> None:
    outcomes = _outcomes(truths)
    assert [outcome.iou for outcome in failures_first(outcomes, 10)] == pytest.approx([0.0, 0.16, 0.7, 1.0])
    assert [outcome.is_right for outcome in failures_first(outcomes * 10, 8)] == [False] * 4 + [
        False,
        False,
        True,
        True,
    ]


def test_the_sheet_shows_true_and_chosen_boxes(truths: list[SceneTruth]) -> None:
    sheet = draw_samples(_outcomes(truths)[2:3], columns=1)
    assert sheet.size == (200, 216)
    assert sheet.getpixel((60, 100)) == (30, 160, 60), "left side of the true box, twice its size"
    assert sheet.getpixel((0, 20)) == (220, 40, 40), "left side of the chosen one"


def test_curves_are_drawn_of_any_rows() -> None:
    rows = [{"step": 1.0, "train/box_loss": 2.0, "val/box_loss": 2.5, "val/map50": 0.1}, {"step": 2.0}]
    left, right = draw_curves(rows).axes
    assert {line.get_label() for line in left.lines} == {"train box loss", "val box loss"}
    assert not right.lines, "the last row has no score"
    assert draw_curves([]).axes


def test_every_detector_has_its_line(truths: list[SceneTruth]) -> None:
    curve = judge_detector("all", truths, _Told([[Candidate(_CORE, 0.9)] for _ in truths])).curve
    figure = draw_precision_recall({"hard": {"one": curve, "two": curve}, "easy": {"one": curve}})
    assert [len(axis.lines) for axis in figure.axes] == [2, 1]
    assert figure.axes[0].get_title() == "hard"
