"""Constructors of RecBole's models: the files that they read, and what they raise.

``NeuMF``, ``NAIS``, ``ConvNCF`` and ``RaCT`` read what ``pretrain_path`` and its like name with
``torch.load``, which unpickles before torch 2.6; ``LDiffRec`` reads the ``item_emb.npy`` of a data
set with ``allow_pickle``.  ``GRU4RecCPR`` and ``SASRecCPR`` end the process with exit code 0 where
the loss is none of theirs.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from recbole_darec.errors import DataError, first_line

__all__ = ["plain_files", "raised_in_a_model"]


@contextmanager
def plain_files(model: str) -> Iterator[None]:
    """Read files of tensors and numbers alone, while one of RecBole's models is made.

    Args:
        model: its name, for the message.

    Raises:
        DataError: a file holds more than tensors.
    """
    of_torch, of_numpy = torch.load, np.load

    def load_tensors(*args: Any, **kwargs: Any) -> Any:
        return of_torch(*args, **{**kwargs, "weights_only": True})

    def load_numbers(*args: Any, **kwargs: Any) -> Any:
        try:
            return of_numpy(*args, **{**kwargs, "allow_pickle": False})
        except ValueError as error:
            if "pickle" not in str(error):
                raise
            raise pickle.UnpicklingError(str(error)) from error

    torch.load, np.load = load_tensors, load_numbers  # type: ignore[assignment]
    try:
        yield
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{model} reads a file that holds more than tensors, which could run code: give one of "
            f"tensors alone ({first_line(error)[:120]})"
        ) from error
    finally:
        torch.load, np.load = of_torch, of_numpy


def raised_in_a_model(error: BaseException) -> bool:
    """Tell whether an error went through the code of one of RecBole's models."""
    frames = traceback.walk_tb(error.__traceback__)
    names = [str(frame.f_globals.get("__name__")) for frame, _ in frames]
    return any(name.startswith("recbole.model.") and "_recommender." in name for name in names)
