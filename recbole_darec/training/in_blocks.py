"""Evaluation of very many items: blocks of their scores, and the best so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from recbole_darec.evaluation.all_rank import AllRankLoader
from recbole_darec.numerics.topk import top_k_in_blocks
from recbole_darec.recbole_compat.best_items import BestItems

__all__ = ["RanksInBlocks"]

# Scores that are made at a time: 16 MiB stay in a processor's last cache.
_ELEMENTS = 1 << 22


class RanksInBlocks:
    """Mixin over a trainer of RecBole's: where the scores of all users and items would not fit into
    ``eval_block_mb``, those of a block of items are made at a time.

    For models whose scores are inner products, and metrics that read the best items alone; others
    are ranked by fewer users at a time.
    """  # fmt: skip

    config: Any
    model: Any
    device: Any
    eval_collector: Any
    _vectors: Mapping[str, Tensor] | None = None

    def evaluate(self, eval_data: Any, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as RecBole does."""
        if self._too_many(eval_data):
            self.model.eval()
            self._vectors = self.model.score_vectors(self.config)
        try:
            return super().evaluate(eval_data, *args, **kwargs)  # type: ignore[misc]
        finally:
            self._vectors = None

    def _too_many(self, eval_data: Any) -> bool:
        lists_alone = getattr(self.eval_collector, "reads_lists_alone", False)
        if not isinstance(eval_data, AllRankLoader) or not lists_alone:
            return False
        wanted = self.config.settings.evaluation.eval_batch_users
        # The same in every process, whatever its share of the users.
        return bool(eval_data.batch_users < wanted)

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        if self._vectors is None:
            return super()._full_sort_batch_eval(batched_data)  # type: ignore[misc]
        batch, masked, positive_u, positive_i = batched_data
        items = self._vectors["item"]
        users = self._vectors["user"][batch[self.model.USER_ID].to(items.device)]
        # The padding is no item: column 0 is item 1.
        rows, columns = (part.to(items.device) for part in masked)
        values, found = top_k_in_blocks(
            lambda start, end: users @ items[start + 1 : end + 1].T,
            len(items) - 1,
            max(self.config["topk"]),
            max(_ELEMENTS // len(users), 1),
            (rows, columns - 1),
        )
        return batch, BestItems(values, found + 1, len(items)), positive_u, positive_i
