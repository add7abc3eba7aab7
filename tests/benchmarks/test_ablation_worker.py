"""What the process of a run does around the training, a fake here: data, shared caches, judging, cleaning up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.ablation import worker
from benchmarks.ablation.arms import BASELINES
from benchmarks.ablation.matching import count_parameters
from benchmarks.ablation.places import Places, SharedPictures
from benchmarks.ablation.planning import baseline_jobs, lr_jobs
from benchmarks.ablation.protocol import Recipe
from benchmarks.ablation.results import unpack
from benchmarks.ablation.runs import Job
from catalog import Catalog, ModelError, split_catalog, write_catalog
from models.folder import write_model_folder
from models.moon import MoonModel
from models.regions import RegionStore, make_detector
from models.tokenizer import catalog_texts, train_tokenizer
from models.training import TrainingRecord
from tests.benchmarks.rows import ARMS_BY_NAME, IMAGE, LEAF, jobs, no_match, origin, recipe
from tests.models.shop import make_shop, tiny_model, tiny_train

SALT = "tests"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def places(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Places:
    write_catalog(catalog, str(tmp_path / "catalog"))
    monkeypatch.setattr(worker, "checked", lambda places, split, checks: catalog)
    # Nothing is detected beforehand: it would start processes.
    monkeypatch.setattr(worker, "region_store", lambda places, config: RegionStore(make_detector(config).digest))
    return Places(tmp_path / "work", tmp_path / "catalog")


def tiny() -> Recipe:
    return recipe(
        catalog={"split": {"salt": SALT, "test_frac": 0.4, "val_frac": 0.3}},
        model=tiny_model().model_dump(),
        train=tiny_train().model_dump(),
        benchmark={"num_bootstrap": 100, "min_attribute_n": 1, "ks": (1, 10)},
    )


class FakeTraining:
    """Writes the model folder of a model that nobody trained."""

    def __init__(self, num_extra: int = 0) -> None:
        self.num_extra = num_extra
        self.asked: dict[str, Any] = {}

    def __call__(self, catalog: Catalog, splits: Any, **asked: Any) -> TrainingRecord:
        self.asked = asked
        tokenizer = train_tokenizer(catalog_texts(catalog, splits), asked["model"].nano.vocab_size)
        model = MoonModel.seeded(asked["model"], tokenizer.get_vocab_size(), asked["train"].seed)
        regions = asked["regions"]
        digest = write_model_folder(
            asked["out_dir"], model.eval(), tokenizer, asked["regions_config"], regions.digest, {}
        )
        (asked["work_dir"]).mkdir(parents=True, exist_ok=True)
        for name in ("pictures.npy", "pictures.json"):
            (asked["work_dir"] / name).write_text(f"made for {asked['train'].seed}")
        setup = tiny_setup(asked)
        count = count_parameters(setup, catalog, splits).count
        return TrainingRecord(
            digest=digest,
            model_folder=str(asked["out_dir"]),
            steps=6,
            resumed_from_step=0,
            seconds=12.0,
            samples_per_s=1.0,
            num_parameters=1,
            num_trainable=count.trainable + count.idle + self.num_extra,
            num_products=1,
            num_pairs={},
            dropped={},
            device="cpu",
            precision="fp32",
            final={"loss": 1.23456789, "broken": float("nan")},
        )


def tiny_setup(asked: dict[str, Any]) -> Any:
    (job,) = jobs(["full"], [1], own=tiny())
    return job.setup.model_copy(update={"model": asked["model"], "train": asked["train"]})


def one(name: str = "full", seed: int = 1) -> Job:
    (job,) = jobs([name], [seed], own=tiny())
    return job


def test_a_run_is_trained_judged_and_cleaned_up_after(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTraining()
    monkeypatch.setattr(worker, "fit", fake)
    answer = worker.do(one(), places, keep_model=False)
    assert answer["steps"] == 6
    assert answer["train_s"] == 12.0
    assert answer["final"] == {"loss": 1.23457}
    assert 0 <= answer["main_score"] <= 1
    assert {IMAGE, LEAF} <= set(unpack(answer["outcomes"]))
    assert answer["scores"][IMAGE][1] == len(unpack(answer["outcomes"])[IMAGE].ids)
    assert fake.asked["features_dir"] == places.features
    assert fake.asked["score"] is None
    assert list((places.root / "runs").iterdir()) == []


def test_decoded_pictures_are_taken_over_and_lent_to_the_next_run(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent: list[str] = []

    class Looking(FakeTraining):
        def __call__(self, catalog: Catalog, splits: Any, **asked: Any) -> TrainingRecord:
            found = asked["work_dir"] / "pictures.npy"
            lent.append(found.read_text() if found.exists() else "")
            return super().__call__(catalog, splits, **asked)

    monkeypatch.setattr(worker, "fit", Looking())
    for job in (one(seed=1), one(seed=2), one("minus_crop", seed=2)):
        worker.do(job, places, keep_model=True)
    # The second seed sees the same squares; without crops they are others.
    assert lent == ["", "made for 1", ""]
    assert len(list((places.root / "runs").glob("*/model/config.json"))) == 3


def test_pictures_are_lent_as_copies_and_never_over_a_runs_own(tmp_path: Path) -> None:
    shared = SharedPictures(Places(tmp_path, tmp_path), "key")
    made = tmp_path / "a"
    made.mkdir()
    for name in ("pictures.npy", "pictures.json"):
        (made / name).write_text("one")
    shared.take_back(made)
    assert list(made.iterdir()) == []
    shared.lend(made)
    (made / "pictures.npy").write_text("changed")
    assert (shared.folder / "pictures.npy").read_text() == "one"
    (made / "pictures.json").write_text("mine")
    shared.lend(made)
    assert (made / "pictures.json").read_text() == "mine"


def test_a_model_that_is_not_the_one_matched_is_refused(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "fit", FakeTraining())
    with pytest.raises(ModelError, match="not the one that was matched"):
        worker.do(one().model_copy(update={"expected_parameters": 3}), places, keep_model=False)


def test_a_count_that_the_training_contradicts_is_refused(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "fit", FakeTraining(num_extra=1))
    with pytest.raises(ModelError, match="counted otherwise"):
        worker.do(one(), places, keep_model=False)


def test_learning_rates_are_judged_on_the_validation_side(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "fit", FakeTraining())
    job = lr_jobs(origin(own=tiny()), [ARMS_BY_NAME["full"]], [2.0], no_match)[0]
    catalog = worker.checked(places, job.setup.split, job.setup.checks)
    splits = split_catalog(catalog, job.setup.split)
    answer = worker.do(job, places, keep_model=False)
    asked = set(unpack(answer["outcomes"])[LEAF].ids)
    assert asked
    assert asked <= {key for key, side in splits.side_of.items() if side == "val"}


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda one: one.name)
def test_every_baseline_is_judged_on_the_questions_of_the_model(
    places: Places, monkeypatch: pytest.MonkeyPatch, baseline: Any
) -> None:
    monkeypatch.setattr(worker, "fit", FakeTraining())
    (job,) = [job for job in baseline_jobs(origin(own=tiny()), [1]) if job.arm == baseline.name]
    answer, full = worker.do(job, places, False), worker.do(one(), places, False)
    assert answer["eval_set_digest"] == full["eval_set_digest"]
    assert (answer["main_score"] is None) == (baseline.name not in ("untrained", "random"))
    found, own = unpack(answer["outcomes"]), unpack(full["outcomes"])
    assert found
    assert all(set(found[metric].ids) == set(own[metric].ids) for metric in found)


def test_an_error_a_user_can_cause_comes_back_in_its_own_words(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "end_with_parent", lambda: None)
    question, answer = tmp_path / "asked.json", tmp_path / "answer.json"
    job = one().model_copy(update={"kind": "baseline", "arm": "nobody"})
    asked = {"what": "run", "job": job.model_dump(mode="json"), "keep_model": False}
    worker.write_json(question, asked | {"root": str(places.root), "catalog": str(places.catalog)})
    assert worker.main(question, answer) == worker.FAILED
    assert "no baseline has this name" in answer.read_text()
