"""Two processes train as one with the whole batch; sharded they train too; and none outlives its starter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from catalog import ConfigError, Embedder, ModelError
from models.encoder import MoonEncoder
from models.training import TrainingRecord, train
from models.training.data import TrainSet
from models.training.distributed import MetricsFile
from models.training.job import JobFolder
from models.training.launch import Workers
from models.training.train_batch import TrainBatch
from models.training.workdir import save_checkpoint
from tests.models import shop
from tests.models.joined_steps import of_both

SETTINGS: dict[str, object] = {
    "steps": 3,
    "batch_size": 3,
    "label_weight": 1.0,
    "negatives": {"queue_size": 8, "queue_warmup_steps": 1},
    "warmup_frac": 0.0,
}
TWO: dict[str, object] = {"num_processes": 2, "num_threads": 1}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As the processes have, so that sums are taken in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _train(root: Path, name: str, **changes: object) -> TrainingRecord:
    catalog = shop.make_shop(root / "data")
    score, logger = changes.pop("score", None), changes.pop("logger", None)
    return train(
        catalog,
        shop.all_train(catalog),
        model=shop.tiny_model(),
        train=shop.tiny_train(**SETTINGS | changes),
        regions=shop.regions(),
        regions_config=shop.REGIONS,
        work_dir=root / f"work-{name}",
        out_dir=root / name,
        score=score,  # type: ignore[arg-type]
        logger=logger,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingRecord]:
    root = tmp_path_factory.mktemp("ranks")
    return root, _train(root, "averaged", logger=MetricsFile(root / "logged.jsonl"), **TWO)


def test_two_processes_are_one_with_the_whole_batch(
    averaged: tuple[Path, TrainingRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, two = averaged

    def whole(self: TrainSet, step: int) -> TrainBatch:
        return of_both(self, step)

    monkeypatch.setattr(TrainSet, "__getitem__", whole)
    one = _train(root, "alone", batch_size=6)
    assert two.num_processes == 2
    assert two.steps == one.steps == 3
    # The curves reached the logger of the process that started them.
    logged = [json.loads(line) for line in (root / "logged.jsonl").read_text().splitlines()]
    assert [row["step"] for row in logged] == [1, 2, 3]
    assert [row["metrics"]["train/loss"] for row in logged] == [point["train/loss"] for point in two.history]
    for ours, whole in zip(two.history, one.history, strict=True):
        for name in ("", "/retrieval", "/alignment", "/labels", "/experts"):
            assert ours[f"train/loss{name}"] == pytest.approx(whole[f"train/loss{name}"], abs=1e-5), name
    weights = [load_file(root / name / "model.safetensors") for name in ("averaged", "alone")]
    apart = {name: (weights[0][name] - value).abs() for name, value in weights[1].items()}
    # AdamW divides by the gradient's size: where that is near zero, roundings of a further loss become more than 1e-5
    # in one weight of 78,000. Without labels the next test is stricter.
    assert max((float(one.max()), name) for name, one in apart.items())[0] <= 1e-4
    assert float(torch.cat([one.flatten() for one in apart.values()]).mean()) <= 1e-7
    for ours, whole in zip(two.history, one.history, strict=True):
        assert ours["train/grad_norm"] == pytest.approx(whole["train/grad_norm"], rel=1e-5)


def test_two_processes_without_labels_have_the_weights_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _train(tmp_path, "averaged", label_weight=0.0, **TWO)

    def whole(self: TrainSet, step: int) -> TrainBatch:
        return of_both(self, step)

    monkeypatch.setattr(TrainSet, "__getitem__", whole)
    _train(tmp_path, "alone", label_weight=0.0, batch_size=6)
    ours, alone = (load_file(tmp_path / name / "model.safetensors") for name in ("averaged", "alone"))
    for name, value in alone.items():
        assert float((ours[name] - value).abs().max()) <= 2e-5, name
    assert max(float(value.abs().max()) for value in alone.values()) > 0.0


class Judge:
    """How near queries are to their products; keeps what it was shown."""

    def __init__(self, root: Path) -> None:
        self.catalog = shop.make_shop(root / "data")
        self.shown: list[np.ndarray] = []

    def __call__(self, embedder: Embedder) -> float:
        self.shown.append(embedder.embed_products(self.catalog.items()))
        queries = embedder.embed_queries(self.catalog.query_item(query) for query in self.catalog.queries)
        return float((queries.reshape(8, 3, -1) * self.shown[-1][:, None]).sum(-1).mean())


SHARDED: dict[str, object] = TWO | {
    "strategy": "fsdp",
    "ema_decay": 0.5,
    "stop": {"eval_every_steps": 4, "patience": 10},
    "steps": 12,
    "gradient_checkpointing": True,
}


@pytest.fixture(scope="module")
def sharded(averaged: tuple[Path, TrainingRecord]) -> tuple[TrainingRecord, Judge]:
    judge = Judge(averaged[0])
    return _train(averaged[0], "sharded", score=judge, **SHARDED), judge


def test_sharded_processes_train_and_their_model_embeds(
    averaged: tuple[Path, TrainingRecord], sharded: tuple[TrainingRecord, Judge]
) -> None:
    (root, two), (record, judge) = averaged, sharded
    # The same batches and start as without shards: the first losses are the same.
    assert record.history[0]["train/loss"] == pytest.approx(two.history[0]["train/loss"], abs=1e-4)
    losses = [point["train/loss"] for point in record.history]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert [step for step, _ in record.scores] == [4, 8, 12]
    best = int(np.argmax([score for _, score in record.scores]))
    assert record.shipped == f"best of 3 judged, step {4 * best + 4}"
    encoder = MoonEncoder.load(root / "sharded")
    assert encoder.digest == record.digest
    # What was judged best in training is what was shipped, and it is judged the same.
    assert np.allclose(judge.shown[best], encoder.embed_products(judge.catalog.items()), atol=1e-5)
    assert record.score == pytest.approx(record.scores[best][1], abs=1e-5)
    saved = torch.load(root / "work-sharded" / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 12
    shipped = load_file(root / "sharded" / "model.safetensors")
    assert all(saved["objective"][f"model.{name}"].shape == value.shape for name, value in shipped.items())


class Fails(MetricsFile):
    """A logger that gives up."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if step == 5:
            raise OSError("no route to the tracking server")


