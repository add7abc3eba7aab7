"""A training that is killed goes on and ends where an uninterrupted one does; the working folder and its lock."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from catalog import Embedder, ModelError, StorageError
from models.config import ModelConfig
from models.training import train
from models.training.module import MoonModule
from models.training.workdir import load_checkpoint, locked, save_checkpoint
from tests.models import shop

PROGRAM = """
import sys, time
from pathlib import Path
import torch
from catalog import MoonError
from models.training.module import MoonModule
from tests.models import shop
from tests.models.test_resume import run_training

root, name, wait_at, before = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(1)
if wait_at:
    whole = getattr(MoonModule, before)
    def stop_here(self, *args, **kwargs):
        if self.step == wait_at:
            (root / (name + "-waits")).write_text("")
            while not (root / (name + "-goes-on")).exists():
                time.sleep(0.02)
        return whole(self, *args, **kwargs)
    setattr(MoonModule, before, stop_here)
try:
    run_training(root, name, shop.tiny_model)
except MoonError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
"""
STEPS, EVERY = 8, 2
START, IN_BETWEEN, AFTER = "on_train_batch_start", "configure_gradient_clipping", "on_train_batch_end"
"""Where a step can be cut: before it, between its gradients and its update, and before the update counts as made."""


def run_training(root: Path, name: str, model: Callable[..., ModelConfig], log_every: int = 1) -> None:
    """Everything that a checkpoint must hold is switched on, and router noise draws from torch's own generator too."""
    catalog = shop.make_shop(root / f"data-{name}")

    def score(embedder: Embedder) -> float:
        products = embedder.embed_products(catalog.items())
        queries = embedder.embed_queries(catalog.query_item(query) for query in catalog.queries)
        return float((queries.reshape(8, 3, -1) * products[:, None]).sum(-1).mean())

    record = train(
        catalog,
        shop.all_train(catalog),
        model=model(moe={"layers": [-1], "num_experts": 3, "top_k": 2, "rank": 4, "router_noise_std": 1.0}),
        train=shop.tiny_train(
            steps=STEPS,
            log_every_steps=log_every,
            chunk_tokens=400,
            ema_decay=0.6,
            stop={"eval_every_steps": 3, "patience": 3},
            negatives={"queue_size": 8, "queue_warmup_steps": 1},
        ),
        regions=shop.regions(),
        regions_config=shop.REGIONS,
        work_dir=root / f"work-{name}",
        out_dir=root / name,
        score=score,
    )
    (root / f"{name}.json").write_text(json.dumps(record.to_dict()))


def _start(root: Path, name: str, wait_at: int = 0, before: str = START) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = [sys.executable, "-c", PROGRAM, str(root), name, str(wait_at), before]
    return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)


