"""The numbers of a text file: each is ``float32(float(text))``, bit for bit, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.embeddings import read_table
from recbole_darec.errors import EmbeddingError

HEADER = b"uid:token;emb:float_seq\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("numbers") / "x.useremb"


def naive(texts: list[str]) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array([np.float32(float(t)) for t in texts], dtype=np.float32)


def read(file: Path, *lines: bytes) -> np.ndarray:
    rows = b"".join(b"u%d;%s\n" % (n, line) for n, line in enumerate(lines))
    file.write_bytes(HEADER + rows)
    return read_table(file, field_separator=";", cache=False).matrix


def assert_same_bits(file: Path, texts: list[str]) -> None:
    found = read(file, " ".join(texts).encode())
    np.testing.assert_array_equal(found[0].view(np.uint32), naive(texts).view(np.uint32))


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
    st.sampled_from(["0", "-0.0", "1e-05", ".5", "5.", "1e-400", "99999999.9", "123456789.5"]),
)


@given(st.lists(numbers, min_size=1, max_size=40))
@settings(max_examples=300, deadline=None)
def test_equals_float_then_float32(file: Path, texts: list[str]) -> None:
    assert_same_bits(file, texts)


@given(st.lists(st.floats(2**-40, 2**20, width=32), min_size=1, max_size=30), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_numbers_next_to_float32_midpoints(file: Path, values: list[float], n_extra: int) -> None:
    # The float64 halfway between two float32, and its neighbours, written in full: the cases
    # in which rounding twice could go wrong.
    texts = []
    for value in values:
        low = np.float32(value)
        middle = (float(low) + float(np.nextafter(low, np.float32(np.inf)))) / 2
        for x in (middle, np.nextafter(middle, 0.0), np.nextafter(middle, np.inf)):
            texts.append(f"{x:.{20 + n_extra}f}")
            texts.append("-" + repr(float(x)))
    assert_same_bits(file, texts)


def test_many_plain_decimals_of_each_length(file: Path) -> None:
    rng = np.random.default_rng(0)
    for n_fraction in range(1, 26):
        assert_same_bits(file, [f"{x:.{n_fraction}f}" for x in rng.standard_normal(300) * 3])


def test_several_spaces_and_the_ends(file: Path) -> None:
    found = read(file, b"  1.5   -2.25 3.0  ", b"4 5 6", b"7 8 9 ", b" 1 2 3")
    np.testing.assert_array_equal(found, [[1.5, -2.25, 3], [4, 5, 6], [7, 8, 9], [1, 2, 3]])


def test_no_numbers(file: Path) -> None:
    for line in (b"   ", b""):
        with pytest.raises(EmbeddingError, match=r"line 3 \(token 'u1'\): no numbers"):
            read(file, b"1 2", line)


@given(
    st.integers(0, 12),
    st.binary(min_size=1, max_size=1).filter(lambda c: c not in b"0123456789 \n;"),
    st.lists(st.floats(-9, 9).map("{:.9f}".format), min_size=20, max_size=20),
)
@settings(max_examples=200, deadline=None)
def test_a_foreign_byte_is_never_taken_for_a_digit(
    file: Path, at: int, byte: bytes, good: list[str]
) -> None:
    # '*', '+', ',', '-', '.' and '/' share bits with digits.
    middle = b"1.25000000125"
    odd = middle[:at] + byte + middle[at + 1 :]
    text = " ".join(good[:10]).encode() + b" " + odd + b" " + " ".join(good[10:]).encode()
    try:
        if byte in b"_\r":  # read within or beside a number by Python, and not by NumPy
            raise ValueError
        expected = [float(t.strip()) for t in text.decode("ascii").split(" ")]
        if max(map(abs, expected)) > np.finfo(np.float32).max:  # 1E25000000125
            raise ValueError
    except ValueError:
        with pytest.raises(EmbeddingError, match=r"line 2 \(token 'u0'\): "):
            read(file, text)
    else:
        np.testing.assert_array_equal(read(file, text)[0], np.float32(expected))


@pytest.mark.parametrize("text", ["1.2.3", "1.5-2.5", "x", "1.0x", "--1.0", "1,5", "1.5\t2.5", "."])
@pytest.mark.parametrize("earlier", [b"", b"0.5 " * 10 + b"0.75"])
def test_what_is_no_number_is_refused(file: Path, text: str, earlier: bytes) -> None:
    line = f"0.5 0.25 0.125 0.1 0.2 0.3 0.4 0.6 0.7 {text} 0.75".encode()
    lines = [earlier, line] if earlier else [line]
    with pytest.raises(EmbeddingError) as error:
        read(file, *lines)
    where = f"line {len(lines) + 1} (token 'u{len(lines) - 1}')"
    assert f"{where}: number 10 is {text!r}, which is no number" in str(error.value)


@pytest.mark.parametrize("text", ["1_000", "\N{NO-BREAK SPACE}1", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_what_numpy_does_not_read_is_refused_with_its_line(file: Path, text: str) -> None:
    with pytest.raises(EmbeddingError, match=r"line 3 \(token 'u1'\): ") as error:
        read(file, b"1 2", b"3 " + text.encode())
    assert "\n" not in str(error.value)


def test_the_first_number_beyond_float32_is_shown(file: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"line 3 \(token 'u1'\): number 2 is '-1e400'"):
        read(file, b"1 2", b"3  -1e400", b"nan 1")
