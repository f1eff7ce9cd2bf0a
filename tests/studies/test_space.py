"""What is searched: grids whole, else drawn; RecBole's params files."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.errors import OptionError
from recbole_darec.studies.search import best_setting
from recbole_darec.studies.space import Range, drawn, range_of, read_ranges
from recbole_darec.studies.study import Method, Trial


def test_a_grid_that_fits_is_taken_whole_in_its_order() -> None:
    ranges = {"a": Range("choice", (1, 2)), "b": Range("choice", ("x", "y"))}
    assert drawn(ranges, 4, seed=1) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_a_value_that_stands_twice_is_one_setting() -> None:
    ranges = {"a": Range("choice", (1, 2, 1)), "b": Range("choice", ([0.5], [0.5]))}
    assert drawn(ranges, 6, seed=1) == [{"a": 1, "b": [0.5]}, {"a": 2, "b": [0.5]}]


@pytest.mark.parametrize("metric", ["recall@10", "giniindex"])
def test_a_metric_that_is_no_number_is_never_the_best(metric: str) -> None:
    method = Method("d", "LightGCN", "none")
    trials = [Trial(method, 1, {"n_layers": n}) for n in range(3)]
    rows: list[Any] = [SimpleNamespace(valid={metric: v}) for v in (math.nan, 0.2, 0.1)]
    best = 1 if metric == "recall@10" else 2
    assert best_setting(trials, rows, metric) == {"n_layers": best}
    assert best_setting(trials[:1], rows[:1], metric) == {"n_layers": 0}


@given(trials=st.integers(1, 8), seed=st.integers(0, 50))
def test_settings_are_different_and_the_same_for_the_same_seed(trials: int, seed: int) -> None:
    ranges = {"a": Range("choice", (1, 2, 3)), "b": Range("loguniform", (-5.0, 0.0))}
    found = drawn(ranges, trials, seed)
    assert found == drawn(ranges, trials, seed)
    assert len({repr(one) for one in found}) == trials
    for one in found:
        assert one["a"] in (1, 2, 3)
        assert math.exp(-5) * 0.999 <= one["b"] <= 1.001


@given(
    kind=st.sampled_from(["uniform", "quniform", "loguniform"]),
    low=st.floats(-20, 20),
    width=st.floats(0, 20),
    step=st.floats(0.001, 30),
    seed=st.integers(0, 1000),
)
def test_what_is_drawn_is_within_the_bounds(
    kind: str, low: float, width: float, step: float, seed: int
) -> None:
    bounds = (low, low + width)
    of = Range(kind, (*bounds, step) if kind == "quniform" else bounds)
    value = of.draw(np.random.default_rng(seed))
    smallest, largest = map(math.exp, bounds) if kind == "loguniform" else bounds
    assert smallest <= value <= largest
    if kind == "quniform" and smallest < value < largest:
        assert value == pytest.approx(round(value / step) * step, rel=1e-5)


def test_a_grid_that_does_not_fit_is_drawn_from() -> None:
    ranges = {"a": Range("choice", tuple(range(10)))}
    found = [one["a"] for one in drawn(ranges, 4, seed=3)]
    assert len(set(found)) == 4
    assert found != sorted(found) or found != [0, 1, 2, 3]


def test_a_params_file_of_recbole(tmp_path: Path) -> None:
    path = tmp_path / "darec.hyper"
    path.write_text(
        "# DaRec\nlearning_rate loguniform -8,0\n\nn_centers choice [4, 5]\n"
        "kd_weight uniform 0.1, 0.5  # as in the paper\nk quniform 10,30,10\n"
    )
    assert read_ranges(path) == {
        "learning_rate": Range("loguniform", (-8, 0)),
        "n_centers": Range("choice", (4, 5)),
        "kd_weight": Range("uniform", (0.1, 0.5)),
        "k": Range("quniform", (10, 30, 10)),
    }
    values = {one["k"] for one in drawn({"k": read_ranges(path)["k"]}, 3, 1)}
    assert values == {10, 20, 30}
    assert all(isinstance(value, int) for value in values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n", "line 1: 'a' is not of the form"),
        ("a chose [1]\n", r"unknown range 'chose' \(did you mean 'choice'"),
        ("a choice [1\n", "are no values"),
        ("a choice [1]\na choice [2]\n", "line 2: a stands there twice"),
        ("a uniform 1\n", "uniform takes low and high"),
        ("a uniform 2,1\n", "uniform takes low and high"),
        ("a quniform 1,2,0\n", "a step above 0"),
        ("a choice []\n", "choice without a value"),
        ("a uniform 0,1e999\n", "uniform takes low and high"),
        ("a loguniform 0,1000\n", "loguniform takes natural logarithms"),
    ],
)
def test_a_faulty_params_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.hyper"
    path.write_text(text)
    with pytest.raises(OptionError, match=message):
        read_ranges(path)


def test_a_missing_params_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be read: No such file"):
        read_ranges(tmp_path / "x.hyper")


@pytest.mark.parametrize("values", [[0.1], ["a", "b"], [True, False]])
def test_bounds_are_numbers(values: list[Any]) -> None:
    with pytest.raises(OptionError, match="takes low and high"):
        range_of("x", "uniform", values)
