"""Dates of many rows at once, where all are written in the one usual way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["iso_seconds", "mail_seconds", "us_seconds"]

_DAY = 86_400


def iso_seconds(cells: np.ndarray) -> np.ndarray | None:
    """Read ``2017-12-24`` or ``2017-12-24 18:30:05`` as seconds since 1970, taken as UTC.

    Args:
        cells: the bytes of the texts, uint8, shape ``(n, width)``.

    Returns:
        float64, shape ``(n,)``, as :func:`.source.seconds` of each; None where one is not written
        with these digits, or is no day.
    """
    width = cells.shape[1]
    if width not in (10, 19) or not _are(cells, "-", 4, 7):
        return None
    wanted = [(0, 4), (5, 7), (8, 10)]
    if width == 19:
        if not (_are(cells, " ", 10) and _are(cells, ":", 13, 16)):
            return None
        wanted += [(11, 13), (14, 16), (17, 19)]
    found = _parts(cells, wanted)
    if found is None:
        return None
    year, month, day, *clock = found
    if not ((year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)).all():
        return None
    first, after = _first_day(year, month), _first_day(year, month + 1)
    if (day > after - first).any():
        return None
    return _seconds(first + day - 1, clock)


def mail_seconds(cells: np.ndarray, months: Mapping[str, int]) -> np.ndarray | None:
    """Read ``Wed Mar 22 11:37:04 -0700 2017`` as seconds since 1970.

    As with :func:`calendar.timegm`, a day beyond its month's end counts on into the next.

    Args:
        cells: the bytes of the texts, uint8, shape ``(n, width)``.
        months: their short names, and their places from 1 on.

    Returns:
        float64, shape ``(n,)``; None where one is written otherwise.
    """
    n, width = cells.shape
    if width != 30 or not (_are(cells, " ", 3, 7, 10, 19, 25) and _are(cells, ":", 13, 16)):
        return None
    letters = cells[:, :3] | 0x20
    if not ((letters >= ord("a")) & (letters <= ord("z"))).all():
        return None
    month = np.zeros(n, dtype=np.int64)
    for name, place in months.items():
        code = np.frombuffer(name.encode(), dtype=np.uint8)
        if len(code) == 3:
            month[(cells[:, 4:7] == code).all(axis=1)] = place
    later = cells[:, 20] == ord("+")
    wanted = [(26, 30), (8, 10), (21, 23), (23, 25), (11, 13), (14, 16), (17, 19)]
    found = _parts(cells, wanted)
    if found is None:
        return None
    year, day, hours, minutes, *clock = found
    if not ((month >= 1) & (year >= 1) & (later | (cells[:, 20] == ord("-")))).all():
        return None
    shift = np.where(later, 60, -60) * (60 * hours + minutes)
    return _seconds(_first_day(year, month) + day - 1, clock) - shift


def us_seconds(codes: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """Read ``11/15/2019 8:55:22 AM`` as seconds since 1970, taken as UTC; month, day and hour have
    one digit or two, and the half of the day may be left out.

    As with :func:`calendar.timegm`, a day beyond its month's end counts on into the next.

    Args:
        codes: the bytes of a text, uint8.
        begins, ends: where in it the dates are, int64, shape ``(n,)``.

    Returns:
        float64, shape ``(n,)``; None where one is written otherwise.
    """  # fmt: skip
    if not len(begins) or int((ends - begins).min()) < len("1/1/2019 1:00:00"):
        return None

    def at(place: np.ndarray) -> np.ndarray:
        return codes[np.minimum(place, len(codes) - 1)]

    def digit(place: np.ndarray) -> np.ndarray:
        return (at(place) - np.uint8(ord("0"))).astype(np.int64)  # wraps below it

    def one_or_two(place: np.ndarray, mark: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a number, the place behind the mark that ends it, and whether they are there."""
        first, second, short = digit(place), digit(place + 1), at(place + 1) == ord(mark)
        long = (second <= 9) & (at(place + 2) == ord(mark))
        number = np.where(short, first, 10 * first + second)
        return number, place + np.where(short, 2, 3), (first <= 9) & (short | long)

    def digits(place: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        found = np.stack([digit(place + n) for n in range(size)])
        good: np.ndarray = np.asarray((found <= 9).all(axis=0))
        return 10 ** np.arange(size - 1, -1, -1) @ found, good

    month, place, good = one_or_two(begins, "/")
    day, place, also = one_or_two(place, "/")
    year, four = digits(place, 4)
    good &= also & four & (at(place + 4) == ord(" "))
    hour, place, also = one_or_two(place + 5, ":")
    (minute, two), (second, others) = digits(place, 2), digits(place + 3, 2)
    good &= also & two & others & (at(place + 2) == ord(":"))
    left = ends - place - 5  # " AM", " PM", or nothing
    late = (left == 3) & (at(place + 6) == ord("P"))
    half = (left == 3) & (at(place + 5) == ord(" ")) & (at(place + 7) == ord("M"))
    half &= (late | (at(place + 6) == ord("A"))) & (hour >= 1) & (hour <= 12)
    good &= half | (left == 0)
    good &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    if not good.all():
        return None
    hour = np.where(half, hour % 12 + 12 * late, hour)
    return _seconds(_first_day(year, month) + day - 1, [hour, minute, second])


def _are(cells: np.ndarray, character: str, *places: int) -> bool:
    return bool((cells[:, list(places)] == ord(character)).all())


def _parts(cells: np.ndarray, places: Sequence[tuple[int, int]]) -> list[np.ndarray] | None:
    """Return the numbers from some columns to others, int64; None where one is not of digits."""
    found = []
    for begin, end in places:
        digits = cells[:, begin:end] - np.uint8(ord("0"))  # wraps below it
        if (digits > 9).any():
            return None
        found.append(digits.astype(np.int64) @ (10 ** np.arange(end - begin - 1, -1, -1)))
    return found


def _first_day(year: np.ndarray, month: np.ndarray) -> np.ndarray:
    """Return the days from 1970 to a month's first."""
    months = (12 * (year - 1970) + month - 1).astype("datetime64[M]")
    return months.astype("datetime64[D]").astype(np.int64)


def _seconds(days: np.ndarray, clock: list[np.ndarray]) -> np.ndarray:
    total = _DAY * days
    for part, size in zip(clock, (3600, 60, 1)):
        total += size * part
    return total.astype(np.float64)
