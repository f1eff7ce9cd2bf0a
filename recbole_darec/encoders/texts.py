"""Texts to rows in one call, with a sentence-transformers model and no data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recbole_darec.encoders.distinct import encode_distinct
from recbole_darec.encoders.sentence_transformers_encoder import SentenceTransformersEncoder
from recbole_darec.encoders.sentence_transformers_model import BATCH_SIZE
from recbole_darec.encoders.vector_cache import VectorsInMemory
from recbole_darec.errors import EmbeddingError, some

__all__ = ["encode_texts"]


def encode_texts(
    texts: Sequence[str],
    model: str,
    *,
    batch_size: int = BATCH_SIZE,
    device: str | None = None,
    show_progress: bool = True,
) -> np.ndarray:
    """Encode each text into one row.

    Texts are put into batches by length, which moves a row by float32 rounding (about 1e-7 for
    normalised rows) and no more; a text that stands there twice is encoded once.  Whether rows are
    normalised is the model's own business (all-MiniLM-L6-v2 does it).  A text longer than the
    model's limit is split, and its row is the mean of the pieces' rows; a warning counts these.

    Args:
        texts: n texts, none of them empty or only white space.
        model: a hub name (``sentence-transformers/all-MiniLM-L6-v2``) or a local folder.  With
            ``HF_HUB_OFFLINE=1`` a name is looked up in the local cache only.
        batch_size: texts per batch, at least 1.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …; by default a GPU where there is one.
        show_progress: show a progress bar over the texts.

    Returns:
        (n, d) float32, row k for ``texts[k]``.

    Raises:
        EmbeddingError: there is no text, one is empty, or the model does not give finite numbers.
        MissingExtraError: sentence-transformers is not installed.
        OptionError: the model cannot be loaded, the device cannot be used, or ``batch_size`` is
            below 1.
    """
    texts = _checked(texts)
    encoder = SentenceTransformersEncoder(
        model, batch_size=batch_size, devices=[device] if device else []
    )
    vectors = VectorsInMemory()
    encode_distinct(texts, encoder, vectors, show_progress=show_progress)
    return vectors.matrix(texts, np.dtype(np.float32))


def _checked(texts: Sequence[str]) -> list[str]:
    """Return the texts as a list, or say which of them cannot be encoded."""
    if isinstance(texts, str):
        raise EmbeddingError("encode_texts takes a sequence of texts, not one string: pass [text]")
    texts = list(texts)
    if not texts:
        raise EmbeddingError("there are no texts to encode")
    bad = [n for n, text in enumerate(texts, 1) if not isinstance(text, str) or not text.strip()]
    if bad:
        raise EmbeddingError(
            f"{len(bad)} of {len(texts)} texts are empty or not text (number {some(bad)}): "
            "write a profile for them, or leave them out"
        )
    return texts
