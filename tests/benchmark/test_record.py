"""Records go to JSON and back, and damaged ones are refused."""

import json

import pytest

from validation.benchmark import BenchmarkRecord, EvalSet, Score, run_benchmark
from validation.config import BenchmarkConfig
from validation.errors import BenchmarkError
from validation.rivals import RandomVectors


@pytest.fixture(scope="module")
def record(eval_set: EvalSet, config: BenchmarkConfig) -> BenchmarkRecord:
    return run_benchmark(RandomVectors(), eval_set, config, commit="abc")


def test_json_round_trip(record: BenchmarkRecord) -> None:
    assert BenchmarkRecord.from_json(record.to_json()) == record
    assert BenchmarkRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_the_record_says_what_it_is_of(record: BenchmarkRecord, eval_set: EvalSet) -> None:
    assert record.eval_set_digest == eval_set.digest
    assert record.dataset_digest == eval_set.dataset_digest
    assert (record.encoder, record.dims, record.side, record.num_gallery) == ("random", 64, "test", 36)
    assert {"product_ms", "query_ms", "label_ms", "total_s"} == set(record.timings)


def test_json_has_no_nan(record: BenchmarkRecord) -> None:
    record = BenchmarkRecord.from_dict(record.to_dict())
    record.scores["x/y"] = Score(float("nan"), 0.0, 1.0, 1, 1, 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        record.to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "another schema version"),
        ({"schema_version": None}, "another schema version"),
        ({"scores": {"a/b": {"value": 1.0}}}, "damaged"),
        ({"tasks": {"a": {}}}, "damaged"),
        ({"scores": None}, "damaged"),
        ({"surprise": 1}, "damaged"),
    ],
)
def test_damaged_records_are_refused(change: dict, message: str, record: BenchmarkRecord) -> None:
    with pytest.raises(BenchmarkError, match=message):
        BenchmarkRecord.from_dict({**record.to_dict(), **change})


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="not JSON"):
        BenchmarkRecord.from_json("{")
    with pytest.raises(BenchmarkError, match="damaged"):
        BenchmarkRecord.from_json("[]")
