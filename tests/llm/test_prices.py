"""The price table: which line is a model's, and what is said about a malformed one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.errors import OptionError
from recbole_darec.llm.prices import Price, read_price
from recbole_darec.resources import properties_dir

SHIPPED = properties_dir() / "llm" / "prices.yaml"


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_line_of_the_shipped_table_reads() -> None:
    content = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    assert isinstance(content["date"], date)
    assert len(content["models"]) >= 5
    for name, prices in content["models"].items():
        price = read_price(name)
        assert price == Price(
            name, prices["input"], prices.get("output", 0.0), 1.0, str(content["date"])
        )
        half = read_price(name, batch=True)
        assert half is not None
        assert half.factor == content["batch_factor"] == 0.5


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-3.5-turbo-0125", "gpt-3.5-turbo"),
        ("gpt-4.1-2025-04-14", "gpt-4.1"),
        ("gpt-4o-audio", None),
        ("gpt-4o-", None),
        ("gpt-4o2", None),
        ("llama3", None),
        ("", None),
    ],
)
def test_a_dated_name_has_the_price_of_the_name(model: str, line: str | None) -> None:
    price = read_price(model)
    assert (price and price.model) == line


def test_a_line_for_the_dated_name_comes_first(tmp_path: Path) -> None:
    path = table(tmp_path, "models: {a: {input: 1}, a-2024: {input: 2}, a-2024-05: {input: 3}}")
    inputs = {m: read_price(m, path).input for m in ("a", "a-2023", "a-2024", "a-2024-05-13")}
    assert inputs == {"a": 1, "a-2023": 1, "a-2024": 2, "a-2024-05-13": 3}


def test_a_table_without_date_or_factor(tmp_path: Path) -> None:
    path = table(tmp_path, "models: {a: {input: 1}, 7: {input: 2}}")
    assert read_price("a", path, batch=True) == Price("a", 1.0, 0.0, 1.0, "undated")
    assert read_price("7", path).input == 2, "a model whose name is a number in yaml"


@given(
    *[st.floats(0, 1e6) for _ in range(2)],
    *[st.integers(0, 10**7) for _ in range(2)],
    st.floats(0, 1),
)
def test_cost_is_tokens_times_price(a: float, b: float, m: int, n: int, factor: float) -> None:
    expected = (m * a / 1e6 + n * b / 1e6) * factor
    assert Price("x", a, b, factor, "").cost(m, n) == pytest.approx(expected, rel=1e-9, abs=1e-12)


MALFORMED = {
    "no yaml": ("models: {a: {input: 1}", "not yaml"),
    "nested without end": ("[" * 5000, "not yaml"),
    "a day that there is not": ("date: 2025-13-45\nmodels: {a: {input: 1}}", "not yaml"),
    "empty": ("", "models"),
    "a list": ("- gpt-4o", "models"),
    "no models": ("date: 2025-01-01", "models"),
    "models a list": ("models: [a]", "models"),
    "a model without a table": ("models: {a: 1}", "models"),
    "no input": ("models: {a: {output: 1}}", "input of a"),
    "text": ("models: {a: {input: cheap}}", "input of a is 'cheap'"),
    "true": ("models: {a: {input: true}}", "input of a is True"),
    "negative": ("models: {a: {input: -1}}", "input of a is -1"),
    "no number": ("models: {a: {input: .nan}}", "input of a is nan"),
    "infinite": ("models: {a: {input: 1, output: .inf}}", "output of a is inf"),
    "factor": ("batch_factor: half\nmodels: {a: {input: 1}}", "batch_factor"),
    "python": ("models: !!python/object/apply:os.system [true]", "not yaml"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_table_is_one_error_that_names_the_file(tmp_path: Path, name: str) -> None:
    text, told = MALFORMED[name]
    path = table(tmp_path, text)
    with pytest.raises(OptionError) as caught:
        read_price("a", path, batch=True)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("models: {ü: {input: 1}}".encode("latin-1"))
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(OptionError, match=str(path)):
            read_price("a", path)
