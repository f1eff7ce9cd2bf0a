"""Splitting of long texts and averaging of their pieces, against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.encoders.long_texts import Pieces, cut, pool, split_long


def words(texts) -> list[int]:
    return [len(text.split()) for text in texts]


def characters(texts) -> list[int]:
    return [len(text) for text in texts]


TEXTS = st.lists(
    st.text(alphabet="ab \nü😀", min_size=1, max_size=60).filter(str.strip), max_size=6
)


@given(TEXTS, st.integers(1, 12), st.sampled_from([words, characters]))
def test_pieces_fit_and_hold_everything(texts, limit, count) -> None:
    pieces = split_long(texts, limit, count)
    assert len(pieces.counts) == len(texts)
    assert pieces.counts.sum() == len(pieces.texts) == len(pieces.tokens)
    assert pieces.tokens.tolist() == count(pieces.texts)
    assert (pieces.tokens <= limit).all()
    start = 0
    for text, n in zip(texts, pieces.counts):
        own = pieces.texts[start : start + n]
        if count([text])[0] <= limit:
            assert own == [text]
        # nothing but white space at the cuts is lost, and the order is kept
        assert "".join("".join(own).split()) == "".join(text.split())
        start += n


def test_cuts_are_at_white_space_and_even() -> None:
    text = " ".join(f"word{n:02}" for n in range(30))
    parts = cut(text, 3)
    assert " ".join(parts) == text
    assert [len(part.split()) for part in parts] == [10, 10, 10]


def test_a_single_character_over_the_limit_stays_whole() -> None:
    pieces = split_long(["x"], 1, lambda texts: [5 for _ in texts])
    assert pieces.texts == ["x"]


def test_a_word_without_white_space_is_cut_all_the_same() -> None:
    assert split_long(["x" * 10], 4, characters).texts == ["xxx", "xxxx", "xxx"]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.booleans(), st.integers(0, 99))
def test_the_average_is_weighted_and_keeps_length_one(counts, unit, seed) -> None:
    rng = np.random.default_rng(seed)
    n = sum(counts)
    rows = rng.standard_normal((n, 5)).astype(np.float32)
    if unit:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    tokens = rng.integers(1, 50, n)
    found = pool(rows, Pieces([""] * n, tokens, counts))
    assert found.pieces.tolist() == counts
    start = 0
    for k, size in enumerate(counts):
        total, weight = np.zeros(5), 0.0
        for row in range(start, start + size):
            total += tokens[row] * rows[row].astype(float)
            weight += tokens[row]
        expected = total / weight
        if size == 1:
            assert (found.rows[k] == rows[start]).all()
        elif unit:
            expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(found.rows[k], expected, rtol=1e-5, atol=1e-6)
        start += size


def test_opposite_unit_rows_do_not_divide_by_zero() -> None:
    rows = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    found = pool(rows, Pieces(["", ""], [3, 3], [2]))
    assert found.rows.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("n", [1, 2, 7])
def test_more_parts_than_characters(n: int) -> None:
    assert "".join(cut("ab", n)) == "ab"
