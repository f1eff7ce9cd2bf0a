from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.embeddings.decimals import parse_decimals


def naive(texts: list[str]) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array([np.float32(float(t)) for t in texts], dtype=np.float32)


def parse(texts: list[str]) -> np.ndarray:
    return parse_decimals((" ".join(texts) + " ").encode())[0]


def assert_same_bits(texts: list[str]) -> None:
    np.testing.assert_array_equal(parse(texts).view(np.uint32), naive(texts).view(np.uint32))


digits = st.text("0123456789", max_size=26)
decimals = st.builds(
    lambda sign, whole, fraction: f"{sign}{whole}.{fraction}",
    st.sampled_from(["", "-", "+"]),
    st.text("0123456789", min_size=1, max_size=11),
    digits,
)
numbers = st.one_of(
    decimals,
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda x: str(np.float32(x))),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30).map(repr),
    st.floats(-1, 1).map("{:.8f}".format),
    st.floats(-1, 1).map("{:.18e}".format),
    st.integers(-(10**12), 10**12).map(str),
    st.sampled_from(["0", "-0.0", "1e-05", ".5", "5.", "1e400", "99999999.9", "123456789.5"]),
)


@given(st.lists(numbers, min_size=1, max_size=40))
@settings(max_examples=300, deadline=None)
def test_equals_float_then_float32(texts: list[str]) -> None:
    assert_same_bits(texts)


@given(st.lists(st.floats(2**-40, 2**20, width=32), min_size=1, max_size=30), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_numbers_next_to_float32_midpoints(values: list[float], n_extra: int) -> None:
    # The float64 halfway between two float32, and its neighbours, written in full: the cases
    # in which rounding twice could go wrong.
    texts = []
    for value in values:
        low = np.float32(value)
        middle = (float(low) + float(np.nextafter(low, np.float32(np.inf)))) / 2
        for x in (middle, np.nextafter(middle, 0.0), np.nextafter(middle, np.inf)):
            texts.append(f"{x:.{20 + n_extra}f}")
            texts.append("-" + repr(float(x)))
    assert_same_bits(texts)


def test_many_plain_decimals_of_each_length() -> None:
    rng = np.random.default_rng(0)
    for n_fraction in range(1, 26):
        texts = [f"{x:.{n_fraction}f}" for x in rng.standard_normal(300) * 3]
        assert_same_bits(texts)


def test_several_spaces_and_the_ends() -> None:
    text = b"  1.5   -2.25 3.0  "
    values, ends = parse_decimals(text)
    np.testing.assert_array_equal(values, np.float32([1.5, -2.25, 3.0]))
    assert [text[:e].split()[-1] for e in ends] == [b"1.5", b"-2.25", b"3.0"]


def test_no_numbers() -> None:
    assert parse_decimals(b"   ")[0].size == 0
    assert parse_decimals(b"")[0].size == 0


@given(
    st.integers(0, 12),
    st.binary(min_size=1, max_size=1).filter(lambda c: c not in b"0123456789 "),
    st.lists(st.floats(-9, 9).map("{:.9f}".format), min_size=20, max_size=20),
)
@settings(max_examples=200, deadline=None)
def test_a_foreign_byte_is_never_taken_for_a_digit(at: int, byte: bytes, good: list[str]) -> None:
    # '*', '+', ',', '-', '.' and '/' share bits with digits: the vectorised check must see them.
    middle = "1.25000000125"
    odd = middle[:at].encode() + byte + middle[at + 1 :].encode()
    text = " ".join(good[:10]).encode() + b" " + odd + b" " + " ".join(good[10:]).encode() + b" "
    try:
        expected = [float(t) for t in text.split(b" ") if t]
    except ValueError:
        with pytest.raises(ValueError):
            parse_decimals(text)
    else:
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(parse_decimals(text)[0], np.float32(expected))


@pytest.mark.parametrize("text", ["1.2.3", "1.5-2.5", "x", "1.0x", "--1.0", "1,5", "1.5\t2.5", "."])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_decimals(f"0.5 0.25 0.125 0.1 0.2 0.3 0.4 0.6 0.7 {text} 0.75 ".encode())
