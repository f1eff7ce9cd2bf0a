"""``recbole-darec profile`` with bad input, one row each.

Exit code 2, one line on stderr that names the thing and the way out, no traceback, and not one file
made, changed or left behind.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import RunCli

from recbole_darec.cli.main import main
from recbole_darec.data.store import open_store
from recbole_darec.profiles.answers import SCHEMA

KEY = "sk-marked-0123456789"
YAML = """\
load_col:
  inter: [user_id, item_id, rating]
"""
FIXED = YAML + "benchmark_filename: [train, valid, test]\n"


def write_shop(folder: Path) -> None:
    """``shop``, with a fixed split, and ``single``, whose split follows the training seed."""
    shop, single = folder / "dataset" / "shop", folder / "dataset" / "single"
    for place, yaml in ((shop, FIXED), (single, YAML)):
        place.mkdir(parents=True)
        (place / f"{place.name}.yaml").write_text(yaml, encoding="utf-8")
    header = "user_id:token\titem_id:token\trating:float\n"
    rows = [f"u{u}\ti{(u + n) % 9}\t4\n" for u in range(5) for n in range(5)]
    (single / "single.inter").write_text(header + "".join(rows), encoding="utf-8")
    for n, part in enumerate(("train", "valid", "test")):
        (shop / f"shop.{part}.inter").write_text(header + "".join(rows[n::3]), encoding="utf-8")
    items = "".join(f"i{n}\tThing {n}\n" for n in range(9))
    (shop / "shop.item").write_text("item_id:token\ttitle:token_seq\n" + items, encoding="utf-8")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: what is bad.
        args: the arguments after ``profile``; ``...`` stands for the data set and the model.
        words: what the line on stderr must hold.
        prepare: makes the input bad; it is given the folder.
        env: changes of the environment; None takes a variable out.
    """

    name: str
    args: tuple[Any, ...]
    words: tuple[str, ...]
    prepare: Callable[[Path], Any] = lambda folder: None
    env: tuple[tuple[str, str | None], ...] = ()


def bad(name: str, args: str, *words: str, **more: Any) -> Row:
    """A row of a run that would be sound without these arguments."""
    return Row(name, (..., *args.split()), words, **more)


def other(name: str, args: str, *words: str, **more: Any) -> Row:
    """A row with these arguments alone."""
    return Row(name, tuple(args.split()), words, **more)


def file(name: str, content: str | bytes = "") -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def without(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "dataset" / "shop" / name).unlink()


def own_domain(folder: Path) -> None:
    for name, text in (("item.md", "x"), ("user.md", "x"), ("domain.yaml", "tittle: a")):
        file(f"own/{name}", text)(folder)


def another_database(folder: Path) -> None:
    with sqlite3.connect(folder / "theirs.sqlite") as database:
        database.execute("CREATE TABLE theirs (x)")
    database.close()


def empty_store(folder: Path) -> None:
    with open_store(folder / "empty.sqlite", SCHEMA):
        pass


