"""Files that RecBole's models read are never unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_darec.errors import DataError
from recbole_darec.recbole_compat import plain_files
from recbole_darec.run import run_recbole_darec


class Runs:
    """Runs code when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (Path.touch, (self.file,))


def trained(data: Path, folder: Path, model: str, **given: Any) -> None:
    options = {"data_path": str(data), "checkpoint_dir": str(folder / "saved"), "epochs": 1,
               "align": "none", "show_progress": False, "train_batch_size": 64}  # fmt: skip
    run_recbole_darec(model=model, dataset="tiny", config_dict={**options, **given})


def test_weights_that_run_code_are_refused(tiny_dataset: Any, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    torch.save({"state_dict": Runs(ran)}, tmp_path / "fism.pth")
    with pytest.raises(DataError, match="NAIS reads a file that holds more than tensors"):
        trained(tmp_path / "dataset", tmp_path, "NAIS", pretrain_path=str(tmp_path / "fism.pth"))
    assert not ran.exists()


def test_rows_that_run_code_are_refused(tiny_dataset: Any, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    rows = tmp_path / "dataset" / "tiny" / "item_emb.npy"
    np.save(rows, np.array([Runs(ran)], dtype=object))
    with pytest.raises(DataError, match="LDiffRec reads a file that holds more than tensors"):
        trained(tmp_path / "dataset", tmp_path, "LDiffRec", n_cate=2, out_dims=[8], in_dims=[8])
    assert not ran.exists()


def test_plain_files_are_read_and_the_loaders_come_back(tmp_path: Path) -> None:
    loaders = torch.load, np.load
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth")
    np.save(tmp_path / "a.npy", np.ones(2))
    with plain_files("NAIS"):
        assert torch.load(tmp_path / "a.pth")["a"].tolist() == [1, 1]
        assert np.load(tmp_path / "a.npy", allow_pickle=True).tolist() == [1, 1]
    assert (torch.load, np.load) == loaders
