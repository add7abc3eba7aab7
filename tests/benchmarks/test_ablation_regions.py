"""Arms of the core regions: true boxes, one side's crops, and models served with fewer crops than they learnt with."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ablation import worker
from benchmarks.ablation.arms import read_arms
from benchmarks.ablation.page import BEGIN, END
from benchmarks.ablation.places import picture_key
from benchmarks.ablation.planning import arm_jobs
from benchmarks.ablation.protocol import PROJECT_ROOT, PROTOCOLS, Setup, arm_setup, base_setup, new_since, read_recipe
from benchmarks.ablation.report import read_section, render
from benchmarks.ablation.results import unpack
from benchmarks.ablation.runs import Job
from benchmarks.ablation.true_boxes import TrueCoreRegions
from catalog import Catalog
from models.pictures import PictureMaker, crop_box, letterbox
from models.regions import NOTHING_KNOWN, RegionsConfig, RegionStore, Wanted, make_detector
from tests.benchmarks.rows import IMAGE, ONCE, no_match, origin, outcome, recipe, row, store
from tests.benchmarks.test_ablation_worker import FakeTraining, catalog, places, tiny
from tests.models import shop

__all__ = ["catalog", "places"]  # fixtures

FILE = PROJECT_ROOT / "benchmarks" / "ablation" / "regions_arms.yaml"
RECIPE = PROJECT_ROOT / "benchmarks" / "ablation" / "demo_regions.yaml"
ARMS = {arm.name: arm for arm in read_arms(FILE)}
BOX = (3.0, 5.0, 21.0, 30.0)


def _jobs(*names: str) -> list[Job]:
    start = origin(own=tiny())
    return arm_jobs(start, [ARMS[name] for name in names], [1], ONCE, no_match, named=True)


@pytest.mark.parametrize("name", list(ARMS))
def test_each_arm_is_the_recipe_but_for_one_thing(name: str) -> None:
    base = base_setup(read_recipe(str(RECIPE), PROTOCOLS["demo"]), PROTOCOLS["demo"], 1)
    assert (base.regions.backend, base.model.crops, base.boxes, base.served_crops) == (
        "saliency",
        "both",
        "found",
        None,
    )
    own = arm_setup(base, ARMS[name])
    assert own != base
    assert own.digest("data") != base.digest("data")
    served = name.endswith("_plain")
    assert (own.served_crops == "none") == served
    # A model that is served without crops is trained as its namesake is.
    trained = own.model_copy(update={"served_crops": None})
    twin = {"served_plain": base, "distilled_plain": None, "dropped_plain": None}.get(name, own)
    if served:
        assert trained == (twin or arm_setup(base, ARMS[name.removesuffix("_plain")]))


def test_true_boxes_cannot_be_configured() -> None:
    assert "true" not in json.dumps(RegionsConfig.model_json_schema()["properties"]["backend"])


@pytest.mark.parametrize("path", sorted((PROJECT_ROOT / "benchmarks/results/ablation/recipes").glob("*.json")))
def test_recipes_that_rows_stand_under_keep_the_keys_they_were_written_with(path: Path) -> None:
    told = json.loads(path.read_text(encoding="utf-8"))
    try:
        setup = Setup.model_validate(told["setup"])
    except ValueError:
        pytest.skip("of a configuration that has lost other keys since")
    new = new_since(told["setup"], setup)
    assert new is not None
    assert "model.use_crops" not in new
    assert setup.model.crops == ("both" if told["setup"]["model"]["use_crops"] else "none")


def _boxed(catalog: Catalog) -> Catalog:
    """Every first photograph and every query's photograph has a true box."""
    products = tuple(
        one.model_copy(update={"boxes": (BOX, *[None] * (len(one.images) - 1))}) for one in catalog.products
    )
    queries = tuple(one.model_copy(update={"box": BOX}) if one.image else one for one in catalog.queries)
    return replace(catalog, products=products, queries=queries)