def _until_it_waits(root: Path, name: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while not (root / f"{name}-waits").exists():
        assert process.poll() is None, process.stderr.read().decode()[-2000:] if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors.decode()[-2000:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted."""
    root = tmp_path_factory.mktemp("resume")
    _finish(_start(root, "whole"))
    return root


def _equals_the_whole(root: Path, name: str, resumed_from: int, log_every: int = 1) -> None:
    records = {one: json.loads((root / f"{one}.json").read_text()) for one in ("whole", name)}
    assert records[name]["resumed_from_step"] == resumed_from
    assert records["whole"]["resumed_from_step"] == 0
    logged = [step for step in range(1, STEPS + 1) if step % log_every == 0 or step == STEPS]
    assert [point["step"] for point in records["whole"]["history"]] == logged
    for one, two in zip(records["whole"]["history"], records[name]["history"], strict=True):
        for figure in one:
            # Seconds are not repeated, figures are.
            if figure != "train/samples_per_s":
                assert one[figure] == pytest.approx(two[figure], abs=1e-6), (figure, one["step"])
    assert [step for step, _ in records["whole"]["scores"]] == [3, 6, 8]
    assert np.allclose(records[name]["scores"], records["whole"]["scores"], atol=1e-6)
    assert records[name]["shipped"] == records["whole"]["shipped"]
    # Every choice once, whether a point was logged between checkpoint and end or not.
    assert records[name]["expert_choices"] == records["whole"]["expert_choices"] != []
    weights = [load_file(root / one / "model.safetensors") for one in ("whole", name)]
    assert all(torch.allclose(weights[0][key], weights[1][key], atol=1e-6) for key in weights[0])
    states = [torch.load(root / f"work-{one}" / "checkpoint.pt", weights_only=True) for one in ("whole", name)]
    queues = [{key: one for key, one in state["objective"].items() if "queue." in key} for state in states]
    assert len(queues[0]) >= 6
    assert all(torch.allclose(queues[0][key].float(), queues[1][key].float(), atol=1e-6) for key in queues[0])
    assert states[0]["ema"]["num_updates"] == states[1]["ema"]["num_updates"] == STEPS
    assert torch.equal(states[0]["random"][0]["cpu"], states[1]["random"][0]["cpu"])


def test_killed_within_a_step_and_resumed_equals_uninterrupted(whole: Path) -> None:
    step = random.SystemRandom().randrange(EVERY, STEPS)
    process = _start(whole, "killed", step, random.SystemRandom().choice((START, IN_BETWEEN, AFTER)))
    _until_it_waits(whole, "killed", process)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert not (whole / "killed").exists()
    _finish(_start(whole, "killed"))
    _equals_the_whole(whole, "killed", step // EVERY * EVERY)


class _Cut(BaseException):
    """Ends a training between two checkpoints, as a kill does."""


@pytest.mark.parametrize(
    ("name", "before", "log_every"),
    # Logged at every third step, a point of the curves lies between the checkpoint and the cut, and one behind it.
    [("pinned", IN_BETWEEN, 1), ("default", START, 3), ("default", AFTER, 1)],
)
def test_cut_off_and_resumed_equals_uninterrupted(
    name: str, before: str, log_every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for every head, in one process: a start takes longer than such a training."""
    model, whole = shop.MODELS[name], getattr(MoonModule, before)

    def cut_at_5(self: MoonModule, *args: Any, **kwargs: Any) -> Any:
        if self.step == 5:
            raise _Cut
        return whole(self, *args, **kwargs)

    run_training(tmp_path, "whole", model, log_every)
    with monkeypatch.context() as patch:
        patch.setattr(MoonModule, before, cut_at_5)
        with pytest.raises(_Cut):
            run_training(tmp_path, "cut", model, log_every)
    assert not (tmp_path / "cut").exists()
    # Another process would not know this state of the global generator either.
    torch.manual_seed(99)
    run_training(tmp_path, "cut", model, log_every)
    _equals_the_whole(tmp_path, "cut", 4, log_every)


def test_sigterm_ends_with_a_checkpoint_and_the_rest_equals_uninterrupted(whole: Path) -> None:
    step = random.SystemRandom().randrange(1, STEPS - 1)
    process = _start(whole, "stopped", wait_at=step)
    _until_it_waits(whole, "stopped", process)
    process.send_signal(signal.SIGTERM)
    (whole / "stopped-goes-on").write_text("")
    _, said = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM, said.decode()[-2000:]
    assert b"goes on from the checkpoint" in said
    # The running step was finished before it ended.
    assert torch.load(whole / "work-stopped" / "checkpoint.pt", weights_only=True)["step"] == step + 1
    _finish(_start(whole, "stopped"))
    _equals_the_whole(whole, "stopped", step + 1)


def test_a_folder_in_use_is_refused_with_the_pid(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from models.training.workdir import locked\n"
            "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    try:
        with pytest.raises(StorageError, match=f"in use by pid {holder.pid}"), locked(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    # The holder is dead: its lock is taken over.
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_an_unwritable_working_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"), locked(tmp_path / "file" / "work"):
        pass


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, "a") is None
    save_checkpoint(tmp_path, {"fingerprint": "a", "step": 3})
    found = load_checkpoint(tmp_path, "a")
    assert found is not None
    assert found["step"] == 3
    with pytest.raises(ModelError, match="another configuration"):
        load_checkpoint(tmp_path, "b")


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(tmp_path, "a")


def test_no_space_keeps_the_former_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, {"fingerprint": "a", "step": 3})

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match="No space left"):
        save_checkpoint(tmp_path, {"fingerprint": "a", "step": 4})
    monkeypatch.undo()
    found = load_checkpoint(tmp_path, "a")
    assert found is not None
    assert found["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
