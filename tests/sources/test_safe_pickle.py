from __future__ import annotations

import copyreg
import pickle
import re
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.errors import DataError
from recbole_darec.sources.safe_pickle import load_pickle, loads_pickle

from . import hostile
from .hostile import HOSTILE, call, glob, raw, text, whole

# -- hostile pickles ------------------------------------------------------------------------------


@pytest.fixture
def extension():
    hostile.register_extension()
    yield
    copyreg.remove_extension("os", "system", hostile.EXTENSION_CODE)
    copyreg.clear_extension_cache()


@pytest.mark.usefixtures("extension")
@pytest.mark.parametrize("label", HOSTILE)
def test_refuses_by_name_and_runs_nothing(label, tmp_path):
    named, _, build = HOSTILE[label]
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pkl"
    path.write_bytes(build(marker))
    with pytest.raises(DataError) as caught:
        load_pickle(path)
    message = str(caught.value)
    assert re.search(f"asks for [^,]*{re.escape(named)}.*, which is not a NumPy or SciPy", message)
    assert "refused" in message
    assert str(path) in message
    assert "\n" not in message
    assert not marker.exists()


def test_the_payloads_are_live(tmp_path):
    """Plain pickle runs every payload that is called live: the test above could fail."""
    live = [label for label, (_, runs, _) in HOSTILE.items() if runs]
    markers = {}
    for n, label in enumerate(live):
        markers[label] = tmp_path / f"{n:03d}.marker"
        (tmp_path / f"{n:03d}.pkl").write_bytes(HOSTILE[label][2](markers[label]))
    done = subprocess.run(
        [sys.executable, hostile.__file__, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert [label for label in live if not markers[label].exists()] == [], done.stdout + done.stderr
    assert len(live) >= 30


def test_a_name_cannot_write_to_the_terminal():
    with pytest.raises(DataError) as caught:
        loads_pickle(whole(hostile.stack_global("os\x1b[2J\r" + "x" * 500, "system\u202e")), "x")
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400


# -- malformed pickles: no crash, no hang, no memory ----------------------------------------------


EIGHT = raw(b"12345678")  # one float64


def reconstruct(state: bytes) -> bytes:
    made = call(
        glob("numpy.core.multiarray._reconstruct"), glob("numpy.ndarray"), b"K\x00\x85", raw(b"b")
    )
    return made + state + b"b"


def dtype(code: str = "f8", state: bytes = b"") -> bytes:
    made = call(glob("numpy.dtype"), text(code), b"\x89", b"\x88")
    return (
        made
        + (state or b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t")
        + b"b"
    )


def number(value: int) -> bytes:
    data = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def array(values: list[int], code: str = "i8") -> bytes:
    data = np.array(values, code).tobytes()
    return reconstruct(
        b"(K\x01" + number(len(values)) + b"\x85" + dtype(code) + b"\x89" + raw(data) + b"t"
    )


def sparse(kind: str, shape: tuple[int, int], **arrays: list[int]) -> bytes:
    body = glob(f"scipy.sparse._{kind[:3]}.{kind}") + b")\x81}("
    body += text("_shape") + number(shape[0]) + number(shape[1]) + b"\x86"
    for name, values in arrays.items():
        body += text(name) + array(values)
    return whole(body + b"ub")


def nested_tuples(depth: int) -> bytes:
    body = b")q\x00"
    for _ in range(depth):
        body += b"0h\x00h\x00\x86q\x00"
    return body


def nested_lists(depth: int) -> bytes:
    body = b"]q\x00"
    for _ in range(depth):
        body += b"0](h\x00h\x00eq\x00"
    return body


MALFORMED = {
    "empty": b"",
    "text": b"user_id,item_id\n1,2\n",
    "a length beyond the file": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "a length of 4 GB": b"\x80\x04B\xff\xff\xff\xffx.",
    "a text length beyond the file": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "a frame beyond the file": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N",
    "a key that takes forever to hash": whole(b"}" + nested_tuples(80) + b"K\x01s"),
    "values that take forever to walk": whole(nested_lists(80)),
    "a list in itself": whole(b"]q\x00h\x00a"),
    "deep nesting": whole(b"(" * 100_000 + b"l" * 100_000),
    "numbers that collide as keys": whole(b"}" + number(2**63) + b"Ns"),
    "bytes of a declared length": whole(call(glob("builtins.bytes"), number(2**40))),
    "a codec": whole(call(glob("_codecs.encode"), text("x"), text("zip"))),
    "a bare constructor": whole(glob("numpy.ndarray")),
    "a bare dtype": whole(dtype()),
    "a direct call of ndarray": whole(call(glob("numpy.ndarray"), number(2**40) + b"\x85")),
    "a call of a number": whole(b"K\x01)R"),
    "arguments that are no tuple": whole(glob("numpy.dtype") + b"]R"),
    "a state for a constructor": whole(glob("numpy.ndarray") + b"}b"),
    "a state for a dict": whole(b"}}b"),
    "slots for a constructor": whole(glob("numpy.dtype") + b"N}" + text("a") + b"Ns\x86b"),
    "a new dtype": whole(glob("numpy.dtype") + b")\x81"),
    "a sparse matrix with arguments": whole(
        glob("scipy.sparse._coo.coo_matrix") + number(2**40) + number(2**40) + b"\x86\x85\x81"
    ),
    "pointers as objects": whole(
        reconstruct(b"(K\x01K\x01\x85" + dtype("O8") + b"\x89" + raw(b"AAAAAAAA") + b"t")
    ),
    "a dtype with fields": whole(
        dtype("f8", b"(K\x03" + text("<") + b"N" + text("a") + b"\x85}K\x08K\x01K\x00t")
    ),
    "a void dtype": whole(dtype("V8")),
    "a dtype state of the wrong length": whole(dtype("f8", b"(K\x03t")),
    "an array larger than its data": whole(
        reconstruct(b"(K\x01" + number(2**61) + b"\x85" + dtype() + b"\x89" + EIGHT + b"t")
    ),
    "an array smaller than its data": whole(
        reconstruct(b"(K\x01K\x00\x85" + dtype() + b"\x89" + EIGHT + b"t")
    ),
    "a negative shape": whole(
        reconstruct(
            b"(K\x01" + number(-1) + number(-1) + b"\x86" + dtype() + b"\x89" + EIGHT + b"t"
        )
    ),
    "a shape of floats": whole(
        reconstruct(b"(K\x01G?\xf0\0\0\0\0\0\0\x85" + dtype() + b"\x89" + EIGHT + b"t")
    ),
    "too many dimensions": whole(
        reconstruct(b"(K\x01(" + b"K\x01" * 200 + b"t" + dtype() + b"\x89" + EIGHT + b"t")
    ),
    "an array without data": whole(
        reconstruct(b"(K\x01K\x01\x85" + dtype() + b"\x89" + b"](K\x01et")
    ),
    "a state of the wrong length": whole(reconstruct(b"(K\x01t")),
    "an array that was never built": whole(
        call(glob("numpy.core.multiarray._reconstruct"), glob("numpy.ndarray"), b")", raw(b"b"))
    ),
    "the reconstructor of another thing": whole(
        call(glob("numpy.core.multiarray._reconstruct"), glob("numpy.dtype"), b")", raw(b"b"))
    ),
    "a row beyond the matrix": sparse("coo_matrix", (2, 2), row=[2], col=[0], data=[1]),
    "a negative column": sparse("coo_matrix", (2, 2), row=[0], col=[-1], data=[1]),
    "coordinates of two lengths": sparse("coo_matrix", (2, 2), row=[0, 1], col=[0], data=[1]),
    "no coordinates": sparse("coo_matrix", (2, 2), data=[1]),
    "a matrix too tall": sparse("coo_matrix", (2**40, 2), row=[0], col=[0], data=[1]),
    "row pointers beyond the data": sparse(
        "csr_matrix", (2, 2), indptr=[0, 1, 99], indices=[0], data=[1]
    ),
    "row pointers that go back": sparse(
        "csr_matrix", (3, 2), indptr=[0, 1, 0, 1], indices=[0], data=[1]
    ),
    "too few row pointers": sparse("csr_matrix", (9, 2), indptr=[0, 1], indices=[0], data=[1]),
    "an index beyond the columns": sparse(
        "csr_matrix", (1, 2), indptr=[0, 1], indices=[7], data=[1]
    ),
    "a huge row count without pointers": sparse(
        "csc_matrix", (2, 2**31 - 1), indptr=[0, 1], indices=[0], data=[1]
    ),
    "a memo entry that is not there": whole(b"h\x07"),
    "a stack that is empty": whole(b"\x86"),
    "two values": whole(b"NN"),
    "a mark left over": whole(b"(N"),
    "a dict with half an item": whole(b"}(Nu"),
    "an item on a list": whole(b"]K\x01Ns"),
    "an append to a number": whole(b"K\x01Na"),
    "another opcode": whole(b"\xff"),
    "a set": whole(b"\x8f"),
    "a buffer out of band": whole(b"\x97", 5),
}


@pytest.mark.parametrize("label", MALFORMED)
def test_malformed_pickles_end_in_an_error(label):
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"^x\.pkl "):
            loads_pickle(MALFORMED[label], "x.pkl")
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_a_high_memo_index_allocates_nothing():
    tracemalloc.start()
    assert loads_pickle(whole(b"Nr\xff\xff\xff\xff"), "x") is None
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_every_truncation_is_an_error(protocol, tmp_path):
    data = pickle.dumps(scipy.sparse.coo_matrix(np.eye(3)), protocol)
    path = tmp_path / "cut.pkl"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.pkl"):
            load_pickle(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*absent\.pkl: No such file"):
        load_pickle(tmp_path / "absent.pkl")
    with pytest.raises(DataError, match="cannot read"):
        load_pickle(tmp_path)


SEEDS = [
    pickle.dumps(scipy.sparse.csr_matrix(np.eye(3)), 4),
    pickle.dumps(scipy.sparse.coo_matrix(np.eye(3)), 2),
    pickle.dumps(np.arange(6.0).reshape(2, 3), 5),
    pickle.dumps({0: {"profile": "a", "reasoning": "b"}, "1": [1.5, None, True]}, 4),
]


def plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, (str, int)) and plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(plain(v) for v in value)
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf"
    return (
        value is None
        or isinstance(value, (bool, int, float, str, bytes))
        or scipy.sparse.issparse(value)
    )


@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.binary(min_size=1, max_size=4)),
        min_size=1,
        max_size=6,
    ),
)
def test_damaged_pickles_give_plain_data_or_an_error(seed, edits):
    data = bytearray(seed)
    for place, cut, new in edits:
        place %= len(data) + 1
        data[place : place + cut] = new
    try:
        value = loads_pickle(bytes(data), "x.pkl")
    except DataError:
        return
    assert plain(value)
    if scipy.sparse.issparse(value) and max(value.shape) < 10_000:
        assert value.tocsr().shape == value.shape  # SciPy's compiled code can walk it


