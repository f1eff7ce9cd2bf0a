"""Read arrays, sparse matrices and plain values from a pickle without running anything in it.

A pickle is a program: it may name any importable function and call it.  Restricting
``pickle.Unpickler.find_class`` to NumPy's and SciPy's constructors would still *call* them with
arguments and state that the file's author chose, write attributes with ``BUILD``, take extensions
from a cache that ``find_class`` never sees, hash keys of any nesting and grow the memo to any index
that the file names.  So nothing is called here at all.  The standard library's unpickler in pure
Python does the reading, with a table of steps cut down to those that make plain values; the steps
that would call, name or change something are replaced or refused.  Its stack only ever holds plain
values and inert records; a global is a token, known by its exact name or refused by it.  Arrays are
made at the end (:mod:`~recbole_darec.sources.pickled_arrays`).
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn

from recbole_darec.errors import DataError
from recbole_darec.sources.pickled_arrays import (
    SPARSE_KINDS,
    Array,
    Damaged,
    Dtype,
    Sparse,
    finished,
    printable,
)

__all__ = ["load_pickle", "loads_pickle"]

_NUMPY_CORES = ("numpy.core", "numpy._core")
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
        for kind in SPARSE_KINDS
        for private in ("", "_")
    },
}

# The standard library's steps that are kept.  They make, move and remember plain values, or ask
# find_class, get_extension and persistent_load, which are replaced.
_KEPT = """
    PROTO FRAME MARK POP POP_MARK PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST EMPTY_DICT
    GLOBAL STACK_GLOBAL EXT1 EXT2 EXT4 PERSID BINPERSID
"""
_Standard: Any = pickle._Unpickler  # its steps have no types


@dataclass(frozen=True)
class _Global:
    kind: str


class _Whole:
    """A stream that yields as much as it is asked for, or ends the reading."""

    def __init__(self, stream: BinaryIO | mmap.mmap) -> None:
        self.stream = stream

    def read(self, count: int) -> bytes:
        found = self.stream.read(count)  # reserves no more than what is there
        if len(found) < count:
            raise EOFError(f"{count - len(found):,} bytes are missing at its end")
        return found

    def readline(self) -> bytes:
        line = self.stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError("a line without an end")
        return line


class _Unpickler(_Standard):
    """The standard library's, less all that could run; ``name`` is the file's in messages."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code: _Standard.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in _KEPT.split())
    }
    stack: list[Any]
    metastack: list[list[Any]]

    def __init__(self, stream: BinaryIO | mmap.mmap, name: str) -> None:
        # Python 2 wrote an array's bytes as text, which Latin-1 keeps as they are.
        super().__init__(_Whole(stream), encoding="latin-1")
        self.name = name

    # -- what is asked for by name --------------------------------------------------------------

    def refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"{self.name} asks for {what}, which is not a NumPy or SciPy array constructor; "
            "refused: nothing of it was run. If you trust where it comes from, save its data as "
            ".npy and CSV and use 'recbole-darec import table'"
        )

    def find_class(self, module: str, name: str) -> _Global:
        kind = _ALLOWED.get((module, name))
        if kind is None:
            self.refuse(printable(f"{module}.{name}"))
        return _Global(kind)

    def get_extension(self, code: int) -> NoReturn:
        self.refuse(f"the registered extension {code}")

    def persistent_load(self, pid: object) -> NoReturn:
        self.refuse(f"the persistent object {printable(pid)}")

    def load_inst(self) -> NoReturn:
        module, name = self.readline(), self.readline()
        self.refuse(printable(b".".join((module[:-1], name[:-1])).decode("latin-1")))

    dispatch[pickle.INST[0]] = load_inst

    # -- calls and states -----------------------------------------------------------------------

    def load_reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if not (isinstance(function, _Global) and isinstance(args, tuple)):
            raise Damaged("a call of something that is no known constructor")
        self.append(_reduced(function.kind, args))

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_newobj(self) -> None:
        args, cls = self.stack.pop(), self.stack.pop()
        if not (isinstance(cls, _Global) and cls.kind in SPARSE_KINDS and args == ()):
            raise Damaged("a new object of something that is no sparse matrix")
        self.append(Sparse(cls.kind))

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, (Dtype, Array, Sparse)):
            raise Damaged("a state for something that is no array")
        target.build(state)

    dispatch[pickle.BUILD[0]] = load_build

    # -- values ---------------------------------------------------------------------------------

    # The standard library's own step would reserve the length that the file declares.
    dispatch[pickle.BYTEARRAY8[0]] = _Standard.load_binbytes8

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    dispatch[pickle.APPEND[0]] = load_append

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    dispatch[pickle.APPENDS[0]] = load_appends

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise Damaged("an append to something that is no list")
        self.stack[-1].extend(items)

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._update(items)

    dispatch[pickle.DICT[0]] = load_dict

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        self._update(self.pop_mark())

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def _update(self, items: list[Any]) -> None:
        top = self.stack[-1]
        if type(top) is not dict or len(items) % 2:
            raise Damaged("an item set on something that is no dict")
        for key, value in zip(items[::2], items[1::2]):
            # Nested tuples take exponential time to hash, integers beyond 64 bits collide at will.
            if type(key) is not str and not (type(key) is int and -(2**63) <= key < 2**63):
                raise Damaged(f"a dict key of type {type(key).__name__}")
            top[key] = value

    def load_stop(self) -> None:
        if len(self.stack) != 1 or self.metastack:
            raise Damaged("an unbalanced stack")
        super().load_stop()

    dispatch[pickle.STOP[0]] = load_stop


def _refused(opcode: str) -> Callable[[Any], None]:
    return lambda unpickler: unpickler.refuse(f"the opcode {opcode}")


for _opcode in pickletools.opcodes:
    _Unpickler.dispatch.setdefault(ord(_opcode.code), _refused(_opcode.name))


def _reduced(kind: str, args: tuple[Any, ...]) -> object:
    if kind == "reconstruct" and args and args[0] == _Global("ndarray"):
        return Array()
    if kind == "dtype" and args and isinstance(args[0], str):
        return Dtype(args[0])
    if kind == "scalar" and len(args) == 2:
        return Array((), args[0], False, args[1]).make().item()
    if kind == "frombuffer" and len(args) == 4 and args[3] in ("C", "F"):
        buffer, dtype, shape, order = args
        return Array(shape, dtype, order == "F", buffer)
    if kind == "encode" and len(args) == 2 and args[1] in ("latin1", "latin-1"):
        return str(args[0]).encode("latin-1")
    if kind == "bytes" and not args:
        return b""
    raise Damaged(f"a call of {kind} that NumPy and SciPy never write")


def _read(stream: BinaryIO | mmap.mmap, name: str) -> object:
    try:
        return finished(_Unpickler(stream, name).load(), {})
    except Damaged as error:
        raise DataError(f"{name} cannot be read as an array or matrix: it holds {error}") from None
    except KeyError as error:
        raise DataError(f"{name} is no pickle ({error} is no opcode): fetch it again") from None
    except (
        ArithmeticError,
        EOFError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
        struct.error,
    ) as error:
        reason = printable(error) or type(error).__name__
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
