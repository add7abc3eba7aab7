"""What two processes would train on in a step, as the one batch of a single process."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from models.batch import Batch
from models.negatives.codes import CandidateCodes, QueryCodes, widened
from models.training.data import TrainSet
from models.training.ranks import Ranks
from models.training.train_batch import LabelTargets, TrainBatch, View


def of_both(dataset: TrainSet, step: int, batch_size: int = 3) -> TrainBatch:
    """The step of two processes, `batch_size` pairs each."""
    parts = []
    for rank in range(2):
        part = copy.copy(dataset)
        part.ranks, part.sampler = Ranks(rank, 2), copy.copy(dataset.sampler)
        part.sampler.batch_size = batch_size
        parts.append(part._batch(step))
    assert not set(parts[0].product_ids) & set(parts[1].product_ids)
    return _joined(parts)


def _joined(parts: Sequence[TrainBatch]) -> TrainBatch:
    """One batch of the rows of several, in their order; label texts, of which each has a part, after all text views."""
    pictures = np.cumsum([0, *(len(part.pixels_NCHW) for part in parts)]).tolist()
    rows = np.cumsum([0, *(len(part.product_ids) for part in parts)]).tolist()
    names = [name for name in View if any(name in part.views for part in parts)]
    joined = {
        name: _stacked([(part.views[name], first) for part, first in zip(parts, pictures, strict=False)])
        for name in names
    }
    texts = [(part.views[View.TEXTS], len(part.text_view_rows)) for part in parts if View.TEXTS in part.views]
    if texts:
        shown = [batch.rows(torch.arange(num)) for batch, num in texts if num]
        asked = [batch.rows(torch.arange(num, len(batch))) for batch, num in texts if num < len(batch)]
        joined[View.TEXTS] = _stacked([(one, 0) for one in (*shown, *asked)])
    labels = []
    for both in zip(*(part.labels for part in parts), strict=True):
        assert len({(one.first_text, one.right_BL.shape[1]) for one in both}) == 1
        labels.append(
            LabelTargets(
                both[0].first_text,
                torch.cat([one.right_BL for one in both]),
                torch.cat([one.product_may_see_B for one in both]),
                torch.cat([one.words_may_see_B for one in both]),
            )
        )
    return replace(
        parts[0],
        labels=tuple(labels),
        product_ids=tuple(key for part in parts for key in part.product_ids),
        kinds=tuple(kind for part in parts for kind in part.kinds),
        pixels_NCHW=torch.cat([part.pixels_NCHW for part in parts]),
        views=joined,
        image_view_rows=torch.cat([one.image_view_rows + first for one, first in zip(parts, rows, strict=False)]),
        text_view_rows=torch.cat([one.text_view_rows + first for one, first in zip(parts, rows, strict=False)]),
        plain_query_rows=torch.cat([one.plain_query_rows + first for one, first in zip(parts, rows, strict=False)]),
        plain_product_rows=torch.cat([one.plain_product_rows + first for one, first in zip(parts, rows, strict=False)]),
        view_texts_B=torch.cat([part.view_texts_B for part in parts]),
        query_codes=_together([part.query_codes for part in parts]),
        product_codes=_together([part.product_codes for part in parts]),
        kind_B=torch.cat([part.kind_B for part in parts]),
        weight_B=torch.cat([part.weight_B for part in parts]),
    )


def _stacked(parts: Sequence[tuple[Batch, int]]) -> Batch:
    """Batches below each other; each with the number of its first picture."""
    length = max(batch.ids_BL.shape[1] for batch, _ in parts)
    firsts = np.cumsum([0, *(len(batch) for batch, _ in parts)]).tolist()

    def wide(one: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(one, (0, length - one.shape[-1]))

    return replace(
        parts[0][0],
        ids_BL=torch.cat([wide(batch.ids_BL) for batch, _ in parts]),
        types_BL=torch.cat([wide(batch.types_BL) for batch, _ in parts]),
        positions_3BL=torch.cat([wide(batch.positions_3BL) for batch, _ in parts], dim=1),
        slot_picture_S=torch.cat([batch.slot_picture_S + first for batch, first in parts]),
        slot_row_S=torch.cat([batch.slot_row_S + row for (batch, _), row in zip(parts, firsts, strict=False)]),
    )


def _together(codes: Sequence[QueryCodes] | Sequence[CandidateCodes]) -> QueryCodes | CandidateCodes:
    tables = [one.table() for one in codes]
    width = max(table.shape[1] for table in tables)
    return codes[0].of_table(torch.cat([widened(table, width) for table in tables]))
