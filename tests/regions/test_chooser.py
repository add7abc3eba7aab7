from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.regions import (
    NOTHING_KNOWN,
    AgreementConfig,
    Candidate,
    CategoryPrior,
    ChooserConfig,
    RegionsConfig,
    Wanted,
    make_chooser,
)
from models.regions.boxes import scale_box

_SIZE = (200, 100)
_BARE = {"size_weight": 0.0, "centrality_weight": 0.0, "padding_frac": 0.0}


def _chooser(**fields: object):
    return make_chooser(RegionsConfig(chooser=ChooserConfig(**fields)))


def test_the_highest_score_wins_when_nothing_else_counts() -> None:
    low, high = Candidate((0, 0, 180, 90), 0.5), Candidate((150, 50, 200, 100), 0.6)
    core = _chooser(**_BARE).choose([low, high], _SIZE, NOTHING_KNOWN)
    assert core.box == high.box
    assert core.score == 0.6
    assert core.reason == "best of 2: score 0.60, 12% of the picture; next: score 0.50"


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
    assert "prior of Trousers" in core.reason
    assert core.reason.endswith("less like Trousers")
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
    base = ChooserConfig()
    changed = [base.model_copy(update={name: 0.123}) for name in ChooserConfig.model_fields if "weight" in name]
    changed += [base.model_copy(update={"min_score": 0.5}), base.model_copy(update={"min_crop_side_px": 3})]
    changed += [base.model_copy(update={"category_priors": {"a": CategoryPrior()}}), base]
    changed += [base.model_copy(update={"pair": base.pair.model_copy(update={"words": ("boots",)})})]
    changed += [base.model_copy(update={"kind": "encoder"})]
    changed += [base.model_copy(update={"kind": "encoder", "encoder": AgreementConfig(weight=0.123)})]
    digests = {make_chooser(RegionsConfig(chooser=cfg)).digest for cfg in changed}
    assert len(digests) == len(changed)
    assert make_chooser(RegionsConfig(backend="none")).digest not in digests


def test_the_digest_says_nothing_of_where_the_encoder_lies() -> None:
    base = ChooserConfig(kind="encoder")
    there = base.model_copy(update={"encoder": AgreementConfig(folder="elsewhere")})
    assert make_chooser(RegionsConfig(chooser=base)).digest == make_chooser(RegionsConfig(chooser=there)).digest


def test_the_agreement_counts_for_the_kind_encoder_alone() -> None:
    first = Candidate((60, 20, 100, 80), 0.6, agreement=0.1)
    second = Candidate((100, 20, 140, 80), 0.6, agreement=0.4)
    by_rule = _chooser().choose([first, second], _SIZE, NOTHING_KNOWN)
    assert by_rule.box[0] < 60
    assert "agrees" not in by_rule.reason
    core = _chooser(kind="encoder").choose([first, second], _SIZE, NOTHING_KNOWN)
    assert core.box[2] > 140
    assert core.reason == (
        "best of 2: score 0.60, 12% of the picture, agrees best with the words (0.40); next: score 0.60, "
        "agrees less with the words (0.10)"
    )


def test_a_surer_box_beats_the_agreement_and_the_reason_says_so() -> None:
    sure, agreed = Candidate((60, 20, 140, 80), 0.9, agreement=0.1), Candidate((0, 0, 30, 30), 0.3, agreement=0.3)
    reason = _chooser(kind="encoder").choose([sure, agreed], _SIZE, NOTHING_KNOWN).reason
    assert reason == (
        "best of 2: score 0.90, 24% of the picture, largest, most central, agrees with the words (0.10); "
        "next: score 0.30, in a corner, 4% of the picture"
    )


def test_candidates_under_the_least_score_do_not_count_beside_surer_ones() -> None:
    middle, corner = Candidate((60, 20, 140, 80), 0.15), Candidate((0, 0, 60, 60), 0.3)
    core = _chooser(min_score=0.2).choose([middle, corner], _SIZE, NOTHING_KNOWN)
    assert core.box[0] == 0
    assert core.reason.startswith("the only candidate: score 0.30")


