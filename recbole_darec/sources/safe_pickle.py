"""Read arrays, sparse matrices and plain values from a pickle without running anything in it.

A pickle is a program: it may name any importable function and call it.  Restricting
``pickle.Unpickler.find_class`` to NumPy's and SciPy's constructors would still *call* them with
arguments and state that the file's author chose, write attributes with ``BUILD``, take extensions
from a cache that ``find_class`` never sees, hash keys of any nesting and grow the memo to any index
that the file names.  So nothing is called here at all.  The opcodes, parsed by the standard
library's :func:`pickletools.genops`, are interpreted on a stack that only ever holds plain values
and inert records; a global is a token, known by its exact name or refused by it.  Arrays are made
at the end from a checked dtype, a checked shape and a buffer whose length must fit both.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import scipy.sparse

from recbole_darec.errors import DataError

__all__ = ["load_pickle", "loads_pickle"]

_MAX_DEPTH = 16  # of lists and dicts within each other; a profile store needs 2
_MAX_INDEX = 2**31 - 1  # rows or columns of a sparse matrix

_NUMPY_CORES = ("numpy.core", "numpy._core")
_SPARSE_KINDS = tuple(f"{f}_{form}" for f in ("coo", "csr", "csc") for form in ("matrix", "array"))

# Exact (module, name) -> what the token stands for.  Both spellings of each moved module are known.
_ALLOWED: dict[tuple[str, str], str] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    **{(f"{core}.multiarray", "_reconstruct"): "reconstruct" for core in _NUMPY_CORES},
    **{(f"{core}.multiarray", "scalar"): "scalar" for core in _NUMPY_CORES},
    **{(f"{core}.numeric", "_frombuffer"): "frombuffer" for core in _NUMPY_CORES},
    # Protocols 0 to 2 have no opcode for bytes and spell them as a call of one of these.
    ("_codecs", "encode"): "encode",
    ("builtins", "bytes"): "bytes",
    ("__builtin__", "bytes"): "bytes",
    **{
        (f"scipy.sparse.{private}{kind[:3]}", kind): kind
        for kind in _SPARSE_KINDS
        for private in ("", "_")
    },
}

_NUMERIC = re.compile(r"b1|[iu][1248]|f[248]")

_VALUES = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BYTEARRAY8",
    ]
)
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}


class _Damaged(Exception):
    """The stream is no pickle of the supported values."""


@dataclass(frozen=True)
class _Global:
    kind: str


@dataclass
class _Dtype:
    code: str
    order: str = "="

    def build(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=")):
            raise _Damaged("a dtype with a malformed state")
        if any(part is not None for part in state[2:5]):
            raise _Damaged("a dtype with fields or subarrays, where only plain numbers are read")
        self.order = state[1]

    def make(self) -> np.dtype:
        if not _NUMERIC.fullmatch(self.code):
            raise _Damaged(
                f"an array of dtype {_printable(self.code)}, where only plain numbers are read"
            )
        return np.dtype(self.order + self.code)


@dataclass
class _Array:
    shape: object = None
    dtype: object = None
    fortran: bool = False
    raw: object = None

    def build(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) in (4, 5)):
            raise _Damaged("an array with a malformed state")
        self.shape, self.dtype, fortran, self.raw = state[-4:]
        self.fortran = fortran is True or fortran == 1

    def make(self) -> np.ndarray:
        raw = self.raw.encode("latin-1") if isinstance(self.raw, str) else self.raw
        if not (isinstance(raw, (bytes, bytearray)) and isinstance(self.dtype, _Dtype)):
            raise _Damaged("an array without data")
        shape, dtype = _shape(self.shape), self.dtype.make()
        size = math.prod(shape)
        if size * dtype.itemsize != len(raw):
            raise _Damaged(f"an array of shape {shape} with {len(raw)} bytes of data")
        if dtype.kind == "b":  # a bool holding another byte than 0 or 1 is undefined behaviour
            flags = np.frombuffer(raw, np.uint8) if size else np.empty(0, np.uint8)
            return (flags != 0).reshape(shape, order="F" if self.fortran else "C")
        if not size:
            return np.empty(shape, dtype.newbyteorder("="))
        array = np.frombuffer(raw, dtype).reshape(shape, order="F" if self.fortran else "C")
        return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


@dataclass
class _Sparse:
    kind: str
    state: dict = field(default_factory=dict)

    def build(self, state: object) -> None:
        if not isinstance(state, dict):
            raise _Damaged(f"a {self.kind} with a malformed state")
        self.state = state

    def make(self) -> object:
        state = self.state
        shape = _shape(state.get("_shape", state.get("shape")))
        if len(shape) != 2 or max(shape) > _MAX_INDEX:
            raise _Damaged(f"a {self.kind} of shape {shape}")
        data = self._vector("data", state.get("data"))
        if data.dtype == np.float16:  # SciPy's sparse kernels have no half precision
            data = data.astype(np.float32)
        maker = getattr(scipy.sparse, self.kind)
        if self.kind.startswith("coo"):
            coords = state.get("coords", (state.get("row"), state.get("col")))
            if not (isinstance(coords, tuple) and len(coords) == 2):
                raise _Damaged(f"a {self.kind} without two coordinates")
            row = self._index("row", coords[0], len(data), shape[0])
            col = self._index("col", coords[1], len(data), shape[1])
            return maker((data, (row, col)), shape=shape)
        major, minor = shape if self.kind.startswith("csr") else shape[::-1]
        indices = self._index("indices", state.get("indices"), len(data), minor)
        # SciPy's compiled loops trust these pointers: they must never leave the arrays.
        indptr = self._index("indptr", state.get("indptr"), major + 1, len(data) + 1)
        if indptr[0] != 0 or indptr[-1] != len(data) or (np.diff(indptr) < 0).any():
            raise _Damaged(f"a {self.kind} whose row pointers are out of order")
        return maker((data, indices, indptr), shape=shape)

    def _vector(self, name: str, value: object) -> np.ndarray:
        if not isinstance(value, _Array):
            raise _Damaged(f"a {self.kind} without its '{name}' array")
        array = value.make()
        if array.ndim != 1:
            raise _Damaged(f"a {self.kind} whose '{name}' has {array.ndim} dimensions")
        return array

    def _index(self, name: str, value: object, length: int, bound: int) -> np.ndarray:
        array = self._vector(name, value)
        if array.dtype.kind not in "iu" or len(array) != length:
            raise _Damaged(f"a {self.kind} whose '{name}' does not fit its data")
        if length and (array.min() < 0 or array.max() >= bound):
            raise _Damaged(f"a {self.kind} whose '{name}' leaves its shape")
        return array.astype(np.int32 if bound <= _MAX_INDEX else np.int64)


def _shape(value: object) -> tuple[int, ...]:
    if not (isinstance(value, tuple) and all(type(n) is int and 0 <= n < 2**63 for n in value)):
        raise _Damaged("an array with a malformed shape")
    return value


def _printable(text: object) -> str:
    """Show a hostile name on one line, without control characters, cut to 80 characters."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[:200])
    return shown if len(shown) <= 80 else shown[:79] + "…"


