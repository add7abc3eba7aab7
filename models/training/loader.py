"""Batches in their order, assembled here or by data workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from catalog import MoonError
from models.training.data import TrainSet
from models.training.signals import ignore_sigterm
from models.training.train_batch import TrainBatch


class BatchLoader(DataLoader[Any]):
    """The batches of the steps that are left.

    Args:
        dataset: Of the training.
        first_step: The update to begin with.
    """

    def __init__(self, dataset: TrainSet, first_step: int) -> None:
        config = dataset.config
        super().__init__(
            _Told(dataset),
            batch_size=None,
            sampler=range(first_step * config.accumulate_batches, config.steps * config.accumulate_batches),
            num_workers=config.num_workers,
            worker_init_fn=ignore_sigterm,
            # Its own, so that a resumed run does not draw once more from the one that dropout and router noise use.
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[TrainBatch]:  # type: ignore[override]
        """One batch after the other.

        Raises:
            ImageError: A photograph cannot be read any more.
        """
        for drawn in super().__iter__():
            if isinstance(drawn, MoonError):
                raise drawn
            yield drawn


class _Told(Dataset[TrainBatch | MoonError]):
    """Hands on what a user can mend as a value: torch would make one text of it and of the worker's traceback."""

    def __init__(self, dataset: TrainSet) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> TrainBatch | MoonError:
        if get_worker_info() is None:
            return self.dataset[number]
        try:
            return self.dataset[number]
        except MoonError as error:
            return error