_LEFT, _RIGHT = Candidate((20, 30, 80, 70), 0.7), Candidate((90, 32, 148, 70), 0.6)


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        (Wanted("Red Shoes, size 7"), "shoes"),
        (Wanted("Glove", ("Women", "Gloves & Scarves")), "gloves"),
        (Wanted("A PAIR of mugs"), "pair"),
        (Wanted("Snowshoes"), ""),
        (Wanted("Shoe rack", ("Home",)), ""),
        (NOTHING_KNOWN, ""),
    ],
)
def test_two_halves_are_one_where_the_words_ask_for_a_pair(wanted: Wanted, word: str) -> None:
    chooser = _chooser(padding_frac=0.0)
    core = chooser.choose([_LEFT, _RIGHT], _SIZE, wanted)
    if word:
        assert core.box == (20, 30, 148, 70)
        assert core.score == 0.6
        assert f"both halves of a pair ({word})" in core.reason
        assert "not the pair" in core.reason
    else:
        assert core.box in (_LEFT.box, _RIGHT.box)
    assert (chooser.prompt(wanted) == chooser.prompt(NOTHING_KNOWN)) == (not word)


@pytest.mark.parametrize(
    ("why", "other"),
    [
        ("of another size", Candidate((90, 40, 115, 60), 0.6)),
        ("of another shape", Candidate((90, 10, 130, 95), 0.6)),
        ("far less sure", Candidate((90, 32, 148, 70), 0.3)),
        ("far away", Candidate((138, 32, 196, 70), 0.6)),
        ("not level", Candidate((90, 62, 148, 100), 0.6)),
        ("one over the other", Candidate((35, 30, 95, 70), 0.6)),
        ("of another label", Candidate((90, 32, 148, 70), 0.6, "garment")),
        ("unlike in the encoder's eyes", Candidate((90, 32, 148, 70), 0.6, agreement=0.5)),
    ],
)
def test_a_product_is_not_merged_with_what_is_no_half_of_it(why: str, other: Candidate) -> None:
    first = Candidate(_LEFT.box, _LEFT.score, agreement=0.1)
    core = _chooser(padding_frac=0.0).choose([first, other], _SIZE, Wanted("Red shoes"))
    assert core.box in (first.box, other.box), why
    assert "both halves" not in core.reason


def test_a_pair_that_the_detector_found_keeps_the_detectors_box() -> None:
    whole = Candidate((18, 28, 150, 72), 0.65)
    core = _chooser(padding_frac=0.0).choose([_LEFT, whole, _RIGHT], _SIZE, Wanted("Red shoes"))
    assert core.box == whole.box
    assert core.score == 0.65
    assert core.reason.startswith("best of 3: both halves of a pair (shoes)")


def test_a_box_around_several_things_loses_to_one_of_them() -> None:
    everything = Candidate((10, 5, 190, 95), 0.7)
    product, beside = Candidate((60, 15, 140, 85), 0.65), Candidate((12, 60, 50, 94), 0.6)
    core = _chooser(padding_frac=0.0).choose([everything, product, beside], _SIZE, NOTHING_KNOWN)
    assert core.box == product.box
    assert "a box around several things" in core.reason
    alone = _chooser(padding_frac=0.0).choose([everything, product], _SIZE, NOTHING_KNOWN)
    assert alone.box == everything.box, "a detail within a product does not speak against the product"


def test_a_product_keeps_its_weakly_found_details() -> None:
    bag = Candidate((20, 10, 180, 90), 0.9)
    details = [Candidate((40, 20, 80, 50), 0.25), Candidate((110, 50, 150, 80), 0.3)]
    assert _chooser(padding_frac=0.0).choose([bag, *details], _SIZE, NOTHING_KNOWN).box == bag.box


