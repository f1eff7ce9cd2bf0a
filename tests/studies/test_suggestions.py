"""Params files in RecBole's format, and what a search draws from them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.errors import OptionError
from recbole_darec.studies.space import Range, read_ranges
from recbole_darec.studies.suggestions import (
    Suggestions,
    hyperopt_space,
    length_of,
    values_at,
)

# As RecBole's own hyper.test has it.
RECBOLES = """\
learning_rate loguniform -8,0
embedding_size choice [64,96 , 128]
train_batch_size choice [512,1024,2048]
mlp_hidden_size choice ['[64,64,64]','[128, 128]']
dropout quniform 0,0.5,0.1
n_layers quniform 1,4,1
weight uniform 0.25,0.75
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_recboles_format_is_read_as_recbole_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("hyperopt")
    import numpy as np
    from hyperopt.pyll.stochastic import sample
    from recbole.trainer import HyperTuning

    file = written(tmp_path / "a.hyper", RECBOLES)
    ranges = read_ranges(file)
    stock = HyperTuning._build_space_from_file(str(file))
    assert list(ranges) == list(stock)
    for seed in range(20):
        ours = sample(hyperopt_space(ranges), np.random.RandomState(seed))
        theirs = sample(stock, np.random.RandomState(seed))
        values = values_at(ranges, ours)
        for name in ("learning_rate", "embedding_size", "train_batch_size", "weight"):
            assert values[name] == theirs[name]
        # RecBole takes the blanks out of a text; both are the same list.
        hidden = values["mlp_hidden_size"].replace(" ", "")
        assert hidden == theirs["mlp_hidden_size"].replace(" ", "")
        assert values["dropout"] == pytest.approx(theirs["dropout"], abs=1e-12)
        assert values["n_layers"] == min(max(theirs["n_layers"], 1), 4)
        assert isinstance(values["n_layers"], int)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rate loguniform\n", "is not of the form 'option kind values'"),
        ("learning_rate lguniform -8,0\n", "did you mean 'loguniform'"),
        ("x choice [__import__('os').getcwd()]\n", "are no values"),
        ("x choice []\n", "choice without a value"),
        ("x uniform 1\n", "uniform takes low and high"),
        ("\nx quniform 1,4\n", "line 2: x: quniform takes low, high and step"),
        ("x uniform 1,2\nx uniform 1,3\n", "line 2: x stands there twice"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        read_ranges(written(tmp_path / "bad.hyper", text))
    assert words in str(caught.value)


def choices(*sizes: int) -> dict[str, Range]:
    return {f"p{n}": Range("choice", tuple(range(10, 10 + size))) for n, size in enumerate(sizes)}


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 2**31 - 1))
@settings(max_examples=40)
def test_every_combination_comes_once(sizes: list[int], seed: int) -> None:
    search = Suggestions(choices(*sizes), None, seed)
    assert search.is_whole
    drawn = [tuple(search.next().values()) for _ in range(search.length)]
    ranges = [range(10, 10 + size) for size in sizes]
    assert sorted(drawn) == sorted(itertools.product(*ranges))


@given(
    low=st.integers(-50, 50),
    width=st.integers(1, 50),
    step=st.sampled_from([0.1, 0.25, 1.0]),
    drawn=st.floats(-200, 200),
)
def test_a_quantised_number_stays_in_its_range(
    low: int, width: int, step: float, drawn: float
) -> None:
    ranges = {"x": Range("quniform", (low, low + width, step))}
    value = values_at(ranges, {"x": round(drawn / step) * step})["x"]
    assert low <= value <= low + width
    assert isinstance(value, int) == (step == 1.0)


def test_how_long_a_search_is() -> None:
    ranged = {"x": Range("uniform", (0.0, 1.0))}
    assert length_of(choices(3, 4), None) == 12
    assert length_of(choices(3, 4), 5) == 5
    assert length_of(choices(3, 4), 50) == 12
    assert length_of(ranged, None) == 100
    assert length_of(ranged, 7) == 7


def bowl(values: dict[str, Any]) -> float:
    return (math.log(values["rate"]) + 4) ** 2 + abs(values["layers"] - 3)


def run(
    search: Suggestions, known: list[float] | None = None
) -> list[tuple[dict[str, Any], float]]:
    found = []
    for number in range(search.length):
        values = search.next()
        loss = bowl(values) if known is None or number >= len(known) else known[number]
        search.learn(loss)
        found.append((values, loss))
    return found


def test_suggestions_learn_and_can_be_asked_again() -> None:
    pytest.importorskip("hyperopt")
    space = {
        "rate": Range("loguniform", (-8.0, 0.0)),
        "layers": Range("choice", (1, 2, 3, 4)),
    }
    whole = run(Suggestions(space, 36, 1))
    losses = [loss for _, loss in whole]
    assert sum(losses[:12]) / 12 > sum(losses[-12:]) / 12
    # A tuning that was cut off after 20 trials asks again, and comes to the same ones.
    assert run(Suggestions(space, 36, 1), losses[:20]) == whole
    assert run(Suggestions(space, 36, 2)) != whole


def test_a_search_keeps_away_from_where_trials_fail() -> None:
    pytest.importorskip("hyperopt")
    search = Suggestions({"x": Range("uniform", (0.0, 1.0))}, 40, 3)
    drawn = []
    for _ in range(40):
        x = search.next()["x"]
        search.learn(None if x < 0.7 else 1 - x)
        drawn.append(x)
    # At random 8 of the last 27 would succeed.
    assert sum(x >= 0.7 for x in drawn[13:]) > 13
