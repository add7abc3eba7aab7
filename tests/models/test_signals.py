"""SIGTERM to a real training process: the step ends, the checkpoint is there, the exit is clear."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch import LightningModule as Module

from models.training.signals import StopOnSigterm

PROGRAM = """
import logging, signal, sys, time
from pathlib import Path
import torch
from torch import nn
from torch.utils.data import DataLoader
from lightning.pytorch import Callback, LightningModule, Trainer
from models.training.signals import StopOnSigterm, TrainingStoppedError, ignore_sigterm

root, num_workers, wait_in, each = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
logging.basicConfig(stream=sys.stdout)
torch.set_num_threads(1)

def wait(where):
    if where == wait_in:
        (root / "waiting").write_text("")
        for _ in range(100):
            time.sleep(0.05)
            if (root / "sent").exists():
                time.sleep(0.2)
                return

class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight, self.step = nn.Parameter(torch.zeros(1)), 0
    def setup(self, stage):
        wait("setup")
    def training_step(self, batch, batch_idx):
        if self.step == 3:
            wait("step")
        return (self.weight - batch).square().sum()
    def on_train_batch_end(self, *args):
        self.step += 1
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

class First(Callback):
    def on_train_start(self, trainer, pl_module):
        wait("loops")

module = Module()
stopper = StopOnSigterm(lambda: (root / "checkpoint").open("a").write(f"{module.step}\\n"), "here", each)
loader = DataLoader(
    torch.ones(50, 1), batch_size=1, num_workers=num_workers, worker_init_fn=ignore_sigterm if num_workers else None
)
trainer = Trainer(
    accelerator="cpu", max_epochs=1, logger=False, callbacks=[First(), stopper], enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False, accumulate_grad_batches=each,
)
own = signal.getsignal(signal.SIGTERM)
try:
    with stopper.watching():
        trainer.fit(module, loader)
except TrainingStoppedError as stopped:
    print(stopped, flush=True)
    assert signal.getsignal(signal.SIGTERM) == own
    sys.exit(stopped.exit_status)
assert signal.getsignal(signal.SIGTERM) == own
print("whole", module.step)
"""


def _run(root: Path, num_workers: int, wait_in: str, to_group: bool = False, each: int = 1) -> tuple[int, str]:
    places = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(places)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), str(num_workers), wait_in, str(each)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if wait_in != "nowhere":
        deadline = time.monotonic() + 120
        while not (root / "waiting").exists():
            assert process.poll() is None, process.stderr.read()[-2000:] if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if to_group:
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.send_signal(signal.SIGTERM)
        (root / "sent").write_text("")
    out, errors = process.communicate(timeout=120)
    return process.returncode, out + errors


@pytest.mark.parametrize(("num_workers", "to_group"), [(0, False), (1, True)])
def test_the_running_step_is_finished_and_a_checkpoint_written(
    tmp_path: Path, num_workers: int, to_group: bool
) -> None:
    status, said = _run(tmp_path, num_workers, "step", to_group)
    assert status == 143, said[-2000:]
    assert (tmp_path / "checkpoint").read_text() == "4\n"
    assert "stopped by SIGTERM after 4 steps" in said
    assert "start it again" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("wait_in", "each"), [("setup", 1), ("loops", 3)], ids=["before Lightning's handler", "after"])
def test_a_signal_before_the_first_step_stops_after_it(tmp_path: Path, wait_in: str, each: int) -> None:
    status, said = _run(tmp_path, 0, wait_in, each=each)
    assert status == 143, said[-2000:]
    # Batches: never between those of one update.
    assert (tmp_path / "checkpoint").read_text() == f"{each}\n"
    assert "stopped by SIGTERM after 1 steps" in said


@pytest.mark.parametrize("mine", [True, False])
def test_a_signal_at_the_very_end_is_everyones_or_nobodys(mine: bool) -> None:
    """Writing a checkpoint takes all processes, so one that was asked alone must not begin."""
    for other in (True, False):
        written: list[bool] = []
        stopper = StopOnSigterm(lambda told=written: told.append(True))
        strategy = SimpleNamespace(reduce_boolean_decision=lambda flag, all, other=other: flag or other)
        stopper.received = mine
        stopper.on_train_end(SimpleNamespace(world_size=2, strategy=strategy), Module())  # type: ignore[arg-type]
        assert bool(written) == stopper.received == (mine or other)


def test_without_a_signal_nothing_changes(tmp_path: Path) -> None:
    status, said = _run(tmp_path, 0, "nowhere")
    assert status == 0, said[-2000:]
    assert "whole 50" in said
    assert not (tmp_path / "checkpoint").exists()
