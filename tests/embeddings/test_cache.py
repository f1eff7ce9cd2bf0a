from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recbole_darec.embeddings import formats, read_table, write_text

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write(tmp_path / "x.useremb", 1.0)


def write(path: Path, value: float, tokens: str = "abc") -> Path:
    matrix = np.arange(3 * len(tokens), dtype=np.float32).reshape(-1, 3) + np.float32(value)
    return write_text(path, list(tokens), matrix, "uid", "emb")


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were parsed, and not taken from their cache."""
    seen: list[Path] = []
    real = formats.parse_text

    def parse(path, *args):
        seen.append(path)
        return real(path, *args)

    monkeypatch.setattr(formats, "parse_text", parse)
    return seen


def test_parsed_once(text: Path, parses: list[Path]) -> None:
    first, second = read_table(text), read_table(text)
    assert len(parses) == 1
    assert first.path == second.path == text
    assert second.mapping is not None
    np.testing.assert_array_equal(first.matrix, second.matrix)
    assert not [n for n in os.listdir(text.parent) if n.endswith(".tmp")]


def test_parsed_again_when_the_text_changes(text: Path, parses: list[Path]) -> None:
    read_table(text)
    write(text, 5.0)  # the same size
    assert read_table(text).matrix[0, 0] == 5.0
    write(text, 5.0, "abcd")
    assert len(read_table(text)) == 4
    assert len(parses) == 3


def test_a_change_that_keeps_size_and_time_is_seen_in_head_and_tail(
    text: Path, parses: list[Path]
) -> None:
    read_table(text)
    stat = text.stat()
    write(text, 6.0)
    os.utime(text, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert read_table(text).matrix[0, 0] == 6.0
    assert len(parses) == 2


def test_other_separators_do_not_share_a_cache(tmp_path: Path, parses: list[Path]) -> None:
    path = tmp_path / "x.useremb"
    path.write_text("uid:token\temb:float_seq\na\t1 2\n")
    read_table(path)
    read_table(path, seq_separator="|")
    read_table(path, seq_separator="|")
    assert len(parses) == 2


def spoil_matrix(text: Path) -> None:
    matrix = np.load(f"{text}.cache.npy")
    np.save(f"{text}.cache.npy", matrix[::-1])


def spoil_tokens(text: Path) -> None:
    Path(f"{text}.cache.tokens").write_text("c\nb\na\n")


def spoil_truncated(text: Path) -> None:
    os.truncate(f"{text}.cache.npy", 130)


def spoil_note(text: Path) -> None:
    Path(f"{text}.cache.json").write_text('{"version": 1')


def spoil_version(text: Path) -> None:
    note = json.loads(Path(f"{text}.cache.json").read_text())
    Path(f"{text}.cache.json").write_text(json.dumps({**note, "version": 0}))


def spoil_list(text: Path) -> None:
    Path(f"{text}.cache.json").write_text("[]")


def spoil_missing(text: Path) -> None:
    os.unlink(f"{text}.cache.tokens")


SPOILS = [f for name, f in sorted(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda f: f.__name__)
def test_a_cache_that_is_not_whole_is_not_used(text: Path, parses: list[Path], spoil) -> None:
    good = read_table(text)
    expected = good.matrix.copy()
    del good
    spoil(text)
    for _ in range(2):
        table = read_table(text)
        assert list(table.tokens) == ["a", "b", "c"]
        np.testing.assert_array_equal(table.matrix, expected)
    assert len(parses) == 2  # once at the start, once after the damage, then cached again


@pytest.mark.parametrize("fail_at", range(3))
def test_a_crash_between_the_files_never_gives_a_wrong_pair(
    text: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    read_table(text)
    write(text, 9.0, "cba")  # as many rows as before, and other tokens
    expected = 9.0 + np.arange(9, dtype=np.float32).reshape(3, 3)
    real, calls = os.replace, []

    def replace(*args):
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        calls.append(args)
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            read_table(text)
    table = read_table(text)
    assert list(table.tokens) == ["c", "b", "a"]
    np.testing.assert_array_equal(table.matrix, expected)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(28, "Full")])
def test_a_folder_that_cannot_be_written_to(
    text: Path, monkeypatch: pytest.MonkeyPatch, caplog, parses: list[Path], error: OSError
) -> None:
    def replace(*args):
        raise error

    monkeypatch.setattr(os, "replace", replace)
    with caplog.at_level(logging.WARNING):
        table = read_table(text)
    assert table.matrix[0, 0] == 1.0
    assert f"cannot be cached beside it ({error.strerror})" in caplog.text
    assert os.listdir(text.parent) == [text.name]


def test_a_text_that_changes_while_it_is_read_is_not_cached(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = formats.parse_text

    def parse(path, *args):
        result = real(path, *args)
        write(text, 4.0)
        return result

    monkeypatch.setattr(formats, "parse_text", parse)
    assert read_table(text).matrix[0, 0] == 1.0
    monkeypatch.undo()
    assert read_table(text).matrix[0, 0] == 4.0


WORKER = """
import sys, time
import numpy as np
from recbole_darec.embeddings import read_table
expected = np.load(sys.argv[2])
while time.time() < float(sys.argv[3]):
    pass
for _ in range(12):
    table = read_table(sys.argv[1])
    assert list(table.tokens) == [f"t{i}" for i in range(len(expected))]
    assert np.array_equal(table.matrix, expected)
    import os
    for suffix in (".cache.npy", ".cache.tokens", ".cache.json"):
        try:
            os.unlink(sys.argv[1] + suffix)  # so that the next round writes the cache again
        except FileNotFoundError:
            pass
print("fine")
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    import time

    matrix = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
    path = write_text(tmp_path / "x.useremb", [f"t{i}" for i in range(200)], matrix, "uid", "emb")
    np.save(tmp_path / "expected.npy", matrix)
    start = str(time.time() + 1.0)
    command = [sys.executable, "-c", WORKER, str(path), str(tmp_path / "expected.npy"), start]
    workers = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for worker in workers:
        out, err = worker.communicate(timeout=60)
        assert out.decode().strip() == "fine", err.decode()
    table = read_table(path)
    np.testing.assert_array_equal(table.matrix, matrix)
    np.testing.assert_array_equal(read_table(path).matrix, matrix)
