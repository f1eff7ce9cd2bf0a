"""An evaluation that several processes share: each ranks for its users, and all have everything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from recbole.data.dataloader import FullSortEvalDataLoader

from recbole_darec.numerics.precision import flushed_denormals
from recbole_darec.recbole_compat.kept_ranking import in_one
from recbole_darec.recbole_compat.metrics import MetricCollector

__all__ = ["RankLoader", "SharedCollector", "evaluated_by"]


class RankLoader(FullSortEvalDataLoader):
    """An all-rank loader that can be read in part.

    Attributes:
        own: which of its rows it yields; None: all.
    """

    own: slice | None = None

    def __len__(self) -> int:
        n_rows = self.sample_size if self.own is None else self.own.stop - self.own.start
        return max(1, -(-n_rows // self.step))

    def __iter__(self) -> Iterator[Any]:
        if self.own is None:
            yield from super().__iter__()
            return
        for start in range(self.own.start, self.own.stop, self.step):
            yield self.collate_fn(list(range(start, min(start + self.step, self.own.stop))))


class SharedCollector(MetricCollector):
    """A collector that may have collected of a part of the rows alone.

    Attributes:
        gather: makes of the rows of this process those of all; None where it has them all.
        first_row: number of this process's first row among those of all.
    """

    gather: Callable[[Any], Any] | None = None
    first_row = 0

    def get_data_struct(self) -> Any:
        """Return what was collected of all rows, and forget what belongs to one evaluation."""
        collected = self.data_struct
        if self.gather is not None:
            for key in self.of_one_evaluation:
                rows = self.gather(collected.get(key) if key in collected else None)
                if rows is not None:
                    collected.set(key, rows)
            if self.kept is not None:
                own = in_one(self.kept, self.first_row) if self.kept else (None,) * 4
                of_all = tuple(self.gather(part) for part in own)
                self.kept = [] if of_all[0] is None else [of_all]
        return super().get_data_struct()


@contextlib.contextmanager
def evaluated_by(ranks: Any, loader: Any, collector: Any) -> Iterator[None]:
    """Have each of several processes rank its part of a loader's rows, and collect all of them.

    Numbers too small to be normal are 0 meanwhile.

    A loader with sampled candidates draws them as it is read: each process reads all of it.

    Args:
        ranks: the processes that train one model.
        loader: what is evaluated.
        collector: of the metrics.
    """
    with flushed_denormals(), contextlib.ExitStack() as afterwards:
        if ranks.size > 1 and isinstance(loader, RankLoader):
            afterwards.callback(_own_all, loader, collector)
            loader.own, collector.gather = ranks.rows(loader.sample_size, loader.step), ranks.gather
            collector.first_row = loader.own.start
        yield


def _own_all(loader: RankLoader, collector: SharedCollector) -> None:
    loader.own = collector.gather = None
    collector.first_row = 0
