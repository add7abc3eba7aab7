"""Which products meet in which batch: a function of seed, step and rank, so a resumed run sees what it would have."""

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
        category_of: Key that hard negatives share, by product; empty for one that has no category and so shares none.
        batch_size: Products a batch of one rank; an equal share of all where there are fewer.
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
        self.batches_per_epoch = self.steps_per_epoch()
        self._epoch: tuple[int, list[list[str]]] = (-1, [])

    def rank_batch_size(self, world: int = 1) -> int:
        """Products of one rank's batch, the same on every rank.

        Raises:
            ModelError: There are more ranks than products.
        """
        size = min(self.batch_size, len(self.product_ids) // world)
        if size < 1:
            raise ModelError(
                "more training processes than products with a training pair",
                where="train.num_processes x train.num_nodes",
                got=f"{world} processes, {len(self.product_ids)} products",
                allowed=f"at most {len(self.product_ids)} processes",
                fix="lower train.num_processes or train.num_nodes, or add products",
            )
        return size

    def steps_per_epoch(self, world: int = 1) -> int:
        """Steps in which `world` ranks show every product once, but for a rest smaller than their common batch."""
        return max(1, len(self.product_ids) // (world * self.rank_batch_size(world)))

    def products(self, step: int, rank: int = 0, world: int = 1) -> list[str]:
        """Product ids of one rank's batch at `step`.

        All ranks together hold what one rank with a batch `world` times larger would hold at this step. Products of
        one category that were put side by side stay on one rank; where sizes leave no other way, at most `world` - 1
        such chunks a step are cut in two.

        Args:
            step: Counted from 0.
            rank: 0 to `world` - 1.
            world: Processes that train together.

        Returns:
            `rank_batch_size(world)` ids; no id is on two ranks.
        """
        assert 0 <= rank < world
        size = self.rank_batch_size(world)
        epoch, number = divmod(step, self.steps_per_epoch(world))
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._chunks(epoch))
        together = _between(self._epoch[1], number * world * size, (number + 1) * world * size)
        return _dealt(together, size, world)[rank]

    def _chunks(self, epoch: int) -> list[list[str]]:
        rng = np.random.default_rng((self.seed, epoch, 0))
        by_category: dict[str, list[str]] = defaultdict(list)
        for index in rng.permutation(len(self.product_ids)):
            product_id = self.product_ids[index]
            by_category[self.category_of[product_id]].append(product_id)
        chunks = []
        for category, members in by_category.items():
            # Products without a category have none in common: they stand alone.
            size = self.chunk_size if category else 1
            chunks += [members[start : start + size] for start in range(0, len(members), size)]
        return [chunks[index] for index in rng.permutation(len(chunks))]


def _between(chunks: Sequence[list[str]], first: int, end: int) -> list[list[str]]:
    """The chunks as they lie between two places of their concatenation; those at the ends may be cut."""
    found, place = [], 0
    for chunk in chunks:
        part = chunk[max(first - place, 0) : max(end - place, 0)]
        if part:
            found.append(part)
        place += len(chunk)
    return found


def _dealt(chunks: Sequence[list[str]], size: int, world: int) -> list[list[str]]:
    """Deal chunks to `world` hands of `size`, the largest first, each to the hand with most room."""
    hands: list[list[str]] = [[] for _ in range(world)]
    # One hand takes them as they lie. The sort is stable, so that nothing but the order decides the deal.
    left = list(chunks) if world == 1 else sorted(chunks, key=len, reverse=True)
    for chunk in left:
        rest = chunk
        while rest:
            hand = min(hands, key=len)
            room = size - len(hand)
            hand.extend(rest[:room])
            rest = rest[room:]
    return hands


def category_key(path: Sequence[str], level: int) -> str:
    """What hard negatives share: the category path down to `level`; -1 is the whole path, empty without one."""
    return "\x00".join(path if level < 0 else path[: level + 1])