def test_a_garment_that_is_too_small_does_not_take_its_wearer_along() -> None:
    wearer, hat = Candidate((60, 5, 140, 95), 0.6), Candidate((95, 5, 105, 12), 0.9, "garment")
    core = _chooser(padding_frac=0.0).choose([hat, wearer], _SIZE, Wanted("Cap"))
    assert core.box == wearer.box
    assert not core.kept_whole
    shirt = Candidate((70, 30, 130, 60), 0.9, "garment")
    worn = _chooser(padding_frac=0.0).choose([shirt, wearer], _SIZE, Wanted("Tee"))
    assert worn.box == shirt.box
    assert worn.reason.startswith("the only candidate beside its wearer: garment, score 0.90")


_BOXES = st.builds(
    lambda x, y, w, h, s: Candidate((x, y, min(x + w, 200.0), min(y + h, 100.0)), s),
    st.floats(0, 180),
    st.floats(0, 80),
    st.floats(20, 200),
    st.floats(20, 100),
    st.floats(0, 1),
)
_WANTED = st.sampled_from([NOTHING_KNOWN, Wanted("Red shoes"), Wanted("Cup", ("Home", "Cups"))])


@given(st.lists(_BOXES, min_size=1, max_size=5, unique_by=lambda one: one.box), _WANTED, st.randoms())
def test_the_order_of_the_candidates_changes_nothing_but_ties(
    candidates: list[Candidate], wanted: Wanted, random: Random
) -> None:
    chooser = _chooser()
    core = chooser.choose(candidates, _SIZE, wanted)
    shuffled = random.sample(candidates, len(candidates))
    again = chooser.choose(shuffled, _SIZE, wanted)
    if again != core:
        worths = sorted(one.worth for one in chooser._contenders(candidates, _SIZE, wanted))
        assert worths[-1] - worths[-2] < 1e-9, "only a tie may be decided by the order"


@given(st.lists(_BOXES, max_size=5), _WANTED, st.sampled_from([0.5, 2.0, 4.0]))
def test_a_larger_picture_has_its_core_at_the_same_place(
    candidates: list[Candidate], wanted: Wanted, factor: float
) -> None:
    chooser = _chooser(min_crop_side_px=1)
    core = chooser.choose(candidates, _SIZE, wanted)
    larger = [Candidate(scale_box(one.box, factor, factor), one.score) for one in candidates]
    scaled = chooser.choose(larger, (int(200 * factor), int(100 * factor)), wanted)
    assert scaled.box == pytest.approx(scale_box(core.box, factor, factor))
    assert scaled.reason == core.reason


@given(st.lists(_BOXES, min_size=1, max_size=4), _BOXES, st.sampled_from(["rule", "encoder"]))
def test_a_worse_candidate_that_belongs_to_none_changes_nothing(
    candidates: list[Candidate], other: Candidate, kind: str
) -> None:
    chooser = _chooser(kind=kind)
    core = chooser.choose(candidates, _SIZE, NOTHING_KNOWN)
    before = chooser._contenders(candidates, _SIZE, NOTHING_KNOWN)
    after = chooser._contenders([*candidates, other], _SIZE, NOTHING_KNOWN)
    grouped = any(one.terms != two.terms for one, two in zip(before, after, strict=False))
    worse = after[-1].worth < max(one.worth for one in before)
    sure = max(one.score for one in candidates) >= 0.2
    if worse and sure and not grouped:
        assert chooser.choose([*candidates, other], _SIZE, NOTHING_KNOWN).box == core.box


@given(st.lists(_BOXES, max_size=5), _WANTED)
def test_a_reason_is_one_line(candidates: list[Candidate], wanted: Wanted) -> None:
    reason = _chooser().choose(candidates, _SIZE, wanted).reason
    assert reason
    assert "\n" not in reason
    assert len(reason) < 250
