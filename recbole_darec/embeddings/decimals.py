"""Reading decimal numbers by the million: text to float32, exactly.

``float32(float(text))`` for each number is what the files mean, and is what comes out, bit for bit.
Python's and NumPy's own conversions take a fifth of a microsecond a number and are most of the
time that a text embedding file costs.  Here plain decimals with one digit before the point, such
as ``-0.0243749``, are converted eight digits at a time with integer arithmetic on whole arrays;
whatever is written in another way goes through ``float``.

Why it is exact.  Eight ASCII digits in a 64-bit word become an integer without rounding, and the
few float64 operations that put such integers together all add terms of one sign, so the float64
is within 4 units in its last place of the true value.  Rounding that to float32 can differ from
rounding the true value only if a float32 midpoint lies between the two: every number within
``_GUARD`` float64 units of a midpoint is therefore converted again through ``float``.
"""

from __future__ import annotations

import numpy as np

__all__ = ["parse_decimals"]

_U64 = np.uint64
_SPACE, _DOT, _MINUS, _ZERO = 32, 46, 45, 48
_MARGIN = 32  # bytes around the text, so that no word is read outside of it
_PADDING = b"0" * _MARGIN
_SIGNS = np.array([1.0, -1.0])
_GUARD = 16  # float64 units in the last place; the error bound is 4
_MAX_LENGTH = 24  # three words of eight characters
_EIGHT_ZEROS = _U64(0x3030303030303030)
_HIGH_HALVES = _U64(0xF0F0F0F0F0F0F0F0)
_FIRST_BYTES = np.array([(1 << (8 * k)) - 1 for k in range(9)], dtype=np.uint64)


def parse_decimals(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Convert numbers separated by spaces.

    Args:
        text: numbers with one or more spaces between them; must end with a space.

    Returns:
        ``values`` float32 [n], each equal to ``float32(float(number))`` (an infinity where that
        overflows), and ``ends`` int64 [n], the position in ``text`` just after each number.

    Raises:
        ValueError: something in the text is not a number.
    """
    padded = b"".join((_PADDING, text, _PADDING))
    chars = np.frombuffer(padded, dtype=np.uint8)
    ends = np.flatnonzero(chars == _SPACE)
    starts = np.empty_like(ends)
    starts[:1] = _MARGIN
    starts[1:] = ends[:-1] + 1
    filled = ends > starts
    if not filled.all():  # several spaces in a row, or spaces at the start
        starts, ends = starts[filled], ends[filled]
    if ends.size == 0:
        return np.empty(0, dtype=np.float32), ends

    values, odd = _plain_decimals(padded, chars, starts, ends)
    if odd.size > ends.size // 8:
        values = _by_float(text)
    else:
        with np.errstate(over="ignore"):
            for i in odd.tolist():
                values[i] = float(padded[starts[i] : ends[i]])
    return values, ends - _MARGIN


def _by_float(text: bytes) -> np.ndarray:
    with np.errstate(over="ignore"):
        # Split at spaces only: another blank inside a number is a fault of the file.
        return np.array([float(number) for number in text.split(b" ") if number], dtype=np.float32)


def _plain_decimals(
    padded: bytes, chars: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Convert ``[-]d.ddd`` and name the numbers (by index) that this could not convert surely."""
    negative = chars[starts] == _MINUS
    at = starts + negative
    length = ends - at
    odd = (length < 3) | (length > _MAX_LENGTH)
    words: np.ndarray = np.ndarray((chars.size - 7,), dtype="<u8", buffer=padded, strides=(1,))

    # "1.234567": the point is the second character; taken out, it leaves "01234567".
    word = _digits(words, at, length)
    odd |= (word & _U64(0xFF00)) != _U64(_DOT << 8)
    whole = word & _U64(0xFF)
    whole <<= _U64(8)
    word &= _U64(0xFFFFFFFFFFFF0000)
    word |= whole
    word |= _U64(_ZERO)
    mantissa = _digits_to_int(word, odd)
    longest = int(length.max())
    if longest <= 8:
        values = mantissa.astype(np.float64)
        values /= 1e6
    else:
        mantissa *= _U64(10**8)
        mantissa += _digits_to_int(_digits(words, at + 8, length - 8), odd)
        values = mantissa.astype(np.float64)
        values /= 1e14
        if longest > 16:
            values += _digits_to_int(_digits(words, at + 16, length - 16), odd) / 1e22

    # The 29 bits that float32 drops, compared with one half of its last place.
    dropped = values.view(np.uint64) & _U64((1 << 29) - 1)
    dropped -= _U64((1 << 28) - _GUARD)
    odd |= dropped <= _U64(2 * _GUARD)
    values *= _SIGNS[negative.view(np.uint8)]
    return values.astype(np.float32), np.flatnonzero(odd)


def _digits(words: np.ndarray, at: np.ndarray, n_digits: np.ndarray) -> np.ndarray:
    """Return the 8 bytes from each position, those after the first ``n_digits`` set to '0'."""
    word = words[at]
    keep = _FIRST_BYTES[np.clip(n_digits, 0, 8)]
    word &= keep
    np.bitwise_not(keep, out=keep)
    keep &= _EIGHT_ZEROS
    word |= keep
    return word


def _digits_to_int(word: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Turn 8 ASCII digits per word (the first in the lowest byte) into integers, in place.

    Neighbouring digits are joined to pairs, pairs to fours, fours to eights.  Where a byte is not
    a digit, ``odd`` is set and the result means nothing.
    """
    # A byte is a digit if its high half is 3 and stays 3 when 6 is added.
    other = word + _U64(0x0606060606060606)
    other &= _HIGH_HALVES
    other >>= _U64(4)
    other |= word & _HIGH_HALVES
    odd |= other != _U64(0x3333333333333333)
    word &= _U64(0x0F0F0F0F0F0F0F0F)
    np.right_shift(word, _U64(8), out=other)
    word *= _U64(10)
    word += other
    np.right_shift(word, _U64(16), out=other)
    word &= _U64(0x000000FF000000FF)
    word *= _U64(100 + (1000000 << 32))
    other &= _U64(0x000000FF000000FF)
    other *= _U64(1 + (10000 << 32))
    word += other
    word >>= _U64(32)
    return word
