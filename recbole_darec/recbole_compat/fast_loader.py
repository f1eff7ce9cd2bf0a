"""RecBole's training loader without a step of Python for each interaction of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from recbole.data.dataloader.general_dataloader import TrainDataLoader
from torch.utils.data import RandomSampler, SequentialSampler

__all__ = ["TensorBatches", "sooner"]


class TensorBatches:
    """Mixin over RecBole's ``TrainDataLoader``: the same batches in the same order, sooner.

    Works around: PyTorch's loader hands the rows of a batch over as a list of Python numbers, each
    of them fetched by itself.
    """

    generator: torch.Generator
    sample_size: int
    step: int

    def __iter__(self) -> Iterator[Any]:
        stock: Any = super()
        kind = type(self.sampler)  # type: ignore[attr-defined]
        if self.num_workers or kind not in (RandomSampler, SequentialSampler):  # type: ignore[attr-defined]
            yield from stock.__iter__()
            return
        # PyTorch draws a seed for processes that load, and after the rows an order that nobody
        # uses: the generator's state after an epoch is that of RecBole.
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)
        shuffled = kind is RandomSampler
        rows = torch.arange(self.sample_size)
        if shuffled:
            rows = torch.randperm(self.sample_size, generator=self.generator)
        for some in torch.split(rows, self.step):
            yield self._batch(some)
        if shuffled:
            torch.randperm(self.sample_size, generator=self.generator)

    def _batch(self, rows: torch.Tensor) -> Any:
        data = self.transform(self._dataset, self._dataset[rows])  # type: ignore[attr-defined]
        return self._neg_sampling(data)  # type: ignore[attr-defined]


def sooner(loader_class: type) -> type:
    """Return RecBole's training loader with :class:`TensorBatches`; any other class as it is."""
    if loader_class is not TrainDataLoader:
        return loader_class
    return type(loader_class.__name__, (TensorBatches, loader_class), {})