class _Machine:
    """The stack machine of one pickle; ``name`` is the file's name in error messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, object] = {}

    def run(self, stream: Any) -> object:
        for opcode, arg, _ in pickletools.genops(stream):
            name = opcode.name
            if name in _VALUES:
                self.stack.append(arg)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name == "STOP":
                if len(self.stack) != 1 or self.marks:
                    raise _Damaged("an unbalanced stack")
                return self.stack.pop()
            else:
                step = _STEPS.get(name)
                if step is None:
                    self.refuse_opcode(name, arg)
                step(self, arg)
        raise _Damaged("no end")

    # -- refusals ---------------------------------------------------------------------------

    def refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"{self.name} asks for {what}, which is not a NumPy or SciPy array constructor; "
            "refused: nothing of it was run. If you trust where it comes from, save its data as "
            ".npy and CSV and use 'recbole-darec import table'"
        )

    def refuse_opcode(self, name: str, arg: object) -> NoReturn:
        if name == "INST":
            self.refuse(_printable(".".join(str(arg).split(" ", 1))))
        if name.startswith("EXT"):
            self.refuse(f"the registered extension {_printable(arg)} (opcode {name})")
        if "PERSID" in name:
            shown = "" if arg is None else f" {_printable(arg)}"
            self.refuse(f"the persistent object{shown} (opcode {name})")
        self.refuse(f"the opcode {name}")

    # -- stack ------------------------------------------------------------------------------

    def items(self) -> list[Any]:
        """Pop everything above the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def mark(self, _: object) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop(self, _: object) -> None:
        # POP right after a MARK removes the mark
        if self.stack:
            self.stack.pop()
        else:
            self.items()

    def pop_mark(self, _: object) -> None:
        self.items()

    def ignore(self, _: object) -> None:
        """Frames and the protocol number carry nothing that is needed here."""

    def put(self, index: object) -> None:
        self.memo[len(self.memo) if index is None else int(str(index))] = self.stack[-1]

    def get(self, index: object) -> None:
        self.stack.append(self.memo[int(str(index))])

    # -- containers -------------------------------------------------------------------------

    def tuple_of(self, count: int | None) -> None:
        if count is None:
            items = self.items()
        else:
            if len(self.stack) < count:
                raise _Damaged("an empty stack")
            items = self.stack[-count:]
            del self.stack[-count:]
        self.stack.append(tuple(items))

    def list_of(self, _: object) -> None:
        items = self.items()
        self.stack.append(items)

    def append(self, _: object) -> None:
        self.extend_top([self.stack.pop()])

    def appends(self, _: object) -> None:
        self.extend_top(self.items())

    def extend_top(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise _Damaged("an append to something that is no list")
        self.stack[-1].extend(items)

    def dict_of(self, _: object) -> None:
        items = self.items()
        self.stack.append({})
        self.update_top(items)

    def set_item(self, _: object) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.update_top([key, value])

    def set_items(self, _: object) -> None:
        self.update_top(self.items())

    def update_top(self, items: list[Any]) -> None:
        top = self.stack[-1]
        if type(top) is not dict or len(items) % 2:
            raise _Damaged("an item set on something that is no dict")
        for key, value in zip(items[::2], items[1::2]):
            # Nested tuples take exponential time to hash, integers beyond 64 bits collide at will.
            if type(key) is not str and not (type(key) is int and -(2**63) <= key < 2**63):
                raise _Damaged(f"a dict key of type {type(key).__name__}")
            top[key] = value

    # -- globals and objects ----------------------------------------------------------------

    def global_(self, arg: object) -> None:
        module, _, name = str(arg).partition(" ")
        self.push_global(module, name)

    def stack_global(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(module) is not str or type(name) is not str:
            raise _Damaged("a global whose name is no text")
        self.push_global(module, name)

    def push_global(self, module: str, name: str) -> None:
        kind = _ALLOWED.get((module, name))
        if kind is None:
            self.refuse(_printable(f"{module}.{name}"))
        self.stack.append(_Global(kind))

    def call(self, _: object) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if not (isinstance(function, _Global) and isinstance(args, tuple)):
            raise _Damaged("a call of something that is no known constructor")
        self.stack.append(self.reduce(function.kind, args))

    def reduce(self, kind: str, args: tuple[Any, ...]) -> object:
        if kind == "reconstruct" and args and args[0] == _Global("ndarray"):
            return _Array()
        if kind == "dtype" and args and isinstance(args[0], str):
            return _Dtype(args[0])
        if kind == "scalar" and len(args) == 2:
            return _Array((), args[0], False, args[1]).make().item()
        if kind == "frombuffer" and len(args) == 4 and args[3] in ("C", "F"):
            buffer, dtype, shape, order = args
            return _Array(shape, dtype, order == "F", buffer)
        if kind == "encode" and len(args) == 2 and args[1] in ("latin1", "latin-1"):
            return str(args[0]).encode("latin-1")
        if kind == "bytes" and not args:
            return b""
        raise _Damaged(f"a call of {kind} that NumPy and SciPy never write")

    def new_object(self, _: object) -> None:
        args, cls = self.stack.pop(), self.stack.pop()
        if not (isinstance(cls, _Global) and cls.kind in _SPARSE_KINDS and args == ()):
            raise _Damaged("a new object of something that is no sparse matrix")
        self.stack.append(_Sparse(cls.kind))

    def build(self, _: object) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, (_Dtype, _Array, _Sparse)):
            raise _Damaged("a state for something that is no array")
        target.build(state)


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.ignore,
    "FRAME": _Machine.ignore,
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE": lambda m, _: m.tuple_of(None),
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "LIST": _Machine.list_of,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "DICT": _Machine.dict_of,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new_object,
    "BUILD": _Machine.build,
}