OPTIONS = [
    other("no data set", "--model=m", "--dataset", "--help"),
    other("unknown action", "exprt --dataset=shop", "exprt", "export", "--help"),
    bad("unknown option", "--modle=m", "'--modle=m'", "--help"),
    bad("abbreviated option", "--max-tok=5", "'--max-tok=5'"),
    bad("unknown domain", "--domain=moovies", "'moovies'", "'movies'?", "item.md"),
    bad("domain no folder", "--domain=no/such", "--domain=no/such", "item.md"),
    bad("domain without files", "--domain=dataset", "item.md"),
    bad("instruction empty", "--domain=own", "item.md is empty",
        prepare=lambda folder: (file("own/item.md")(folder), file("own/user.md", "x")(folder))),
    bad("domain.yaml", "--domain=own", "domain.yaml", "'tittle' (did you mean 'title'?)",
        prepare=own_domain),
    other("no model", "--dataset=shop", "no language model", "--model=", "--profiler=template"),
    other("empty model", "--dataset=shop --model=", "--model"),
    Row("blank model", ("--dataset=shop", "--model= "), ("--model is empty",)),
    other("unknown profiler", "--dataset=shop --profiler=llm", "'llm'", "template"),
    bad("temperature a word", "--temperature=warm", "--temperature", "'warm'", "none"),
    bad("temperature too high", "--temperature=2.1", "--temperature=2.1", "at most 2"),
    bad("temperature negative", "--temperature=-0.1", "--temperature", "-0.1"),
    bad("temperature no number", "--temperature=nan", "--temperature", "nan"),
    bad("budget negative", "--max-cost=-1", "--max-cost=-1", "at least 0"),
    bad("budget no number", "--max-cost=nan", "--max-cost"),
    bad("budget a word", "--max-cost=cheap", "--max-cost", "'cheap'"),
    other("price unknown", "--dataset=shop --model=llama3 --max-cost=1",
          "--max-cost", "llama3", "--prices=FILE"),
    bad("price table missing", "--prices=none.yaml", "none.yaml", "No such file"),
    bad("price table malformed", "--prices=p.yaml", "p.yaml", "models",
        prepare=file("p.yaml", "gpt-4o-mini: 1")),
    bad("price no number", "--prices=p.yaml", "p.yaml", "input of gpt-4o-mini",
        prepare=file("p.yaml", "models: {gpt-4o-mini: {input: cheap}}")),
    bad("no attempt", "--attempts=0", "--attempts", "at least 1"),
    bad("no token", "--max-tokens=0", "--max-tokens", "at least 1"),
    bad("no word", "--max-words=0", "--max-words", "at least 1"),
    bad("negative words", "--max-words=-5", "--max-words", "at least 1"),
    bad("no item", "--items-per-user=0", "--items-per-user", "at least 1"),
    bad("reviews negative", "--reviews-per-item=-1", "--reviews-per-item", "at least 0"),
    bad("no word of a text", "--text-words=0", "--text-words", "at least 1"),
    bad("half a word", "--text-words=1.5", "--text-words", "'1.5'"),
    bad("unknown form", "--structured=xml", "--structured", "auto, schema, json, none"),
    bad("unknown thinking", "--thinking=lo", "--thinking", "'low'?"),
    bad("thoughts without an end", "--thinking=500", "--thinking", "--max-tokens"),
    bad("nothing at once", "--concurrency=0", "--concurrency", "at least 1"),
    bad("retries negative", "--retries=-1", "--retries"),
    bad("no time", "--timeout=0", "--timeout"),
    bad("requests per minute", "--requests-per-minute=0", "--requests-per-minute"),
    bad("tokens per minute", "--tokens-per-minute=-5", "--tokens-per-minute"),
    bad("tokens per minute infinite", "--tokens-per-minute=inf", "--tokens-per-minute"),
    bad("no pause", "--poll-seconds=0", "--poll-seconds"),
    bad("base url", "--base-url=localhost:8000", "--base-url", "'localhost:8000'", "http://"),
    bad("port", "--base-url=http://localhost:80a/v1", "--base-url"),
    bad("password in the base url", "--base-url=http://a:b@h/v1", "--base-url", "password"),
    bad("base url of the environment", "", "OPENAI_BASE_URL", "'here'",
        env=(("OPENAI_BASE_URL", "here"),)),
    bad("no key", "", "OPENAI_API_KEY", "--base-url", env=(("OPENAI_API_KEY", None),)),
    bad("empty key", "", "OPENAI_API_KEY", env=(("OPENAI_API_KEY", ""),)),
    bad("key of two words", "", "OPENAI_API_KEY", env=(("OPENAI_API_KEY", f"{KEY} {KEY}"),)),
    other("dry run of a template", "--dataset=shop --profiler=template --dry-run", "--dry-run",
          "--profiler=openai"),
    bad("interactions without a dry run", "--interactions-file=x.tsv", "--interactions-file",
        "--dry-run"),
    bad("interactions into no folder", "--dry-run --interactions-file=no/x.tsv",
        "--interactions-file=no/x.tsv", "No such file"),
]  # fmt: skip

