"""Which products meet in which batch: a pure function of seed and step, so a resumed run sees what it would have."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from catalog import ModelError

_log = logging.getLogger(__name__)


class BatchSampler:
    """Each epoch shows every product once; neighbours of one category are put into the same batch.

    That is how hard negatives enter: no product is encoded only to be a negative, each is its own query's positive
    and its neighbours' hard negative.

    Args:
        product_ids: Products that have a training pair.
        category_of: Key that hard negatives share, by product.
        batch_size: Products a batch; all of them where there are fewer.
        hard_negatives_per_query: Products of the same category placed beside each.
        seed: With the step, decides everything.
    """

    def __init__(
        self,
        product_ids: Sequence[str],
        category_of: Mapping[str, str],
        batch_size: int,
        hard_negatives_per_query: int,
        seed: int,
    ) -> None:
        if len(product_ids) < 2:
            raise ModelError(
                "too few products with a training pair",
                got=str(len(product_ids)),
                allowed="at least 2",
                fix="add products or queries, or name more of `train.pair_sources`",
            )
        self.product_ids = sorted(product_ids)
        self.category_of = category_of
        self.batch_size = min(batch_size, len(self.product_ids))
        if self.batch_size < batch_size:
            _log.warning("batch of %d products instead of %d: there are no more", self.batch_size, batch_size)
        self.chunk_size = 1 + hard_negatives_per_query
        self.seed = seed
        self.batches_per_epoch = max(1, len(self.product_ids) // self.batch_size)
        self._epoch: tuple[int, list[str]] = (-1, [])

    def products(self, step: int) -> list[str]:
        """Product ids of the batch at `step`, counted from 0."""
        epoch, number = divmod(step, self.batches_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._order(epoch))
        order = self._epoch[1]
        return order[number * self.batch_size : (number + 1) * self.batch_size]

    def _order(self, epoch: int) -> list[str]:
        rng = np.random.default_rng((self.seed, epoch, 0))
        by_category: dict[str, list[str]] = defaultdict(list)
        for index in rng.permutation(len(self.product_ids)):
            product_id = self.product_ids[index]
            by_category[self.category_of[product_id]].append(product_id)
        chunks = [
            members[start : start + self.chunk_size]
            for members in by_category.values()
            for start in range(0, len(members), self.chunk_size)
        ]
        return [product_id for index in rng.permutation(len(chunks)) for product_id in chunks[index]]


def category_key(path: Sequence[str], level: int) -> str:
    """What hard negatives share: the category path down to `level`; -1 is the whole path."""
    return "\x00".join(path if level < 0 else path[: level + 1])