def _finish(value: object, seen: dict[int, object], depth: int = 0) -> object:
    """Turn records into arrays.  ``seen`` keeps shared parts shared, so that time stays linear."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if id(value) in seen:
        return seen[id(value)]
    if depth > _MAX_DEPTH:
        raise _Damaged(f"values nested more than {_MAX_DEPTH} deep")
    result: object
    if isinstance(value, (_Array, _Sparse)):
        result = value.make()
    elif isinstance(value, (list, tuple)):
        result = [_finish(item, seen, depth + 1) for item in value]
    elif isinstance(value, dict):
        result = {key: _finish(item, seen, depth + 1) for key, item in value.items()}
    else:
        raise _Damaged("a bare constructor or dtype where data should be")
    seen[id(value)] = result
    return result


def _read(stream: BinaryIO | mmap.mmap, name: str) -> object:
    try:
        return _finish(_Machine(name).run(stream), {})
    except _Damaged as error:
        raise DataError(f"{name} cannot be read as an array or matrix: it holds {error}") from None
    except (
        ArithmeticError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        reason = _printable(error) or type(error).__name__
        raise DataError(f"{name} is cut short or is no pickle ({reason}): fetch it again") from None


def loads_pickle(data: bytes, name: str) -> object:
    """Like :func:`load_pickle`, from the bytes of a file called ``name`` in error messages."""
    if not data:
        raise DataError(f"{name} is empty: fetch it again")
    return _read(io.BytesIO(data), name)


def load_pickle(path: str | os.PathLike[str]) -> object:
    """Read the pickle at ``path`` without running anything that it asks for.

    Returns:
        A numeric ``numpy.ndarray`` (read-only, a view of the bytes read), a SciPy ``coo``, ``csr``
        or ``csc`` matrix or array, or lists and dicts (keys: text or integers) of these and of
        plain text and numbers.  Tuples come as lists, NumPy scalars as Python numbers.

    Raises:
        DataError: the file is missing, cut short, asks for anything but the constructors of
            those values (named in the message), or contradicts itself (a shape that does not fit
            its data, an index outside its matrix).
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise DataError(f"{path} is empty: fetch it again")
            # A map, so that a declared length beyond the file's end allocates nothing.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
                return _read(stream, str(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