DATA = [
    other("unknown data set", "--dataset=shup --model=m --base-url=http://localhost:9/v1",
          "'shup'", "'shop'?"),
    other("data set elsewhere", "--dataset=shop --data-path=no --profiler=template", "'shop'",
          "data_path"),
    other("split by the training seed", "--dataset=single --profiler=template", "'single'",
          "training seed", "split_seed: 2020", "--split 3:1:1"),
    other("split by the training seed, dry run", "--dataset=single --model=m --dry-run",
          "'single'", "training seed"),
    other("ml-100k into RecBole's folder", "--dataset=ml-100k --profiler=template", "'ml-100k'",
          "--out=DIR", "--profile_dir=DIR"),
    other("ml-100k by a model", "--dataset=ml-100k --model=gpt-4o-mini", "'ml-100k'", "--out=DIR"),
    *(bad(f"{part} missing", "--profiler=template", f"shop.{part}.inter", "does not exist",
          prepare=without(f"shop.{part}.inter")) for part in ("train", "valid", "test")),
    bad("nothing in training", "--profiler=template", "'shop'", "no training interactions",
        prepare=file("dataset/shop/shop.train.inter", "user_id:token\titem_id:token\n")),
    bad("training file empty", "--profiler=template", "shop.train.inter", "cannot be read",
        prepare=file("dataset/shop/shop.train.inter")),
    bad("no item column", "--profiler=template", "shop.valid.inter", "'item_id'",
        prepare=file("dataset/shop/shop.valid.inter", "user_id:token\tmovie:token\nu\ti\n")),
    bad("ragged interactions", "--profiler=template", "shop.test.inter", "cannot be read",
        prepare=file("dataset/shop/shop.test.inter",
                     "user_id:token\titem_id:token\na\tb\nc\td\te\tf\n")),
    bad("rating a word", "--profiler=template", "'rating'",
        prepare=file("dataset/shop/shop.train.inter",
                     "user_id:token\titem_id:token\trating:float\na\tb\tgood\n")),
    bad("item table twice the same", "--profiler=template", "shop.item", "more than one row", "i1",
        prepare=file("dataset/shop/shop.item", "item_id:token\ttitle:token\ni1\ta\ni1\tb\n")),
    bad("item table without ids", "--profiler=template", "shop.item", "'item_id'",
        prepare=file("dataset/shop/shop.item", "id:token\ttitle:token\ni1\ta\n")),
    bad("item table no utf-8", "--profiler=template", "shop.item", "cannot be read",
        prepare=file("dataset/shop/shop.item", b"item_id:token\ttitle:token\ni1\t\xff\n")),
    bad("reviews no json", "--dry-run", "shop.reviews.jsonl, line 1", "JSON",
        prepare=file("dataset/shop/shop.reviews.jsonl", "u0\ti0\tnice\n")),
    bad("reviews no utf-8", "--dry-run", "shop.reviews.jsonl, line 1",
        prepare=file("dataset/shop/shop.reviews.jsonl", b"\xff\xfe\n")),
    bad("yaml of the data set", "--profiler=template", "'n_layrs'", "shop.yaml",
        prepare=file("dataset/shop/shop.yaml", "n_layrs: 3\n")),
    bad("out is a file", "--profiler=template --out=afile", "afile", prepare=file("afile")),
]  # fmt: skip

