"""Checkpoints: tensors and plain values, written whole or not at all.

Mended RecBole behaviour: its checkpoints pickle the configuration object, which
``torch.load(weights_only=True)``, the default since torch 2.6, refuses; they are written in place,
so that a killed run leaves half a file; and two runs of one second share one name.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_darec.data.files import keeping_ctrl_c
from recbole_darec.errors import CheckpointError, UserError, first_line

__all__ = [
    "FORMAT",
    "checkpoint_name",
    "from_plain",
    "load_checkpoint",
    "load_parameters",
    "parameters_of",
    "plain",
    "remove_unfinished",
    "save_checkpoint",
]

FORMAT = "recbole_darec/1"

# Marks a dictionary that stands for a NumPy array or a SciPy matrix: models that are solved and
# not trained (ItemKNN, EASE) keep such beside their parameters.
_KIND = "recbole_darec_kind"
_CSR_PARTS = ("data", "indices", "indptr")


def checkpoint_name(model: str, align: str, dataset: str) -> str:
    """Return a file name that no other run has: what was trained, when, and a random part."""
    what = "-".join([model, *([align] if align != "none" else []), dataset])
    return f"{what}-{time.strftime('%b-%d-%Y_%H-%M-%S')}-{secrets.token_hex(4)}.pth"


def plain(value: Any) -> Any:
    """Return ``value`` as tensors, numbers, text, lists and dicts of them.

    Raises:
        TypeError: it holds something else.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)  # NumPy's float64 is a float, and a pickled object all the same
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {str(k) if not isinstance(k, int) else k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if sp.issparse(value):
        rows = value.tocsr()
        parts = {name: torch.from_numpy(getattr(rows, name)) for name in _CSR_PARTS}
        return {_KIND: "sparse", "layout": value.format, "shape": list(rows.shape), **parts}
    if isinstance(value, np.matrix):  # EASE keeps one, and multiplies it with sparse rows
        return {_KIND: "matrix", "values": torch.from_numpy(np.asarray(value))}
    if isinstance(value, np.ndarray) and value.ndim:
        return {_KIND: "array", "values": torch.from_numpy(np.ascontiguousarray(value))}
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    raise TypeError(f"a checkpoint holds tensors and plain values, not {type(value).__name__}")


def from_plain(value: Any) -> Any:
    """Return what :func:`plain` was given, NumPy arrays and sparse matrices included."""
    if isinstance(value, list):
        return [from_plain(v) for v in value]
    if not isinstance(value, Mapping):
        return value
    kind = value.get(_KIND)
    if kind == "sparse":
        parts = tuple(value[name].cpu().numpy() for name in _CSR_PARTS)
        return sp.csr_matrix(parts, shape=tuple(value["shape"])).asformat(value["layout"])
    if kind is not None:
        array = value["values"].cpu().numpy()
        return np.asmatrix(array) if kind == "matrix" else array
    return {key: from_plain(v) for key, v in value.items()}


def save_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint under a temporary name, then rename it.

    Raises:
        UserError: the file cannot be written (no permission, disk full); nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            with keeping_ctrl_c():
                torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(
            f"cannot write the checkpoint '{path}': {reason}; set checkpoint_dir to a folder "
            "with room that can be written"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_unfinished(path: Path) -> None:
    """Remove what a process that was killed in :func:`save_checkpoint` left beside ``path``."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            left.unlink()


def load_checkpoint(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint, without running anything that it may hold.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint '{path}' does not exist")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        if "weights_only" in str(error).lower() or "Unsupported" in str(error):
            raise CheckpointError(
                f"checkpoint '{path}' holds objects, not only tensors and plain values (RecBole's "
                "own checkpoints do); it is not loaded: train again, or convert it with RecBole"
            ) from None
        raise CheckpointError(
            f"checkpoint '{path}' is damaged or cut off ({first_line(error)[:80]}); restore it "
            "or train again"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"'{path}' is not a checkpoint of recbole_darec ({FORMAT})")
    return content


def parameters_of(model: Any) -> dict[str, Any]:
    """Return what a checkpoint holds of a model: its tensors, and what it keeps beside them."""
    other = {
        # Scores kept for the next evaluation are a function of the parameters: computed anew.
        name: None if name.startswith("restore_") else plain(value)
        for name, value in model.other_parameter().items()
    }
    return {"state_dict": plain(model.state_dict()), "other_parameter": other}


def load_parameters(model: Any, content: Mapping[str, Any], path: Path) -> None:
    """Put a checkpoint's parameters into ``model``.

    Args:
        model: the model that is to have them.
        content: what the file holds.
        path: the file, for messages.

    Raises:
        CheckpointError: names or shapes differ.
    """
    try:
        model.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise CheckpointError(
            f"checkpoint '{path}' does not fit this model: {' '.join(lines[1:2] or lines)[:160]}; "
            "use the options that it was trained with"
        ) from None
    model.load_other_parameter(from_plain(content["other_parameter"]))