def test_the_true_box_is_the_one_candidate_where_it_is_known(catalog: Catalog) -> None:
    boxed = _boxed(catalog)
    found = shop.regions()
    true = TrueCoreRegions(shop.REGIONS, boxed)
    item = next(boxed.items())
    for photo in item.photos:
        image = photo.load()
        for wanted in (NOTHING_KNOWN, Wanted.of(item.product)):
            expected = found.candidates(photo, image, wanted)
            got = true.candidates(photo, image, wanted)
            assert [one.box for one in got] == ([BOX] if photo.box else [one.box for one in expected])
    query = next(boxed.query_item(query) for query in boxed.queries if query.image)
    assert query.photo is not None
    core = true.core(query.photo, query.photo.load(), Wanted(query.text))
    # The rule pads it as any other box: 2 % of the mean side.
    pad = 0.02 * (18 + 25) / 2
    assert core.box == pytest.approx((3 - pad, 5 - pad, 21 + pad, 30 + pad))
    square = PictureMaker(32, true).squares(query.photo, Wanted(query.text))[1]
    assert np.array_equal(square, letterbox(crop_box(query.photo.load(), core.box), 32))


def test_true_regions_have_a_digest_of_their_boxes_and_can_be_copied_for_workers(catalog: Catalog) -> None:
    boxed, plain = TrueCoreRegions(shop.REGIONS, _boxed(catalog)), TrueCoreRegions(shop.REGIONS, catalog)
    assert len({boxed.digest, plain.digest, shop.regions().digest}) == 3
    assert copy.deepcopy(boxed).digest == boxed.digest


def test_runs_train_and_judge_with_the_same_regions(catalog: Catalog, places, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    boxed = _boxed(catalog)
    monkeypatch.setattr(worker, "checked", lambda places, split, checks: boxed)
    looked: list[str] = []
    seen = TrueCoreRegions.candidates

    def spy(self, photo, image, wanted):  # type: ignore[no-untyped-def]
        looked.append(photo.ref)
        return seen(self, photo, image, wanted)

    monkeypatch.setattr(TrueCoreRegions, "candidates", spy)
    fake = FakeTraining()
    monkeypatch.setattr(worker, "fit", fake)
    true, plain = _jobs("true_box", "served_plain")
    scores = unpack(worker.do(true, places, keep_model=False)["outcomes"])
    assert isinstance(fake.asked["regions"], TrueCoreRegions)
    assert looked
    assert IMAGE in scores
    assert picture_key(true.setup, "data") != picture_key(plain.setup, "data")
    looked.clear()
    made: list[object] = []
    load = worker.MoonEncoder.load
    monkeypatch.setattr(
        worker.MoonEncoder, "load", lambda *args, **named: made.append(load(*args, **named)) or made[-1]
    )
    worker.do(plain, places, keep_model=False)
    assert not isinstance(fake.asked["regions"], TrueCoreRegions)
    assert looked == []
    assert fake.asked["model"].crops == "both"
    assert made[0].config.crops == "none"  # type: ignore[attr-defined]


def test_a_store_of_another_detector_is_refused_as_ever(catalog: Catalog) -> None:
    own = RegionStore(make_detector(shop.REGIONS).digest)
    assert TrueCoreRegions(shop.REGIONS, catalog, own).store is own
    with pytest.raises(Exception, match="another detector"):
        TrueCoreRegions(shop.REGIONS, catalog, RegionStore("another"))


def test_a_recipe_of_its_own_has_a_page_of_its_own(tmp_path: Path) -> None:
    named = "benchmarks/ablation/demo_regions.yaml"
    for seed in (1, 2):
        store(tmp_path, row(seed=seed), {IMAGE: outcome([1, 1])})
        for arm, values in (("full", [1, 1]), ("true_box", [1, 0])):
            own = row(arm, seed, recipe=named, recipe_digest="own", config_digest=arm)
            store(tmp_path, own, {IMAGE: outcome(values)})
    demo = PROTOCOLS["demo"]
    section = read_section(tmp_path, demo, named)
    assert section is not None
    assert set(section.arms) == {"full", "true_box"}
    page = render([section], None, bars=False)
    assert "| true_box | 2 |" in page
    assert "### Bars" not in page
    assert read_section(tmp_path, demo, "never/run.yaml") is None
    default = read_section(tmp_path, demo)
    assert default is not None
    assert set(default.arms) == {"full"}
    assert BEGIN != END


def test_the_recipe_is_that_of_the_ablation_but_for_its_regions() -> None:
    demo = PROTOCOLS["demo"]
    own, usual = (read_recipe(path, demo).config for path in (str(RECIPE), str(PROJECT_ROOT / demo.recipe)))
    assert own.model_copy(update={"regions": usual.regions}) == usual
    assert recipe().config.model.crops == "both"
