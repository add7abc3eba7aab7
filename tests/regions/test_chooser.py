from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.regions import (
    NOTHING_KNOWN,
    Candidate,
    CategoryPrior,
    RegionsConfig,
    RuleChooserConfig,
    Wanted,
    make_chooser,
)

_SIZE = (200, 100)
_BARE = {"size_weight": 0.0, "centrality_weight": 0.0, "padding_frac": 0.0}


def _chooser(**fields: object):
    return make_chooser(RegionsConfig(chooser=RuleChooserConfig(**fields)))


def test_the_highest_score_wins_when_nothing_else_counts() -> None:
    low, high = Candidate((0, 0, 180, 90), 0.5), Candidate((150, 50, 200, 100), 0.6)
    core = _chooser(**_BARE).choose([low, high], _SIZE, NOTHING_KNOWN)
    assert core.box == high.box
    assert core.score == 0.6
    assert core.reason == "best of 2: score 0.60, 12% of the picture"


def test_size_and_centrality_change_the_choice() -> None:
    corner, middle = Candidate((0, 0, 30, 30), 0.6), Candidate((60, 20, 140, 80), 0.5)
    assert _chooser(**_BARE).choose([corner, middle], _SIZE, NOTHING_KNOWN).box == corner.box
    for name in ("size_weight", "centrality_weight"):
        assert _chooser(**(_BARE | {name: 1.0})).choose([corner, middle], _SIZE, NOTHING_KNOWN).box == middle.box


def test_the_deepest_category_with_a_prior_counts() -> None:
    top, bottom = Candidate((50, 0, 150, 50), 0.6), Candidate((50, 50, 150, 100), 0.6)
    chooser = _chooser(
        **_BARE,
        category_priors={
            "Clothing": CategoryPrior(center_y_frac=0.25, area_frac=0.25),
            "trousers": CategoryPrior(center_y_frac=0.75, area_frac=0.25),
        },
    )
    assert chooser.choose([bottom, top], _SIZE, Wanted(category=("Clothing", "Tops"))).box == top.box
    core = chooser.choose([top, bottom], _SIZE, Wanted(category=("Clothing", "Trousers")))
    assert core.box == bottom.box
    assert core.reason.endswith("prior of Trousers")
    assert chooser.choose([top, bottom], _SIZE, Wanted(category=("Mugs",))).box == top.box, (
        "a tie keeps the detector's order"
    )


def test_an_unsure_detector_keeps_the_whole_picture() -> None:
    core = _chooser(min_score=0.3).choose([Candidate((10, 10, 90, 90), 0.25)], _SIZE, NOTHING_KNOWN)
    assert core.box == (0, 0, 200, 100)
    assert core.score == 0.25
    assert core.reason == "whole picture: best candidate's score 0.25 is under 0.30"


@pytest.mark.parametrize(
    "candidates",
    [
        [],
        [Candidate((10, 10, 14, 14), 0.9)],
        [Candidate((300, 10, 400, 90), 0.9)],
        [Candidate((float("nan"), 0, 50, 50), 0.9)],
    ],
)
def test_without_a_usable_candidate_the_whole_picture_is_kept(candidates: list[Candidate]) -> None:
    core = _chooser().choose(candidates, _SIZE, NOTHING_KNOWN)
    assert core.box == (0, 0, 200, 100)
    assert core.reason.startswith("whole picture: no candidate")


def test_padding_is_a_share_of_the_mean_side() -> None:
    chooser = _chooser(padding_frac=0.1)
    assert chooser.choose([Candidate((50, 40, 90, 60), 0.9)], _SIZE, NOTHING_KNOWN).box == (47, 37, 93, 63)


def test_a_narrow_crop_is_widened() -> None:
    chooser = _chooser(padding_frac=0.0, min_crop_side_px=20)
    assert chooser.choose([Candidate((50, 49, 150, 51), 0.9)], _SIZE, NOTHING_KNOWN).box == (50, 40, 150, 60)


@given(
    st.lists(
        st.builds(
            lambda x, y, w, h, s: Candidate((x, y, x + w, y + h), s),
            *(st.floats(-50, 250) for _ in range(2)),
            *(st.floats(0.1, 300) for _ in range(2)),
            st.floats(0, 1),
        ),
        max_size=6,
    ),
    st.integers(1, 300),
    st.integers(1, 300),
)
def test_any_choice_lies_inside_and_has_a_reason(candidates: list[Candidate], width: int, height: int) -> None:
    core = _chooser().choose(candidates, (width, height), Wanted(category=("a", "b")))
    assert 0 <= core.box[0] < core.box[2] <= width
    assert 0 <= core.box[1] < core.box[3] <= height
    assert core.reason


def test_the_backend_none_keeps_the_whole_picture() -> None:
    core = make_chooser(RegionsConfig(backend="none")).choose([], _SIZE, Wanted("t", ("c",)))
    assert (core.box, core.reason) == ((0, 0, 200, 100), "whole picture: regions.backend is none")


def test_the_digest_follows_every_parameter() -> None:
    base = RuleChooserConfig()
    changed = [base.model_copy(update={name: 0.123}) for name in RuleChooserConfig.model_fields if "weight" in name]
    changed += [base.model_copy(update={"min_score": 0.5}), base.model_copy(update={"min_crop_side_px": 3})]
    changed += [base.model_copy(update={"category_priors": {"a": CategoryPrior()}}), base]
    digests = {make_chooser(RegionsConfig(chooser=cfg)).digest for cfg in changed}
    assert len(digests) == len(changed)
    assert make_chooser(RegionsConfig(backend="none")).digest not in digests
