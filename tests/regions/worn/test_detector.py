"""The stage as a detector: what it adds, what it leaves alone, what it is filed under."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from catalog.demo.palette import COLOURS
from models.regions import (
    NOTHING_KNOWN,
    Candidate,
    RegionDetector,
    RegionsConfig,
    Wanted,
    box_iou,
    make_chooser,
    make_detector,
    whole_box,
)
from models.regions.config import WornConfig
from models.regions.detector import GARMENT
from models.regions.wearers import without_wearers
from models.regions.worn import WornDetector
from tests.regions.worn.people import SKINS, Person, hoodie_flat, standing

TEE = Wanted("Blue tee", ("Men", "Tops"), (("color", ("Blue",)),))
SHORTS = Wanted("Gym shorts")


class Given:
    """A detector that answers with what it was given, and reads the words it was told to."""

    def __init__(self, candidates: Sequence[Candidate], prompt: str = "") -> None:
        self.digest = "given"
        self._candidates, self._prompt = candidates, prompt

    def prompt(self, wanted: Wanted) -> str:
        return self._prompt

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        return [list(self._candidates) for _ in images]


@pytest.fixture(scope="module")
def person() -> Person:
    return standing(SKINS["medium"], COLOURS["blue"], COLOURS["grey"])


def stage(*candidates: Candidate, cfg: WornConfig | None = None, num_candidates: int = 5) -> WornDetector:
    return WornDetector(Given(candidates), cfg or WornConfig(), num_candidates)


def test_the_garment_comes_first_and_the_rest_keeps_its_order(person: Person) -> None:
    others = [Candidate(person.whole, 0.8), Candidate((0.0, 300.0, 60.0, 384.0), 0.4)]
    found = stage(*others).detect([person.image], [TEE])[0]
    assert found[0].label == GARMENT
    assert box_iou(found[0].box, person.top) >= 0.8
    assert found[1:] == others
    assert [candidate.score for candidate in found] == sorted((one.score for one in found), reverse=True)
    assert 0.8 < found[0].score <= 1.0


@pytest.mark.parametrize("num_candidates", [1, 2, 3, 4, 9])
def test_there_are_never_more_than_k_candidates_and_the_garment_is_one(person: Person, num_candidates: int) -> None:
    three = [Candidate(person.whole, 0.8), *(Candidate((0.0, y, 60.0, y + 40.0), 0.3) for y in (200.0, 300.0))]
    found = stage(*three[:num_candidates], num_candidates=num_candidates).detect([person.image], [TEE])[0]
    assert found[0].label == GARMENT
    assert found[1:] == three[: num_candidates - 1]


def test_a_candidate_that_is_the_garment_is_replaced_by_it(person: Person) -> None:
    found = stage(Candidate(person.whole, 0.8), Candidate(person.top, 0.7)).detect([person.image], [TEE])[0]
    assert [candidate.label for candidate in found] == ["garment", "product"]
    assert found[1].box == person.whole


def test_what_is_wanted_decides_which_garment(person: Person) -> None:
    both = stage(Candidate(person.whole, 0.8)).detect([person.image] * 2, [TEE, SHORTS])
    assert box_iou(both[0][0].box, person.top) >= 0.8
    assert box_iou(both[1][0].box, person.bottom) >= 0.8


@pytest.mark.parametrize("wanted", [NOTHING_KNOWN, Wanted("A mug"), Wanted("Watch", ("Gear", "Watches"))])
def test_nothing_changes_where_no_worn_garment_is_wanted(person: Person, wanted: Wanted) -> None:
    whole = [Candidate(person.whole, 0.8)]
    assert stage(*whole).detect([person.image], [wanted]) == [whole]


def test_nothing_changes_where_nobody_wears_it() -> None:
    for picture in (
        hoodie_flat(COLOURS["green"]),
        Image.new("RGB", (200, 200), "white"),
        Image.new("RGB", (3, 400), "red"),
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (200, 150, 3), dtype=np.uint8)),
    ):
        whole = [Candidate(whole_box(picture.size), 0.5)]
        assert stage(*whole).detect([picture], [TEE]) == [whole]


def test_nothing_changes_where_the_base_saw_nothing_or_something_else(person: Person) -> None:
    assert stage().detect([person.image], [TEE]) == [[]]
    corner = [Candidate((0.0, 0.0, 50.0, 50.0), 0.9)]
    assert stage(*corner).detect([person.image], [TEE]) == [corner]


def test_a_cluttered_picture_is_left_alone(person: Person) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (384, 300, 3), dtype=np.uint8)
    pixels = np.asarray(person.image)
    busy = Image.fromarray(np.where((pixels == 255).all(axis=2, keepdims=True), noise, pixels))
    whole = [Candidate(person.whole, 0.8)]
    assert stage(*whole).detect([busy], [TEE]) == [whole]


def test_the_same_answer_whatever_else_is_in_the_call_and_in_a_copy(person: Person) -> None:
    detector = stage(Candidate(person.whole, 0.8))
    other = hoodie_flat(COLOURS["red"])
    alone = detector.detect([person.image], [TEE])[0]
    copy = pickle.loads(pickle.dumps(detector))  # noqa: S301
    assert detector.detect([other, person.image, other], [TEE] * 3)[1] == alone
    assert copy.detect([person.image], [TEE])[0] == alone
    assert copy.digest == detector.digest


def test_boxes_are_pixels_of_the_picture_at_any_size(person: Person) -> None:
    for size in ((75, 96), (1200, 1536), (301, 384)):
        factor = size[0] / 300, size[1] / 384
        image = person.image.resize(size, Image.Resampling.BOX)
        whole = tuple(value * factor[index % 2] for index, value in enumerate(person.whole))
        top = tuple(value * factor[index % 2] for index, value in enumerate(person.top))
        found = stage(Candidate(whole, 0.8)).detect([image], [TEE])[0]  # type: ignore[arg-type]
        assert box_iou(found[0].box, top) >= 0.75  # type: ignore[arg-type]
        assert found[0].box[2] <= size[0]
        assert found[0].box[3] <= size[1]


def test_the_prompt_holds_the_kind_and_is_the_base_s_alone_otherwise() -> None:
    plain, steered = stage(), WornDetector(Given([], "tee."), WornConfig(), 5)
    assert plain.prompt(NOTHING_KNOWN) == plain.prompt(Wanted("A red mug")) == ""
    assert steered.prompt(Wanted("A mug")) == "tee."
    assert plain.prompt(TEE) == plain.prompt(Wanted("Navy hoodie", (), (("color", ("blue",)),))) != ""
    prompts = [plain.prompt(TEE), plain.prompt(SHORTS), steered.prompt(TEE)]
    assert len(set(prompts)) == len(prompts)


def test_attributes_hidden_from_an_evaluation_ask_for_nothing_new(person: Person) -> None:
    plain, hidden = stage(Candidate(person.whole, 0.8)), Wanted(TEE.title, TEE.category)
    assert plain.prompt(hidden) == plain.prompt(TEE)
    assert plain.detect([person.image], [hidden]) == plain.detect([person.image], [TEE])


def test_the_digest_changes_with_the_settings_and_with_the_base() -> None:
    other_base = Given([])
    other_base.digest = "other"
    detectors = [
        stage(),
        stage(cfg=WornConfig(side_px=96)),
        stage(cfg=WornConfig(kinds={"hosen": "lower"})),
        stage(num_candidates=4),
        WornDetector(other_base, WornConfig(), 5),
    ]
    assert len({detector.digest for detector in detectors}) == len(detectors)
    assert all(isinstance(detector, RegionDetector) for detector in detectors)


def test_the_switch_decides_and_the_backend_none_stays_without_candidates(person: Person) -> None:
    on = make_detector(RegionsConfig(worn=WornConfig(enabled=True)))
    off = make_detector(RegionsConfig(worn=WornConfig(enabled=False)))
    assert isinstance(on, WornDetector)
    assert not isinstance(off, WornDetector)
    assert make_detector(RegionsConfig(backend="none")).detect([person.image], [TEE]) == [[]]
    assert on.detect([person.image], [TEE])[0][0].label == GARMENT
    assert all(candidate.label != GARMENT for candidate in off.detect([person.image], [TEE])[0])


def test_the_chooser_takes_the_garment_before_the_person(person: Person) -> None:
    cfg = RegionsConfig()
    candidates = make_detector(cfg).detect([person.image], [TEE])[0]
    region = make_chooser(cfg).choose(candidates, person.image.size, TEE)
    assert box_iou(region.box, person.top) >= 0.75


def test_a_garment_puts_its_wearer_and_its_pieces_aside_and_nothing_else() -> None:
    garment = Candidate((40.0, 40.0, 80.0, 80.0), 0.5, GARMENT)
    wearer, piece = Candidate((30.0, 0.0, 90.0, 160.0), 0.9), Candidate((45.0, 45.0, 60.0, 60.0), 0.9)
    beside, touching = Candidate((120.0, 40.0, 160.0, 80.0), 0.9), Candidate((75.0, 40.0, 115.0, 80.0), 0.9)
    assert without_wearers([wearer, garment, piece, beside, touching]) == [garment, beside, touching]
    assert without_wearers([wearer, piece]) == [wearer, piece]
    assert without_wearers([]) == []
