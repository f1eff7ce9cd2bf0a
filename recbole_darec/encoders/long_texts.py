"""Texts longer than an encoder reads: split into pieces of nearly equal length, then averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recbole_darec.encoders.base import Encoded

__all__ = ["Count", "Pieces", "cut", "pool", "split_long"]

Count = Callable[[Sequence[str]], "list[int]"]
"""From texts to their numbers of tokens, those not counted that the encoder itself adds."""

_UNIT = 1e-3  # how far a row's length may be from 1 to count as normalised
_SPACE_WITHIN = 4  # a cut looks for white space in this part of a piece around the even cut


class Pieces:
    """Some texts as the pieces that are encoded in their stead.

    Attributes:
        texts: all pieces, those of one text side by side.
        tokens: (len(texts),) the tokens of each piece.
        counts: (n,) how many pieces each of the n texts has.
    """

    def __init__(self, texts: Sequence[str], tokens: Sequence[int], counts: Sequence[int]) -> None:
        self.texts = list(texts)
        self.tokens = np.asarray(tokens, dtype=np.int64)
        self.counts = np.asarray(counts, dtype=np.int64)


def split_long(texts: Sequence[str], limit: int, count: Count) -> Pieces:
    """Split the texts of more than ``limit`` tokens; nothing of a text is left out.

    Pieces of one text are of nearly the same length: a short last piece would have a row of its
    own kind in the average.

    Args:
        texts: n texts.
        limit: tokens that a piece may have, at least 1.
        count: counts tokens.
    """
    tokens = count(texts)
    pieces: list[str] = []
    weights: list[int] = []
    counts = []
    for text, size in zip(texts, tokens):
        if size <= limit:
            parts, sizes = [text], [size]
        else:
            parts, sizes = _split(text, size, limit, count)
        pieces += parts
        weights += sizes
        counts.append(len(parts))
    return Pieces(pieces, weights, counts)


def _split(text: str, size: int, limit: int, count: Count) -> tuple[list[str], list[int]]:
    """Split one text of ``size`` tokens until each piece has at most ``limit``."""
    pieces: list[str] = []
    sizes: list[int] = []
    todo = [(text, size)]
    while todo:
        part, tokens = todo.pop()
        parts = cut(part, -(-tokens // limit)) if tokens > limit else [part]
        if parts == [part]:  # short enough, or a single character, which only the encoder can cut
            pieces.append(part)
            sizes.append(tokens)
        else:
            todo += reversed(list(zip(parts, count(parts))))
    return pieces, sizes


def cut(text: str, n: int) -> list[str]:
    """Cut a text into ``n`` parts of nearly equal length, at white space where there is some near.

    Fewer parts come back where the text has not so many characters besides white space.
    """
    parts, start = [], 0
    even = len(text) / n
    for k in range(1, n):
        middle = round(k * even)
        reach = max(int(even / _SPACE_WITHIN), 0)
        at = _nearest_space(text, middle, max(start + 1, middle - reach), middle + reach)
        if at > start:
            parts.append(text[start:at])
            start = at
    parts.append(text[start:])
    return [part for part in (part.strip() for part in parts) if part] or [text]


def _nearest_space(text: str, middle: int, low: int, high: int) -> int:
    for away in range(high - middle + 1):
        for at in (middle - away, middle + away):
            if low <= at <= high and at < len(text) and text[at].isspace():
                return at
    return min(middle, len(text))


def pool(rows: np.ndarray, pieces: Pieces) -> Encoded:
    """Average the rows of each text's pieces, weighted by their tokens.

    Where every piece's row has length 1, the encoder normalises, and so is the average.

    Args:
        rows: (number of pieces, d) float32.
        pieces: which piece belongs to which text.
    """
    ends = np.cumsum(pieces.counts)
    if len(rows) == len(ends):
        return Encoded(rows, pieces.counts)
    starts = ends - pieces.counts
    pooled = rows[starts].copy()
    for k in np.flatnonzero(pieces.counts > 1):
        part = slice(starts[k], ends[k])
        weights = np.maximum(pieces.tokens[part], 1).astype(np.float64)
        own = rows[part].astype(np.float64)
        mean = weights @ own / weights.sum()
        length = np.linalg.norm(mean)
        if length > 0 and np.abs(np.linalg.norm(own, axis=1) - 1).max() < _UNIT:
            mean /= length
        pooled[k] = mean
    return Encoded(pooled, pieces.counts)