# -- what must be read ----------------------------------------------------------------------------

ARRAYS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.arange(6, dtype=np.float16),
    "big-endian": np.arange(6, dtype=">i4").reshape(3, 2),
    "Fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "view": np.arange(12)[::3],
    "bool": np.array([True, False, True]),
    "empty": np.empty((0, 5)),
    "no dimension": np.array(3.5),
    "unsigned": np.array([255, 0], dtype=np.uint8),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("label", ARRAYS)
def test_arrays_come_back(label, protocol):
    array = ARRAYS[label]
    found = loads_pickle(pickle.dumps(array, protocol), "x")
    assert isinstance(found, np.ndarray)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("form", ["matrix", "array"])
@pytest.mark.parametrize("kind", ["coo", "csr", "csc"])
def test_sparse_matrices_come_back(kind, form, protocol):
    dense = np.array([[0, 1.5, 0], [2, 0, 0]])
    for values in (dense, dense != 0, dense.astype(np.int32), np.zeros((4, 0))):
        matrix = getattr(scipy.sparse, f"{kind}_{form}")(values)
        found = loads_pickle(pickle.dumps(matrix, protocol), "x")
        assert type(found) is type(matrix)
        assert found.dtype == matrix.dtype
        np.testing.assert_array_equal(found.toarray(), values)


