"""Encode texts with a sentence-transformers model, from the Hugging Face hub or a local folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from recbole_darec.errors import EmbeddingError, MissingExtraError, OptionError, some

__all__ = ["encode_texts"]


def encode_texts(
    texts: Sequence[str],
    model: str,
    *,
    batch_size: int = 64,
    device: str | None = None,
    show_progress: bool = True,
) -> np.ndarray:
    """Encode each text into one row.

    Texts are put into batches by length, which moves a row by float32 rounding (about 1e-7 for
    normalised rows) and no more.  Whether rows are normalised is the model's own business
    (all-MiniLM-L6-v2 does it).  A text longer than the model's limit is cut there.

    Args:
        texts: n texts, none of them empty or only white space.
        model: a hub name (``sentence-transformers/all-MiniLM-L6-v2``) or a local folder.  With
            ``HF_HUB_OFFLINE=1`` a name is looked up in the local cache only.
        batch_size: texts per batch, at least 1.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …; by default a GPU where there is one.
        show_progress: show a progress bar over the batches.

    Returns:
        (n, d) float32, row k for ``texts[k]``.

    Raises:
        EmbeddingError: there is no text, one is empty, or the model does not give finite numbers.
        MissingExtraError: sentence-transformers is not installed.
        OptionError: the model cannot be loaded, the device cannot be used, or ``batch_size`` is
            below 1.
    """
    texts = _checked(texts)
    if batch_size < 1:
        raise OptionError(f"batch_size is {batch_size}: it must be at least 1")
    encoder = _load(model, device)
    rows = encoder.encode(
        texts, batch_size=batch_size, show_progress_bar=show_progress, convert_to_numpy=True
    )
    matrix = np.ascontiguousarray(rows, dtype=np.float32)
    if not np.isfinite(matrix).all():
        bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
        raise EmbeddingError(
            f"the encoder '{model}' gave NaN or Inf for text number {some(bad + 1)}: "
            "use another model or device"
        )
    return matrix


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


def _load(model: str, device: str | None) -> Any:
    """Load the model, or raise one line that says why it cannot be had."""
    if _looks_like_path(model) and not os.path.isdir(os.path.expanduser(model)):
        raise OptionError(
            f"the text encoder '{model}' is not a folder: give the folder of a saved "
            "sentence-transformers model, or a name such as "
            "'sentence-transformers/all-MiniLM-L6-v2'"
        )
    try:
        # Here and not at the top: the import takes seconds, and the package is optional.
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        if error.name != "sentence_transformers":
            raise
        raise MissingExtraError("sentence-transformers", "encoders") from None
    _check_device(device)
    try:
        return SentenceTransformer(os.path.expanduser(model), device=device)
    except Exception as error:  # hub, file and configuration errors share no base class
        raise OptionError(
            f"the text encoder '{model}' cannot be loaded ({_first_line(error)}): check the name "
            "and the network, or give the folder of a saved sentence-transformers model"
        ) from error


def _check_device(device: str | None) -> None:
    """Try the device before the model is loaded, so that the message blames the right one."""
    import torch

    try:
        torch.empty(1, device=device)
    except Exception as error:  # torch raises RuntimeError, AssertionError or ValueError here
        raise OptionError(
            f"the device '{device}' cannot be used ({_first_line(error)}): give 'cpu', 'cuda' or "
            "'cuda:N', or leave it out"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(". ") or type(error).__name__


def _looks_like_path(model: str) -> bool:
    """Tell a path from a hub name: 'owner/name' at most, so two slashes make it a path."""
    return model.startswith(("/", "./", "../", "~")) or "\\" in model or model.count("/") > 1
