"""What a pickle says about an array, a dtype or a sparse matrix, checked before it is made.

The records only take down what the file says (``build``); ``make`` is called once the whole file
has been read.  An array is made from a checked dtype, a checked shape and a buffer whose length
must fit both; a sparse matrix from arrays whose every index lies within its shape.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse

__all__ = ["SPARSE_KINDS", "Array", "Damaged", "Dtype", "Sparse", "finished", "printable"]

SPARSE_KINDS = tuple(f"{f}_{form}" for f in ("coo", "csr", "csc") for form in ("matrix", "array"))

_MAX_DEPTH = 16  # of lists and dicts within each other; a profile store needs 2
_MAX_INDEX = 2**31 - 1  # rows or columns of a sparse matrix
_NUMERIC = re.compile(r"b1|[iu][1248]|f[248]")


class Damaged(Exception):
    """The stream is no pickle of the supported values."""


@dataclass
class Dtype:
    code: str
    order: str = "="

    def build(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=")):
            raise Damaged("a dtype with a malformed state")
        if any(part is not None for part in state[2:5]):
            raise Damaged("a dtype with fields or subarrays, where only plain numbers are read")
        self.order = state[1]

    def make(self) -> np.dtype:
        if not _NUMERIC.fullmatch(self.code):
            raise Damaged(
                f"an array of dtype {printable(self.code)}, where only plain numbers are read"
            )
        return np.dtype(self.order + self.code)


@dataclass
class Array:
    shape: object = None
    dtype: object = None
    fortran: bool = False
    raw: object = None

    def build(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) in (4, 5)):
            raise Damaged("an array with a malformed state")
        self.shape, self.dtype, fortran, self.raw = state[-4:]
        self.fortran = fortran is True or fortran == 1

    def make(self) -> np.ndarray:
        raw = self.raw.encode("latin-1") if isinstance(self.raw, str) else self.raw
        if not (isinstance(raw, (bytes, bytearray)) and isinstance(self.dtype, Dtype)):
            raise Damaged("an array without data")
        shape, dtype = _shape(self.shape), self.dtype.make()
        size = math.prod(shape)
        if size * dtype.itemsize != len(raw):
            raise Damaged(f"an array of shape {shape} with {len(raw)} bytes of data")
        if dtype.kind == "b":  # a bool holding another byte than 0 or 1 is undefined behaviour
            flags = np.frombuffer(raw, np.uint8) if size else np.empty(0, np.uint8)
            return (flags != 0).reshape(shape, order="F" if self.fortran else "C")
        if not size:
            return np.empty(shape, dtype.newbyteorder("="))
        array = np.frombuffer(raw, dtype).reshape(shape, order="F" if self.fortran else "C")
        return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


@dataclass
class Sparse:
    kind: str
    state: dict = field(default_factory=dict)

    def build(self, state: object) -> None:
        if not isinstance(state, dict):
            raise Damaged(f"a {self.kind} with a malformed state")
        self.state = state

    def make(self) -> object:
        state = self.state
        shape = _shape(state.get("_shape", state.get("shape")))
        if len(shape) != 2 or max(shape) > _MAX_INDEX:
            raise Damaged(f"a {self.kind} of shape {shape}")
        data = self._vector("data", state.get("data"))
        if data.dtype == np.float16:  # SciPy's sparse kernels have no half precision
            data = data.astype(np.float32)
        maker = getattr(scipy.sparse, self.kind)
        if self.kind.startswith("coo"):
            coords = state.get("coords", (state.get("row"), state.get("col")))
            if not (isinstance(coords, tuple) and len(coords) == 2):
                raise Damaged(f"a {self.kind} without two coordinates")
            row = self._index("row", coords[0], len(data), shape[0])
            col = self._index("col", coords[1], len(data), shape[1])
            return maker((data, (row, col)), shape=shape)
        major, minor = shape if self.kind.startswith("csr") else shape[::-1]
        indices = self._index("indices", state.get("indices"), len(data), minor)
        # SciPy's compiled loops trust these pointers: they must never leave the arrays.
        indptr = self._index("indptr", state.get("indptr"), major + 1, len(data) + 1)
        if indptr[0] != 0 or indptr[-1] != len(data) or (np.diff(indptr) < 0).any():
            raise Damaged(f"a {self.kind} whose row pointers are out of order")
        return maker((data, indices, indptr), shape=shape)

    def _vector(self, name: str, value: object) -> np.ndarray:
        if not isinstance(value, Array):
            raise Damaged(f"a {self.kind} without its '{name}' array")
        array = value.make()
        if array.ndim != 1:
            raise Damaged(f"a {self.kind} whose '{name}' has {array.ndim} dimensions")
        return array

    def _index(self, name: str, value: object, length: int, bound: int) -> np.ndarray:
        array = self._vector(name, value)
        if array.dtype.kind not in "iu" or len(array) != length:
            raise Damaged(f"a {self.kind} whose '{name}' does not fit its data")
        if length and (array.min() < 0 or array.max() >= bound):
            raise Damaged(f"a {self.kind} whose '{name}' leaves its shape")
        return array.astype(np.int32 if bound <= _MAX_INDEX else np.int64)


def _shape(value: object) -> tuple[int, ...]:
    if not (isinstance(value, tuple) and all(type(n) is int and 0 <= n < 2**63 for n in value)):
        raise Damaged("an array with a malformed shape")
    return value


def finished(value: object, seen: dict[int, object], depth: int = 0) -> object:
    """Turn the records within lists and dicts into arrays.

    ``seen`` keeps shared parts shared, so that time stays linear.

    Raises:
        Damaged: a record contradicts itself, or the values are nested without end.
    """
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if id(value) in seen:
        return seen[id(value)]
    if depth > _MAX_DEPTH:
        raise Damaged(f"values nested more than {_MAX_DEPTH} deep")
    result: object
    if isinstance(value, (Array, Sparse)):
        result = value.make()
    elif isinstance(value, (list, tuple)):
        result = [finished(item, seen, depth + 1) for item in value]
    elif isinstance(value, dict):
        result = {key: finished(item, seen, depth + 1) for key, item in value.items()}
    else:
        raise Damaged("a bare constructor or dtype where data should be")
    seen[id(value)] = result
    return result


def printable(text: object) -> str:
    """Show a hostile name on one line, without control characters, cut to 80 characters."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[:200])
    return shown if len(shown) <= 80 else shown[:79] + "…"