def test_sharded_processes_go_on_where_they_were_cut_off(
    averaged: tuple[Path, TrainingRecord], sharded: tuple[TrainingRecord, Judge]
) -> None:
    (root, _), (whole, _) = averaged, sharded
    judge = Judge(root)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(OSError, match="tracking server"):
        _train(root, "cut", score=judge, logger=Fails(root / "lost.jsonl"), **SHARDED)
    assert set(psutil.Process().children(recursive=True)) <= before
    record = _train(root, "cut", score=judge, **SHARDED)
    assert 4 <= record.resumed_from_step < 12
    for one, other in zip(record.history, whole.history, strict=True):
        assert one["train/loss"] == pytest.approx(other["train/loss"], abs=1e-6)
    assert np.allclose(record.scores, whole.scores, atol=1e-6)
    weights = [load_file(root / name / "model.safetensors") for name in ("cut", "sharded")]
    assert all(torch.allclose(weights[0][name], one, atol=1e-6) for name, one in weights[1].items())


def test_what_stopped_a_process_is_told_as_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "work-other").mkdir()
    save_checkpoint(tmp_path / "work-other", {"fingerprint": "of another", "step": 3})
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(ModelError, match="checkpoint belongs to another configuration") as caught:
        _train(tmp_path, "other", **TWO)
    assert caught.value.where.endswith("checkpoint.pt")
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not (tmp_path / "other").exists()


def test_shards_accumulate_what_whole_processes_do(tmp_path: Path) -> None:
    """Later losses stand on the accumulated gradients of the steps before."""
    settings = TWO | {"steps": 3, "accumulate_batches": 2, "log_every_steps": 1}
    whole = _train(tmp_path, "whole", **settings)
    shards = _train(tmp_path, "shards", **settings | {"strategy": "fsdp"})
    assert [point["step"] for point in shards.history] == [1, 2, 3]
    for one, two in zip(whole.history, shards.history, strict=True):
        assert two["train/loss"] == pytest.approx(one["train/loss"], abs=1e-4)
        assert two["train/grad_norm"] == pytest.approx(one["train/grad_norm"], rel=1e-3)


def test_shards_and_chunks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be combined") as caught:
        _train(tmp_path, "refused", strategy="fsdp", chunk_tokens=256, **TWO)
    assert "gradient_checkpointing" in caught.value.fix
    with pytest.raises(ConfigError, match="place to meet"):
        _train(tmp_path, "nodes", num_nodes=2)


def test_a_killed_process_names_ways_out_that_are_another_training(tmp_path: Path) -> None:
    workers = Workers(JobFolder(tmp_path), shop.tiny_train(**TWO), node=0)
    workers._processes = {rank: SimpleNamespace(poll=lambda: -signal.SIGKILL) for rank in range(2)}  # type: ignore[misc]
    with pytest.raises(ModelError, match="ended by SIGKILL") as caught:
        workers.wait(lambda: None)
    assert "train.batch_size" in caught.value.fix
    # Other settings are refused by the checkpoint of these.
    assert "goes on" not in caught.value.fix
    assert "another working folder" in caught.value.fix


PROGRAM = """
import sys
from pathlib import Path
from tests.models.test_training_distributed import TWO, _train
from catalog import MoonError

try:
    _train(Path(sys.argv[1]), "stopped", **TWO | {"steps": 5000, "checkpoint_every_steps": 1, "chunk_tokens": 256})
except MoonError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
"""


def test_no_process_outlives_its_starter(tmp_path: Path) -> None:
    checkpoint = tmp_path / "work-stopped" / "checkpoint.pt"

    def start() -> subprocess.Popen[bytes]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        arguments = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)

    def until(done: object, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 240
        while not done():  # type: ignore[operator]
            assert process.poll() is None, process.stderr.read().decode()[-2000:] if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.05)

    process = start()
    until(checkpoint.exists, process)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM, said.decode()[-2000:]
    assert b"stopped by SIGTERM" in said
    assert not any(one.is_running() for one in workers)
    step = torch.load(checkpoint, weights_only=True)["step"]
    assert step >= 1

    process = start()
    until(lambda: torch.load(checkpoint, weights_only=True)["step"] > step, process)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert len(gone) >= 2
    assert not alive
    assert json.loads((tmp_path / "work-stopped" / "job" / "job.json").read_text())["train"]["num_processes"] == 2
