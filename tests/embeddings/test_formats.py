from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.embeddings import lookup, read_table, write_binary, write_text
from recbole_darec.embeddings.formats import exists
from recbole_darec.errors import EmbeddingError

tokens_strategy = st.lists(
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\t\n\r"), min_size=1),
    unique=True,
    min_size=1,
    max_size=12,
).filter(lambda tokens: "[PAD]" not in tokens)


@given(
    tokens_strategy,
    st.integers(1, 5),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_text_binary_and_lookup_agree(tmp_path_factory, tokens, width, dtype, seed) -> None:
    folder = tmp_path_factory.mktemp("round")
    scale = 10.0 ** np.random.default_rng(seed).integers(-4, 4)
    matrix = np.random.default_rng(seed).standard_normal((len(tokens), width)) * scale
    matrix = matrix.astype(dtype)
    write_text(folder / "a.useremb", tokens, matrix, "uid", "user_emb")
    write_binary(folder / "b.useremb", tokens, matrix, {"encoder": "x"})

    cold, warm = read_table(folder / "a.useremb"), read_table(folder / "a.useremb")
    binary = read_table(folder / "b.useremb")

    assert (folder / "a.useremb.cache.json").is_file()
    for table in (cold, warm, binary):
        assert list(table.tokens) == tokens
        np.testing.assert_array_equal(table.matrix.astype(np.float32), matrix.astype(np.float32))
    assert binary.matrix.dtype == dtype
    assert binary.meta == {"encoder": "x"}
    out, coverage = lookup(binary, ["[PAD]", *reversed(tokens)], kind="user")
    np.testing.assert_array_equal(out[1:], matrix[::-1].astype(out.dtype))
    assert coverage.n_missing == coverage.n_unused == 0


def test_other_separators_crlf_bom_and_extra_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.itememb"
    path.write_bytes(
        "\ufeffemb:float_seq;name:token_seq;iid:token\r\n"
        "1.5, -2,,3e-1;Ä b;é\r\n\r\n.5,2,3;;ü".encode()
    )
    table = read_table(path, field_separator=";", seq_separator=",")
    assert table.tokens == ["é", "ü"]
    np.testing.assert_array_equal(table.matrix, np.float32([[1.5, -2, 0.3], [0.5, 2, 3]]))


def test_many_rows_of_growing_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_darec.embeddings.text._BUFFER_BYTES", 200)
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((300, 5)).astype(np.float32)
    matrix[100:] *= 1e-9  # longer lines than those before
    tokens = [f"t{i}" for i in range(300)]
    path = write_text(tmp_path / "a.useremb", tokens, matrix, "uid", "emb")
    table = read_table(path, cache=False)
    assert table.tokens == tokens
    np.testing.assert_array_equal(table.matrix, matrix)
    assert os.listdir(tmp_path) == ["a.useremb"]


HEADER = "uid:token\tuser_emb:float_seq\n"

MALFORMED = {
    "empty": ("", "is empty"),
    "header only": (HEADER, "a header and no rows"),
    "blank header": ("\nu1\t1 2\n", "line 1: empty"),
    "no header": ("u1\t1 2\n", "line 1: .* is not a header"),
    "no float_seq": ("uid:token\temb:float\nu1\t1\n", "line 1: .* is not a header"),
    "two tokens": ("a:token\tb:token\tc:float_seq\nu\tv\t1\n", "line 1: .* is not a header"),
    "ragged short": (HEADER + "u1\t1 2\nu2\t1\n", r"line 3 \(token 'u2'\): 1 numbers, .* have 2"),
    "ragged long": (HEADER + "u1\t1 2\nu2\t1 2 3\n", "line 3 .*: 3 numbers, .* have 2"),
    "ragged, sum right": (HEADER + "u1\t1 2\nu2\t1 2 3\nu3\t1\n", "line 3 .*: 3 numbers"),
    "no numbers": (HEADER + "u1\t\n", "line 2 .*: no numbers"),
    "no number": (HEADER + "u1\t1 2\nu2\t1 two\n", "line 3 .*: number 2 is 'two'"),
    "glued": (HEADER + "u1\t1.0-2.0 3.0\n", "line 2 .*: number 1 is '1.0-2.0'"),
    "nan": (HEADER + "u1\t1 nan\n", "line 2 .*: number 2 is 'nan', which is not a finite"),
    "inf": (HEADER + "u1\t1 2\nu2\t-inf 1\n", "line 3 .*: number 1 is '-inf'"),
    "overflow": (HEADER + "u1\t1e39 1\n", "line 2 .*: number 1 is '1e39', which is not a finite"),
    "duplicate": (HEADER + "u1\t1\nu2\t1\nu1\t2\n", "line 4.*'u1' stands in line 2 already"),
    "one column": (HEADER + "u1 1 2\n", "line 2: 1 columns, where the header has 2"),
    "three columns": (HEADER + "u1\t1\t2\n", "line 2: 3 columns"),
    "no token": (HEADER + "\t1 2\n", "line 2: the token is empty"),
}


@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_text(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.useremb"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(EmbeddingError, match=message) as error:
        read_table(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["x.useremb"]


def test_token_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.useremb"
    path.write_bytes(HEADER.encode() + b"u1\t1\n\xff\t2\n")
    with pytest.raises(EmbeddingError, match="line 3: the token is not UTF-8"):
        read_table(path)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    stem = tmp_path / "x.useremb"
    write_binary(stem, ["a", "b", "c"], np.arange(12, dtype=np.float32).reshape(3, 4))
    return stem


def test_binary_is_mapped_and_read_only(pair: Path) -> None:
    table = read_table(pair)
    assert table.mapping is not None
    assert not table.matrix.flags.writeable
    assert table.width == 4
    assert len(table) == 3
    np.testing.assert_array_equal(read_table(f"{pair}.npy").matrix, np.load(f"{pair}.npy"))


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def damage_truncated(stem: str) -> str:
    os.truncate(f"{stem}.npy", os.path.getsize(f"{stem}.npy") - 5)
    return "truncated: 3 rows of 4 float32"


def damage_header_only(stem: str) -> str:
    os.truncate(f"{stem}.npy", 40)
    return "not a readable .npy"


def damage_empty_file(stem: str) -> str:
    os.truncate(f"{stem}.npy", 0)
    return "not a readable .npy"


def damage_longer(stem: str) -> str:
    with open(f"{stem}.npy", "ab") as file:
        file.write(b"xx")
    return "longer than its header says"


def damage_objects(stem: str) -> str:
    np.save(f"{stem}.npy", np.array([[Bomb()]], dtype=object), allow_pickle=True)
    return "holds Python objects"


def damage_pickle(stem: str) -> str:
    Path(f"{stem}.npy").write_bytes(pickle.dumps(Bomb()))
    return "not a readable .npy"


def damage_dimensions(stem: str) -> str:
    np.save(f"{stem}.npy", np.zeros(3, np.float32))
    return r"has 1 dimensions \(3,\)"


def damage_integers(stem: str) -> str:
    np.save(f"{stem}.npy", np.zeros((3, 4), np.int64))
    return "holds int64"


def damage_no_rows(stem: str) -> str:
    np.save(f"{stem}.npy", np.zeros((0, 4), np.float32))
    return "is empty"


def damage_no_tokens(stem: str) -> str:
    os.unlink(f"{stem}.tokens")
    return "has no x.useremb.tokens beside it"


def damage_fewer_tokens(stem: str) -> str:
    Path(f"{stem}.tokens").write_text("a\nb\n")
    return "names 2 rows, but x.useremb.npy has 3"


def damage_duplicate_token(stem: str) -> str:
    Path(f"{stem}.tokens").write_text("a\nb\na\n")
    return "'a' stands in row 0 and again in row 2"


def damage_blank_token(stem: str) -> str:
    Path(f"{stem}.tokens").write_text("a\n\nc\n")
    return "line 2: empty"


def damage_encoding(stem: str) -> str:
    Path(f"{stem}.tokens").write_bytes(b"a\nb\n\xe4\n")
    return "line 3: not UTF-8"


def damage_meta(stem: str) -> str:
    Path(f"{stem}.json").write_text("{")
    return "is not JSON"


def damage_meta_list(stem: str) -> str:
    Path(f"{stem}.json").write_text("[]")
    return "not a JSON object"


DAMAGES = [f for name, f in sorted(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_damaged_binary(pair: Path, damage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pair.parent)
    message = damage(str(pair))
    with pytest.raises(EmbeddingError, match=message) as error:
        read_table(pair)
    assert str(pair) in str(error.value)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
def test_npy_of_any_order_and_byte_order(tmp_path: Path, order: str, dtype: str) -> None:
    matrix = np.asarray(np.arange(6).reshape(3, 2), dtype=dtype, order=order)
    np.save(tmp_path / "x.itememb.npy", matrix)
    (tmp_path / "x.itememb.tokens").write_bytes(b"a\r\nb\r\nc\r\n")
    out, _ = lookup(read_table(tmp_path / "x.itememb"), ["[PAD]", "c", "a", "b"], kind="item")
    np.testing.assert_array_equal(out, [[0, 0], [4, 5], [0, 1], [2, 3]])
    assert out.dtype.isnative


def test_binary_is_preferred_with_a_warning_if_older(pair: Path, caplog) -> None:
    write_text(pair, ["a"], np.ones((1, 4), np.float32), "uid", "emb")
    os.utime(pair, ns=(0, 0))
    assert len(read_table(pair)) == 3
    assert not caplog.records
    os.utime(pair, (2**32, 2**32))
    assert len(read_table(pair)) == 3
    assert "is newer than x.useremb.npy, which is used" in caplog.text


def test_nothing_there(tmp_path: Path) -> None:
    for name in ("x.useremb", "x.useremb.npy"):
        with pytest.raises(EmbeddingError, match="there is no file"):
            read_table(tmp_path / name)


BAD_TABLES = {
    "tab": (["a\tb"], np.ones((1, 1), np.float32), "tab or line break"),
    "empty token": ([""], np.ones((1, 1), np.float32), "is empty"),
    "surrogate": (["\ud800"], np.ones((1, 1), np.float32), "not valid Unicode"),
    "twice": (["a", "a"], np.ones((2, 1), np.float32), "again in row 1"),
    "too few": (["a"], np.ones((2, 1), np.float32), "1 tokens for 2 rows"),
    "integers": (["a"], np.ones((1, 1), np.int32), "int32 is not float16"),
    "vector": (["a"], np.ones(1, np.float32), "not the shape"),
    "nan": (["a", "b"], np.array([[1.0], [np.nan]]), "in the rows of b"),
}


@pytest.mark.parametrize(("tokens", "matrix", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_writers_refuse_what_readers_would(tmp_path: Path, tokens, matrix, message) -> None:
    with pytest.raises(EmbeddingError, match=message):
        write_binary(tmp_path / "x", tokens, matrix)
    with pytest.raises(EmbeddingError, match=message):
        write_text(tmp_path / "x", tokens, matrix, "uid", "emb")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fail_at", range(4))
def test_a_crash_while_overwriting_never_leaves_rows_under_other_tokens(
    pair: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    # The rows change and the number of rows does not: only the order of the writes protects them.
    new = np.full((3, 4), 7, np.float32)
    real, calls = os.replace, []

    def replace(*args):
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        calls.append(args)
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        if fail_at < 3:
            with pytest.raises(KeyboardInterrupt):
                write_binary(pair, ["c", "b", "a"], new, {"made": 2})
        else:
            write_binary(pair, ["c", "b", "a"], new, {"made": 2})
    assert not [n for n in os.listdir(pair.parent) if n.endswith(".tmp")]
    if fail_at < 3:  # matrix, then note, then tokens
        assert not Path(f"{pair}.tokens").exists()
        with pytest.raises(EmbeddingError, match=r"has no x\.useremb\.tokens"):
            read_table(pair)
    else:
        table = read_table(pair)
        assert list(table.tokens) == ["c", "b", "a"]
        np.testing.assert_array_equal(table.matrix, new)


@pytest.mark.parametrize("name", ["", "."])
def test_a_path_without_a_name_is_no_file(name: str) -> None:
    for read in (exists, read_table):
        with pytest.raises(EmbeddingError, match=r"'\.' names no file of embeddings"):
            read(Path(name))