def test_other_versions_spellings():
    matrix = scipy.sparse.coo_matrix(np.eye(3))
    data = pickle.dumps(matrix, 2)
    older = data.replace(b"scipy.sparse._coo", b"scipy.sparse.coo")
    numpy_1 = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    numpy_2 = numpy_1.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    assert older != data
    assert numpy_1 != numpy_2
    for spelt in (older, numpy_1, numpy_2):
        np.testing.assert_array_equal(loads_pickle(spelt, "x").toarray(), np.eye(3))


def test_coordinates_of_newer_scipy():
    """SciPy 1.13 and later keep ``coords`` in place of ``row`` and ``col``."""
    row, col = array([0, 1]), array([2, 0])
    body = glob("scipy.sparse._coo.coo_array") + b")\x81}("
    body += text("_shape") + b"K\x02K\x03\x86" + text("coords") + row + col + b"\x86"
    body += text("data") + array([5, 6]) + b"ub"
    found = loads_pickle(whole(body), "x")
    np.testing.assert_array_equal(found.toarray(), [[0, 0, 5], [6, 0, 0]])


def test_python_2_strings_as_data():
    """Python 2 wrote an array's bytes as a string, which reads as Latin-1."""
    data = np.array([1.0, -2.5]).tobytes()
    body = b"(K\x01K\x02\x85" + dtype() + b"\x89U" + bytes([len(data)]) + data + b"t"
    np.testing.assert_array_equal(loads_pickle(whole(reconstruct(body), 2), "x"), [1.0, -2.5])


@pytest.mark.parametrize("protocol", range(6))
def test_profiles_come_back(protocol):
    profiles = {
        0: {"profile": "naïve ☕", "reasoning": ""},
        7: {"profile": "b\n", "reasoning": "c"},
    }
    assert loads_pickle(pickle.dumps(profiles, protocol), "x") == profiles
    keyed = {np.int64(3): (1, 2.5, None, True, 2**70, "t")}
    found = loads_pickle(pickle.dumps({int(k): v for k, v in keyed.items()}, protocol), "x")
    assert found == {3: [1, 2.5, None, True, 2**70, "t"]}


def test_numpy_scalars_become_numbers():
    found = loads_pickle(pickle.dumps([np.float32(1.5), np.int64(7), np.bool_(True)]), "x")
    assert found == [1.5, 7, True]
    assert [type(value) for value in found] == [float, int, bool]
    assert loads_pickle(pickle.dumps({np.int64(7): "a"}), "x") == {7: "a"}


def test_shared_parts_stay_shared():
    part = np.arange(3)
    first, second = loads_pickle(pickle.dumps([part, part]), "x")
    assert first is second


def test_the_real_release(shared):
    path = Path(shared) / "data/rlmrec/amazon/trn_mat.pkl"
    matrix = load_pickle(path)
    assert matrix.shape == (11000, 9332)
    assert matrix.nnz == 120464
