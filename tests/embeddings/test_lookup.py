from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.embeddings import EmbeddingTable, lookup, read_table, write_binary
from recbole_darec.embeddings.lookup import Coverage
from recbole_darec.embeddings.mapped import MappedRows, lookup_or_map
from recbole_darec.errors import EmbeddingError


def table(tokens: list[str], matrix: np.ndarray) -> EmbeddingTable:
    return EmbeddingTable(tokens, matrix, Path("x.useremb"))


@given(
    st.lists(st.text(min_size=1, max_size=4), unique=True, min_size=1, max_size=30),
    st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=30),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from(["mean", "zero"]),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_equals_a_naive_loop(in_file, others, dtype, missing, data) -> None:
    matrix = np.random.default_rng(len(in_file)).standard_normal((len(in_file), 3)).astype(dtype)
    wanted = [t for t in data.draw(st.permutations(in_file + others)) if t != "[PAD]"]
    wanted = ["[PAD]", *dict.fromkeys(wanted)]
    by_token = dict(zip(in_file, matrix))
    got_rows = [by_token[t] for t in wanted[1:] if t in by_token]
    if not got_rows:
        return
    fill = np.mean(np.asarray(got_rows, dtype=np.float64), axis=0) if missing == "mean" else 0.0

    out, coverage = lookup(table(in_file, matrix), wanted, kind="user", missing=missing)

    assert out.dtype == (np.float16 if dtype is np.float16 else np.float32)
    assert not out[0].any()
    for i, token in enumerate(wanted[1:], start=1):
        row = by_token.get(token)
        if row is None:
            np.testing.assert_allclose(out[i], fill, rtol=2e-3, atol=1e-3)
        else:
            np.testing.assert_array_equal(out[i], row.astype(out.dtype))
    absent = [t for t in wanted[1:] if t not in by_token]
    assert coverage.n_ids == len(wanted) - 1
    assert coverage.n_covered == len(got_rows)
    assert coverage.n_missing == len(absent)
    assert coverage.n_unused == len(set(in_file) - set(wanted[1:]))
    assert coverage.missing_examples == tuple(absent[:5])


def test_many_blocks_of_a_mapped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["recbole_darec.embeddings.lookup"], "_BLOCK_BYTES", 1000)
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((500, 7)).astype(np.float32)
    tokens = [f"t{i}" for i in range(500)]
    write_binary(tmp_path / "a.useremb", tokens, matrix)
    order = rng.permutation(500)
    out, _ = lookup(
        read_table(tmp_path / "a.useremb"), ["[PAD]", *(tokens[i] for i in order)], kind="user"
    )
    np.testing.assert_array_equal(out[1:], matrix[order])


def test_many_rows_stay_in_a_mapped_file_that_has_them_all(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float16)
    tokens = [f"t{i}" for i in range(50)]
    write_binary(tmp_path / "a.itememb", tokens, matrix)
    found = read_table(tmp_path / "a.itememb")
    order = np.random.default_rng(1).permutation(50)[:20]
    wanted = ["[PAD]", *(tokens[i] for i in order)]
    size = 21 * 7 * 2
    rows, coverage = lookup_or_map(found, wanted, kind="item", mapped_from=size)
    assert isinstance(rows, MappedRows)
    assert rows.nbytes == size
    np.testing.assert_array_equal(rows.take(np.array([3, 1, 20])), matrix[order[[2, 0, 19]]])
    whole, same = lookup(found, wanted, kind="item")
    assert coverage == same
    np.testing.assert_array_equal(rows.take(np.arange(1, 21)), whole[1:])
    for others in (
        {"mapped_from": size + 1},
        {"mapped_from": 0, "missing": "zero"},
        {"mapped_from": None},
    ):
        lacking = [*wanted, "x"] if "missing" in others else wanted
        rows, _ = lookup_or_map(found, lacking, kind="item", **others)
        assert isinstance(rows, np.ndarray)
    matrix[order[4], 2] = np.nan
    np.save(tmp_path / "a.itememb.npy", matrix)
    with pytest.raises(EmbeddingError, match=f"NaN .* items t{order[4]};"):
        lookup_or_map(read_table(tmp_path / "a.itememb"), wanted, kind="item", mapped_from=0)


def test_tokens_of_a_numpy_array_and_mean_of_float16() -> None:
    matrix = np.full((2, 2), 60000, dtype=np.float16)  # a float16 sum would overflow
    tokens = np.array(["[PAD]", "a", "b", "c"])
    out, coverage = lookup(table(["a", "b"], matrix), tokens, kind="item", missing="mean")
    assert out.dtype == np.float16
    np.testing.assert_array_equal(out[3], matrix[0])
    assert coverage.missing_examples == ("c",)


def test_missing_names_counts_and_first_ids() -> None:
    wanted = ["[PAD]", "a", *(f"u{i}" for i in range(1300))]
    with pytest.raises(EmbeddingError) as error:
        lookup(table(["a"], np.ones((1, 2), np.float32)), wanted, kind="user")
    message = str(error.value)
    assert message.startswith(
        "1,300 of 1,301 users have no profile embedding in x.useremb: u0, u1, u2, u3, u4, …; "
    )
    assert "missing_profile=mean" in message


@pytest.mark.parametrize("missing", ["error", "mean", "zero"])
def test_a_file_that_covers_nothing_is_an_error_in_any_mode(missing: str) -> None:
    with pytest.raises(EmbeddingError, match=r"none of the 2 items has .* 7, 8.* the file has i7"):
        lookup(
            table(["i7"], np.ones((1, 2), np.float32)),
            ["[PAD]", "7", "8"],
            kind="item",
            missing=missing,
        )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_numbers_name_the_tokens(bad: float) -> None:
    matrix = np.ones((4, 3), np.float32)
    matrix[2, 1] = bad
    with pytest.raises(EmbeddingError, match=r"x\.useremb: NaN or infinite .* users c; "):
        lookup(table(list("abcd"), matrix), ["[PAD]", *"dcba"], kind="user")
    out, _ = lookup(table(list("abcd"), matrix), ["[PAD]", "a"], kind="user")  # c is not used
    assert np.isfinite(out).all()


def test_float64_beyond_float32_is_not_finite() -> None:
    with pytest.raises(EmbeddingError, match="infinite"):
        lookup(table(["a"], np.array([[1e300]])), ["[PAD]", "a"], kind="user")


def test_wrong_arguments() -> None:
    a = table(["a"], np.ones((1, 1), np.float32))
    with pytest.raises(ValueError, match="missing must be"):
        lookup(a, ["[PAD]", "a"], kind="user", missing="median")
    with pytest.raises(ValueError, match="padding"):
        lookup(a, ["a"], kind="user")


def test_describe_is_one_line() -> None:
    full = Coverage("user", 10, 10, 0, ())
    assert full.describe() == "10 of 10 users have a profile embedding (100.0 %)"
    part = Coverage("item", 4000, 1000, 7, ("a", "b"))
    assert part.describe() == (
        "1,000 of 4,000 items have a profile embedding (25.0 %), without one: a, b, …; "
        "7 rows of the file are not in the data set"
    )
