"""A training that is killed goes on and ends where an uninterrupted one does; the working folder and its lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from catalog import ModelError, StorageError
from models.training.workdir import load_checkpoint, locked, save_checkpoint

PROGRAM = """
import json, sys, time
from pathlib import Path
import torch
from models.training import train
from models.training.module import MoonModule
from tests.models import shop

root, name, steps, wait_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
catalog = shop.make_shop(root / "data")
if wait_at:
    start = MoonModule.on_train_batch_start
    def stop_here(self, batch, batch_idx):
        if self.step == wait_at:
            (root / "waiting").write_text("")
            time.sleep(600)
        start(self, batch, batch_idx)
    MoonModule.on_train_batch_start = stop_here
record = train(
    catalog, shop.all_train(catalog), model=shop.tiny_model(), train=shop.tiny_train(steps=steps),
    regions=shop.regions(), regions_config=shop.REGIONS, work_dir=root / ("work-" + name), out_dir=root / name,
)
(root / (name + ".json")).write_text(json.dumps(record.to_dict()))
"""


def _start(root: Path, name: str, wait_at: int = 0, steps: int = 8) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = [sys.executable, "-c", PROGRAM, str(root), name, str(steps), str(wait_at)]
    return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors.decode()[-2000:]


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole = _start(tmp_path, "whole")
    killed = _start(tmp_path, "resumed", wait_at=5)
    deadline = time.monotonic() + 200
    while not (tmp_path / "waiting").exists():
        assert killed.poll() is None, killed.stderr.read().decode()[-2000:] if killed.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait(timeout=30)
    assert not (tmp_path / "resumed").exists()
    _finish(_start(tmp_path, "resumed"))
    _finish(whole)
    records = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "resumed")}
    assert records["resumed"]["resumed_from_step"] == 4
    assert records["whole"]["resumed_from_step"] == 0
    for one, two in zip(records["whole"]["history"], records["resumed"]["history"], strict=True):
        assert one["train/loss"] == pytest.approx(two["train/loss"], abs=1e-6)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "resumed")]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-6) for name in weights[0])
    assert records["whole"]["digest"] == records["resumed"]["digest"]


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
