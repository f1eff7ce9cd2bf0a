"""Batches by tensors are the batches of RecBole's own loader, and so are the random numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.dataloader.general_dataloader import TrainDataLoader
from tiny_runs import prepared

from recbole_darec.recbole_compat.fast_loader import TensorBatches, sooner


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    path = make_tiny(tmp_path_factory.mktemp("loader")).data_path
    (path / "tiny" / "tiny.item").write_text(
        "item_id:token\tweight:float\n" + "".join(f"i{n}\t{n / 7}\n" for n in range(30))
    )
    return path


def epochs(loader: Any, n: int = 3) -> list[dict[str, torch.Tensor]]:
    np.random.seed(7)  # noqa: NPY002 - RecBole draws negatives from the global stream
    return [dict(batch.interaction) for _ in range(n) for batch in loader]


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "pairs": ("LightGCN", {}),
    "in order": ("LightGCN", {"shuffle": False}),
    "several negatives": (
        "LightGCN", {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 3}},
    ),
    "labels": ("NeuMF", {}),
    "columns of items": (
        "LightGCN",
        {"load_col": {"inter": ["user_id", "item_id"], "item": ["item_id", "weight"]}},
    ),
    "batches that do not come out even": ("LightGCN", {"train_batch_size": 70}),
    "one batch": ("LightGCN", {"train_batch_size": 4096}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_batches_are_recboles(case: str, data_path: Path) -> None:
    model, changed = CASES[case]
    ours = prepared(data_path, model, align="none", **changed).train_data
    assert isinstance(ours, TensorBatches)
    stock = TrainDataLoader(ours.config, ours._dataset, ours._sampler, shuffle=ours.shuffle)
    stock.generator.set_state(ours.generator.get_state())
    expected, found = epochs(stock), epochs(ours)
    assert len(found) == len(expected) >= 3
    for mine, theirs in zip(found, expected):
        assert list(mine) == list(theirs)
        for name, values in theirs.items():
            assert mine[name].dtype == values.dtype
            torch.testing.assert_close(mine[name], values, rtol=0, atol=0)
    assert torch.equal(ours.generator.get_state(), stock.generator.get_state())


def test_another_process_may_load(data_path: Path) -> None:
    found, expected = (
        epochs(prepared(data_path, align="none", worker=n).train_data, 1) for n in (1, 0)
    )
    for mine, theirs in zip(found, expected, strict=True):
        for name in ("user_id", "item_id"):  # a process draws negatives of its own
            torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=0)


def test_another_loader_stays_as_it_is() -> None:
    class Other:
        pass

    assert sooner(Other) is Other
    assert issubclass(sooner(TrainDataLoader), TensorBatches)
