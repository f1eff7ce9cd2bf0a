"""The store: whose file it is, that one run has it, and that what was committed stays."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import environment

from recbole_darec.data.store import only_run, open_store, store_path
from recbole_darec.errors import DataError

SCHEMA = "CREATE TABLE IF NOT EXISTS kept (n INTEGER PRIMARY KEY, text TEXT NOT NULL);"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return store_path(tmp_path / "made" / "mine", "mine")


def kept(path: Path) -> list[int]:
    with open_store(path, SCHEMA) as store:
        return [n for (n,) in store.execute("SELECT n FROM kept ORDER BY n")]


def test_a_store_is_made_with_its_folder_and_opened_again(path: Path) -> None:
    with open_store(path, SCHEMA) as store:
        store.execute("INSERT INTO kept VALUES (1, 'a')")
    assert path == path.parent / "mine.store.sqlite"
    assert kept(path) == [1]


def test_each_statement_is_kept_at_once(path: Path) -> None:
    """Another connection sees it while the first one is open."""
    with open_store(path, SCHEMA) as store:
        store.execute("INSERT INTO kept VALUES (1, 'a')")
        assert kept(path) == [1]


def test_a_transaction_is_kept_whole_or_not_at_all(path: Path) -> None:
    def fail() -> None:
        with open_store(path, SCHEMA) as store:
            store.execute("INSERT INTO kept VALUES (1, 'a')")
            store.execute("BEGIN")
            store.execute("INSERT INTO kept VALUES (2, 'b')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert kept(path) == [1]


def test_it_is_in_wal_mode(path: Path) -> None:
    with open_store(path, SCHEMA) as store:
        assert store.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert path.with_name(f"{path.name}-wal").exists()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_two_kinds_of_tables_share_a_store(path: Path) -> None:
    with open_store(path, SCHEMA) as store:
        store.execute("INSERT INTO kept VALUES (1, 'a')")
    with open_store(path, "CREATE TABLE IF NOT EXISTS others (x);") as store:
        store.execute("INSERT INTO others VALUES (1)")
    assert kept(path) == [1]


@pytest.mark.parametrize("application_id", [0, 77])
def test_another_programs_database_is_left_as_it_is(path: Path, application_id: int) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA application_id = {application_id}")
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="another program's database") as caught:
        kept(path)
    assert "--store" in str(caught.value)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    assert kept(path) == []


@pytest.mark.parametrize("damage", ["text", "head", "middle", "cut"])
def test_a_damaged_file_is_one_error_that_names_it(path: Path, damage: str) -> None:
    with open_store(path, SCHEMA) as store:
        store.executemany("INSERT INTO kept VALUES (?, ?)", ((n, "x" * 500) for n in range(2000)))
    whole = path.read_bytes()
    assert len(whole) > 200_000
    if damage == "text":
        path.write_text("this is no database\n" * 100, encoding="utf-8")
    elif damage == "head":
        path.write_bytes(b"\0" * 100 + whole[100:])
    elif damage == "middle":
        path.write_bytes(whole[:4096] + b"\xff" * 100_000 + whole[104_096:])
    else:
        path.write_bytes(whole[:100_000])
    with pytest.raises(DataError) as caught, open_store(path, SCHEMA) as store:
        store.execute("SELECT sum(length(text)) FROM kept").fetchall()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder", tmp_path / "file" / "below" / "a.sqlite"):
        with pytest.raises(DataError, match=str(path)):
            kept(path)


# -- one run at a time, and SIGKILL ------------------------------------------------------------


def start(code: str, path: Path) -> subprocess.Popen[str]:
    """A process that has the store open and runs ``code``."""
    head = (
        "import sys, time\nfrom pathlib import Path\n"
        "from recbole_darec.data.store import only_run, open_store\n"
        f"path = Path(sys.argv[1])\nwith open_store(path, {SCHEMA!r}) as store:\n"
    )
    body = "".join(f"    {line}\n" for line in code.splitlines())
    return subprocess.Popen(
        [sys.executable, "-c", head + body, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    assert process.stdout is not None
    process.stdout.close()


def test_a_second_process_is_refused_until_the_first_is_killed(path: Path) -> None:
    first = start("with only_run(path, 'profile'):\n    print('has it', flush=True)\n"
                  "    time.sleep(600)", path)  # fmt: skip
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "has it\n"
        with (
            pytest.raises(DataError, match="another process runs 'profile'") as caught,
            only_run(path, "profile"),
        ):
            pytest.fail("both have it")
        assert str(path) in str(caught.value)
    finally:
        kill(first)
    with only_run(path, "profile"):
        pass


def test_it_is_free_again_when_the_block_ends(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), only_run(path, "profile"):
        raise ZeroDivisionError
    with only_run(path, "profile"), only_run(path.with_name("another.sqlite"), "profile"):
        pass


def test_a_lock_that_cannot_be_made_is_one_error(path: Path) -> None:
    with pytest.raises(DataError, match="lock cannot be made"), only_run(path, "profile"):
        pytest.fail("there is no folder for it")


def test_what_was_committed_is_there_after_the_writer_was_killed(path: Path) -> None:
    """Every number that the writer said was kept, said only after the statement had ended."""
    writer = start("n = 0\nwhile True:\n    n += 1\n"
                   "    store.execute('INSERT INTO kept VALUES (?, ?)', (n, 'x' * 2000))\n"
                   "    print(n, flush=True)", path)  # fmt: skip
    assert writer.stdout is not None
    said = [int(writer.stdout.readline()) for _ in range(300)]
    os.kill(writer.pid, signal.SIGKILL)
    said += [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait(timeout=30)
    writer.stdout.close()
    found = kept(path)
    assert said == list(range(1, said[-1] + 1))
    assert found[: len(said)] == said
    assert len(found) - len(said) in (0, 1), "the last may be kept and not said"
    with open_store(path, SCHEMA) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_transaction_that_was_cut_off_by_a_kill_is_not_there(path: Path) -> None:
    writer = start("store.execute(\"INSERT INTO kept VALUES (1, 'a')\")\nstore.execute('BEGIN')\n"
                   "store.execute(\"INSERT INTO kept VALUES (2, 'b')\")\n"
                   "print('begun', flush=True)\ntime.sleep(600)", path)  # fmt: skip
    assert writer.stdout is not None
    assert writer.stdout.readline() == "begun\n"
    kill(writer)
    assert kept(path) == [1]
