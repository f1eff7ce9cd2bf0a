"""RecBole's constructors: files are never unpickled, and no run ends without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_darec.errors import DataError, OptionError
from recbole_darec.recbole_compat import plain_files, raised_in_a_model
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


def test_a_constructor_that_ends_the_process_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "dataset" / "lists"
    folder.mkdir(parents=True)
    rows = [f"u{u}\ti{(u + n) % 7}\t{n}" for u in range(6) for n in range(5)]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / "lists.inter").write_text("\n".join([header, *rows]) + "\n")
    with pytest.raises(OptionError, match=r"'GRU4RecCPR' cannot be made .* with rank_loss=bce"):
        run_recbole_darec(
            model="GRU4RecCPR",
            dataset="lists",
            config_dict={
                "data_path": str(tmp_path / "dataset"),
                "align": "none",
                "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
                "topk": [3],
                "valid_metric": "MRR@3",
            },
        )


def test_what_went_through_no_model_of_recbole_is_told_apart() -> None:
    with pytest.raises(TypeError) as ours:
        plain_files()  # type: ignore[call-arg]
    assert not raised_in_a_model(ours.value)
