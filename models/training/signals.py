"""SIGTERM ends a training after the running step, with a checkpoint.

Schedulers and container runtimes send SIGTERM and some seconds later SIGKILL. Lightning's own handler leaves from the
middle of its loop with exit status 0 and lets rank 0 broadcast from inside a signal handler; this one only sets a flag.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from catalog import MoonError
from models.training.schedule import ends_update

_log = logging.getLogger(__name__)
EXIT_STATUS = 128 + signal.SIGTERM
"""What a shell reports of a command that SIGTERM ended."""


class TrainingStoppedError(MoonError):
    """A training was asked to stop and did so in good order."""

    exit_status = int(EXIT_STATUS)


class StopOnSigterm(Callback):
    """Finishes the running step, writes a checkpoint, and raises.

        stopper = StopOnSigterm(module.checkpoint)
        trainer = Trainer(callbacks=[..., stopper])
        with stopper.watching():
            trainer.fit(module, loader)

    Of several processes all stop after the same step, as soon as one was asked to.

    Args:
        checkpoint: Writes what a run needs to go on; called once, after the module's `on_train_batch_end`.
        where: The working folder, for the message.
        accumulate_batches: Batches of a step. A training never stops between two of them: it would do the first again,
            with the random state and the queue that they left.
    """

    def __init__(self, checkpoint: Callable[[], None], where: str = "", accumulate_batches: int = 1) -> None:
        self.checkpoint, self.where, self.accumulate_batches = checkpoint, where, accumulate_batches
        self.received = False
        self._steps = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle SIGTERM inside the scope; to be put around `Trainer.fit`.

        Raises:
            TrainingStoppedError: On leaving, when the signal came.
        """
        self.received = False
        self._steps = 0
        before = self._install()
        try:
            yield
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)
        if self.received:
            raise TrainingStoppedError(
                f"the training was stopped by SIGTERM after {self._steps} steps of this run",
                where=self.where,
                fix="start it again with the same working folder: it goes on from the checkpoint just written",
            )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Lightning is about to put its handler in front of ours: from then on a signal would end the fit between two
        # batches of an update, and be broadcast while the other processes are at something else.
        trainer._signal_connector._sigterm_notifier_fn = _leave_it_to_us  # type: ignore[method-assign, assignment]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not ends_update(batch_idx, self.accumulate_batches):
            return
        self._steps += 1
        if self._anyone_received(trainer):
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Asked again: the signal may have come since the last step, and not to all while they wrote or judged.
        if self._anyone_received(trainer):
            self.checkpoint()

    def _anyone_received(self, trainer: Trainer) -> bool:
        if trainer.world_size > 1:
            self.received = trainer.strategy.reduce_boolean_decision(self.received, all=False)
        return self.received

    def _install(self) -> Any:
        """Returns the handler before; None when it was left, because only the main thread may set one."""
        if threading.current_thread() is not threading.main_thread():
            return None
        return signal.signal(signal.SIGTERM, self._receive) or signal.SIG_DFL

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if not self.received:
            _log.warning("SIGTERM: the running step is finished and a checkpoint written")
        self.received = True


def _leave_it_to_us(signum: int, frame: FrameType | None) -> None:
    """In place of Lightning's handler, which goes before ours."""


def ignore_sigterm(worker_id: int) -> None:
    """`worker_init_fn` of a `DataLoader`.

    A signal to the whole process group would end the workers at once, and with them the step that is to be finished;
    they leave when the training does.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
