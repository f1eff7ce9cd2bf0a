"""Each text is encoded once, in batches that depend on the set of texts alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from logging import getLogger

from recbole_darec.encoders.base import Encoder
from recbole_darec.encoders.vector_cache import Vectors

__all__ = ["encode_distinct", "make_batches"]


def encode_distinct(
    texts: Sequence[str],
    encoder: Encoder,
    vectors: Vectors,
    *,
    show_progress: bool | None = None,
) -> int:
    """Encode those of ``texts`` that have no row in ``vectors``, each once, and keep them there.

    One warning counts the texts that were longer than the encoder reads.

    Returns:
        How many were encoded.
    """
    from tqdm import tqdm

    missing = vectors.missing(texts)
    if not missing:
        return 0
    batches = make_batches(missing, encoder.batch_size, encoder.batch_characters)
    long = 0
    bar = tqdm(
        total=len(missing),
        desc="texts",
        unit="text",
        file=sys.stderr,
        disable=None if show_progress is None else not show_progress,
        leave=False,
    )
    with bar, closing(encoder.encode_batches(batches)) as done:
        for number, encoded in done:
            vectors.keep(batches[number], encoded)
            long += int((encoded.pieces > 1).sum())
            bar.update(len(batches[number]))
    if long:
        getLogger().warning(
            f"{long:,} of {len(missing):,} texts are longer than {encoder.name} reads at once: "
            "each was split, and its row is the mean of its pieces' rows, weighted by their length"
        )
    return len(missing)


def make_batches(texts: Sequence[str], size: int, characters: int | None = None) -> list[list[str]]:
    """Put texts of like length together, the longest first, so that little is padded.

    The batches depend on the set of texts alone, not on their order, nor on who encodes them.

    Args:
        texts: different texts.
        size: texts a batch.
        characters: that a batch has at most, unless it is one text; None for any number.
    """
    batches: list[list[str]] = []
    held = 0
    for text in sorted(texts, key=lambda text: (-len(text), text)):
        full = not batches or len(batches[-1]) == size
        if full or (characters is not None and held + len(text) > characters):
            batches.append([])
            held = 0
        batches[-1].append(text)
        held += len(text)
    return batches