STORES = [
    other("export without out", "export --dataset=shop", "--out=FILE.jsonl"),
    other("export without a store", "export --dataset=shop --out=a.jsonl", "no store",
          "shop.store.sqlite", "recbole-darec profile"),
    other("export of nothing", "export --dataset=shop --store=empty.sqlite --out=a.jsonl",
          "empty.sqlite", "no answers yet", prepare=empty_store),
    other("export of another program's database",
          "export --dataset=shop --store=theirs.sqlite --out=a.jsonl", "theirs.sqlite",
          "another program's", prepare=another_database),
    other("export of no database", "export --dataset=shop --store=text --out=a.jsonl", "text",
          prepare=file("text", "this is no database\n" * 100)),
    bad("another program's database", "--base-url=http://127.0.0.1:9/v1 --store=theirs.sqlite",
        "theirs.sqlite", "another program's", "--store", prepare=another_database),
    bad("another program's database, dry run", "--dry-run --store=theirs.sqlite",
        "theirs.sqlite", "another program's", prepare=another_database),
    bad("a folder as store", "--base-url=http://127.0.0.1:9/v1 --store=dataset", "dataset"),
    bad("a store below a file", "--base-url=http://127.0.0.1:9/v1 --store=afile/a.sqlite",
        "afile", "cannot be made", prepare=file("afile")),
]  # fmt: skip

TABLE = [*OPTIONS, *DATA, *STORES]


def tree(folder: Path) -> dict[str, str]:
    """Every file and folder below ``folder``, with a digest of its content."""
    return {
        path.relative_to(folder).as_posix(): (
            "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in sorted(folder.rglob("*"))
    }


def arguments(row: Row) -> list[str]:
    sound = ["--dataset=shop", "--model=gpt-4o-mini"]
    return ["profile", *(a for part in row.args for a in (sound if part is ... else [part]))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the data sets, in which the command runs, with a key that nobody may see."""
    write_shop(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    return tmp_path


def is_one_line(row: Row, stdout: str, stderr: str) -> None:
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    assert stdout == ""
    for word in row.words:
        assert word in lines[0]
    assert KEY not in stderr


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name.replace(" ", "-"))
def test_bad_input_ends_in_one_line_and_writes_nothing(
    row: Row,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    row.prepare(folder)
    for name, value in row.env:
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    before = tree(folder)
    assert main(arguments(row)) == 2
    done = capfd.readouterr()
    is_one_line(row, done.out, done.err)
    assert tree(folder) == before


@pytest.mark.parametrize("name", ["no key", "unknown domain", "split by the training seed"])
def test_the_same_as_a_process(name: str, folder: Path, run_cli: RunCli) -> None:
    (row,) = (row for row in TABLE if row.name == name)
    before = tree(folder)
    done = run_cli(arguments(row), folder, {k: v or "" for k, v in row.env})
    assert done.returncode == 2
    is_one_line(row, done.stdout, done.stderr)
    assert tree(folder) == before


def test_a_missing_package_is_told_before_anything_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    before = tree(folder)
    assert main(["profile", "--dataset=shop", "--model=gpt-4o-mini"]) == 2
    assert "pip install 'recbole-darec[llm]'" in capfd.readouterr().err
    assert tree(folder) == before
    # A dry run and a template ask nobody.
    assert main(["profile", "--dataset=shop", "--model=gpt-4o-mini", "--dry-run"]) == 0
    assert main(["profile", "--dataset=shop", "--profiler=template"]) == 0


def test_what_is_bad_here_is_sound_otherwise(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The rows end as they do for what is wrong in them, and for nothing else."""
    before = tree(folder)
    assert main(["profile", "--dataset=shop", "--model=gpt-4o-mini", "--dry-run"]) == 0
    assert tree(folder) == before, "a dry run writes nothing"
    assert main(["profile", "--dataset=shop", "--profiler=template"]) == 0
    assert capfd.readouterr().err == ""
    assert set(tree(folder)) - set(before) == {
        f"dataset/shop/shop.{name}"
        for name in ("itemprofile.jsonl", "userprofile.jsonl", "profile.json")
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "dataset" / "shop").chmod(0o500)
    assert main(["profile", "--dataset=shop", "--profiler=template"]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_the_rows_differ() -> None:
    assert len(TABLE) >= 60
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert len({(row.args, row.prepare, row.env) for row in TABLE}) == len(TABLE)
