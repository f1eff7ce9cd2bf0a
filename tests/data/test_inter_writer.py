"""Interactions joined as columns are the very bytes that pandas writes row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.data import inter_writer
from recbole_darec.data.inter_writer import write_rows


def made(n: int = 1000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user_id": [f"u{i}ä" for i in rng.integers(0, 50, n)],
            "item_id": pd.Categorical([f"i {i}" for i in rng.integers(0, 50, n)]),
            "rating": rng.standard_normal(n) * 10.0 ** rng.integers(-20, 20, n),
            "timestamp": rng.integers(-5, 2**40, n).astype(float),
        }
    )


def by_pandas(frame: pd.DataFrame) -> bytes:
    text: str = frame.to_csv(sep="\t", index=False, lineterminator="\n")
    return text.encode()


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_ids_and_numbers(tmp_path: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inter_writer, "_ROWS", 300)
    frame = made().iloc[:, :columns]
    write_rows(tmp_path / "x", frame, list(frame.columns))
    assert (tmp_path / "x").read_bytes() == by_pandas(frame)


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=8))
def test_every_number(tmp_path_factory: pytest.TempPathFactory, numbers: list[float]) -> None:
    frame = pd.DataFrame({"user_id": "u", "rating": numbers})
    path = tmp_path_factory.getbasetemp() / "numbers"
    write_rows(path, frame, ["user_id", "rating"])
    assert path.read_bytes() == by_pandas(frame)


@pytest.mark.parametrize("token", ['a"b', "a\tb", "a\nb", " ", "a,b"])
def test_ids_that_need_quotes(tmp_path: Path, token: str) -> None:
    frame = pd.DataFrame({"user_id": ["u", token], "item_id": [token, "i"]})
    write_rows(tmp_path / "x", frame, list(frame.columns))
    assert (tmp_path / "x").read_bytes() == by_pandas(frame)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inter_writer, "_pyarrow", lambda: None)
    write_rows(tmp_path / "x", made(), list(made().columns))
    assert (tmp_path / "x").read_bytes() == by_pandas(made())
