"""``recbole-darec compare`` by its command line, in real processes that are killed."""

from __future__ import annotations

import csv
import io
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RunCli, command, environment

from recbole_darec.cli.main import main
from recbole_darec.data.files import file_digest
from recbole_darec.studies.outcome import Outcome, Task
from recbole_darec.studies.plan import make_plan
from recbole_darec.studies.resolved import Resolver
from recbole_darec.studies.results import open_results, read_results
from recbole_darec.studies.runner import run_study
from recbole_darec.studies.study import Study, read_study
from recbole_darec.testing.tiny_runs import outcome
from studies.in_this_process import InThisProcess

Write = Callable[..., Path]
# Long enough to be killed in the middle.
LONG = {
    "epochs": 120,
    "stopping_step": 120,
    "eval_step": 40,
    "embedding_size": 8,
    "n_layers": 1,
    "train_batch_size": 64,
    "metrics": ["Recall", "NDCG"],
    "topk": [10],
}
ONE = {"aligners": ["none"], "variants": None, "seeds": [1]}


def runs_in(folder: Path, name: str = "tiny") -> dict[str, tuple[str, str]]:
    """State and time of the end of each run by key."""
    path = folder / "studies" / name / "results.sqlite"
    if not path.is_file():
        return {}
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)
    try:
        rows = connection.execute("SELECT key, state, ended FROM runs").fetchall()
    except sqlite3.OperationalError:  # killed before it had a table
        return {}
    finally:
        connection.close()
    return {key: (state, ended) for key, state, ended in rows}


def until(folder: Path, wanted: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 240
    while not wanted():
        assert time.monotonic() < deadline, runs_in(folder)
        time.sleep(0.02)


def started(study: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(["compare", study.name, *more]),
        cwd=study.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def snapshots(folder: Path) -> list[Path]:
    return list((folder / "studies" / "tiny" / "runs").glob("*/*.resume"))


def test_a_killed_driver_goes_on_and_repeats_nothing(
    write_study: Write, tmp_path: Path, run_warm: RunCli
) -> None:
    """Killed while the second run is under way; the run that follows is as one never killed."""
    one = read_study(str(write_study(**ONE, common=LONG)))
    folder = tmp_path / "studies" / "tiny"
    folder.mkdir(parents=True)
    with open_results(folder / "results.sqlite") as store:
        assert run_study(one, store, InThisProcess(), folder / "runs") == []
    study = write_study(aligners=["none"], variants=None, common=LONG)
    first = started(study)
    until(tmp_path, lambda: snapshots(tmp_path))
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    before = runs_in(tmp_path)
    assert sorted(state for state, _ in before.values()) == ["done", "running"]
    (done,) = (key for key, (state, _) in before.items() if state == "done")

    again = run_warm(["compare", study.name, "--form=csv"], tmp_path)
    assert again.returncode == 0, again.stderr
    after = runs_in(tmp_path)
    assert {state for state, _ in after.values()} == {"done"}
    assert after[done] == before[done]
    (other,) = after.keys() - {done}
    log = (tmp_path / "studies" / "tiny" / "runs" / other / "run.log").read_text()
    assert "Resuming" in log

    # The same options by themselves: the same metrics to the last digit.
    from recbole_darec import run_recbole_darec

    with read_results(tmp_path / "studies" / "tiny" / "results.sqlite") as store:
        row = store.rows()[other]
        curve = store.curve(row)
        users = store.users(row)
    here = outcome(
        run_recbole_darec("LightGCN", "tiny", config_dict={
            **LONG, "align": "none", "valid_metric": "Recall@10", "seed": row.seed,
            "num_threads": 1, "show_progress": False,
        })
    )  # fmt: skip
    assert row.test == {name: float(value) for name, value in here["test_result"].items()}
    assert row.best_epoch == here["best_epoch"]
    assert [one["epoch"] for one in curve] == list(range(120))
    assert users is not None
    assert users["recall@10"].mean() == pytest.approx(row.test["recall@10"], abs=1e-6)
    assert row.groups["users"]["cold"]["n"] > 0


@pytest.mark.slow
def test_a_killed_worker_is_begun_again_by_itself(write_study: Write, tmp_path: Path) -> None:
    study = write_study(**ONE, common=LONG)
    driver = started(study)
    until(tmp_path, lambda: snapshots(tmp_path))
    (worker,) = children(driver.pid)
    os.kill(worker, signal.SIGKILL)
    text, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, text
    assert "its process was ended by signal 9; it goes on" in text
    assert "1 of 1 runs done" in text


def children(pid: int) -> list[int]:
    """The workers of a driver."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.is_file():
        pytest.skip("needs /proc/PID/task/PID/children")
    return [int(child) for child in path.read_text().split()]


def test_one_bad_run_stops_no_other(write_study: Write, tmp_path: Path, run_warm: RunCli) -> None:
    bad = {"wrong": {"align": "none", "set": {"n_layers": -1}},
           "nan": {"align": "none", "set": {"reg_weight": 1e39}}}  # fmt: skip
    study = write_study(**{**ONE, "variants": bad})
    done = run_warm(["compare", study.name, "--jobs=2"], tmp_path)
    assert done.returncode == 3
    assert "| LightGCN | none | 0." in done.stdout
    assert "failed: tiny LightGCN none wrong, seed 1: n_layers=-1 must be at least" in done.stderr
    assert "LightGCN none nan, seed 1: the training loss is not finite" in done.stderr
    assert "2 runs failed; --retry-failed does them again" in done.stderr
    (log,) = (line.rpartition("log: ")[2] for line in done.stderr.splitlines() if "; log: " in line)
    assert "not finite" in Path(log).read_text()
    states = runs_in(tmp_path)
    again = run_warm(["compare", study.name], tmp_path)
    assert again.returncode == 3
    assert runs_in(tmp_path) == states  # nothing was done again


@pytest.mark.slow
def test_what_trains_alike_is_trained_once_and_comes_out_the_same(
    write_study: Write, tmp_path: Path, run_cli: RunCli
) -> None:
    tables = []
    for name, aligners in (("shared", ["none", "text_filter"]), ("each", ["text_filter"])):
        study = write_study(
            name=name, aligners=aligners, base=aligners[0], seeds=[1], variants=None
        )
        done = run_cli(["compare", study.name, "--form=csv", "--jobs=2"], tmp_path)
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        tables.append({r["metric"]: (r["mean"], r["chosen"]) for r in rows
                       if r["method"] == "text_filter"})  # fmt: skip
    assert tables[0] == tables[1]
    logs = [p.read_text() for p in (tmp_path / "studies" / "shared" / "runs").glob("*/run.log")]
    assert sorted("Taking the training of" in log for log in logs) == [False, True]
    assert not list((tmp_path / "studies").rglob("*.pth"))


def test_the_first_run_of_a_study_reads_its_data_once(
    write_study: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def digest(path: Path) -> str:
        read.append(path.name)
        return file_digest(path)

    for module in ("results", "command"):
        name = f"recbole_darec.studies.{module}.file_digest"
        monkeypatch.setattr(name, digest, raising=False)
    monkeypatch.setattr("recbole_darec.studies.command.LocalProcesses", lambda _: InThisProcess())
    study = write_study(**ONE)
    assert main(["compare", str(study)]) == 0
    assert sorted(read) == [f"tiny.{part}.inter" for part in ("test", "train", "valid")]
    assert main(["compare", str(study)]) == 0
    assert len(read) == 3


@pytest.mark.parametrize(
    ("changed", "arguments", "line"),
    [
        ({"metrc": "x"}, [], "unknown key 'metrc' (did you mean 'metric'?)"),
        ({"metric": "Recall@50"}, [], "valid_metric 'Recall@50' is not among topk=[5, 10]"),
        ({"report": ["hit@10"]}, [], "the metric 'hit@10' is not computed"),
        (
            {"common": {"epoch": 3}},
            [],
            "unknown option 'epoch' in the study (did you mean 'epochs'?)",
        ),
        ({"datasets": ["nonesuch"]}, [], "unknown data set 'nonesuch'"),
        ({}, ["--table"], "there are no results yet"),
        ({}, ["--table", "--retry-failed"], "--retry-failed runs something, and --table nothing"),
        ({}, ["--out=table.doc"], "end it in .md, .csv or .tex"),
        ({}, ["--out=.", "--form=csv"], "--out=. is a folder: name a file in it"),
        ({}, ["--metric=hit@10"], "the metric 'hit@10' is not computed"),
        ({}, ["--jobs=0"], "--jobs=0 must be at least 1"),
        ({}, ["--ray-address=127.0.0.1:9"], "no Ray cluster at '127.0.0.1:9'"),
    ],
)
def test_bad_input_is_one_line(
    write_study: Write,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, Any],
    arguments: list[str],
    line: str,
) -> None:
    path = write_study(**changed)
    before = sorted(path.parent.rglob("*"))
    assert main(["compare", str(path), *arguments]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert sorted(path.parent.rglob("*")) == before  # not even an empty store


def test_an_impossible_run_stays_failed_when_failed_runs_are_done_again(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    study = make_study(**{**ONE, "variants": {"wrong": {"set": {"n_layers": -1}}}})
    made: list[str] = []

    class Made:
        """An executor whose runs fail once, and succeed when they are done again."""

        def free(self) -> int:
            return 1

        def start(self, task: Task) -> None:
            self.task = task

        def ended(self) -> list[tuple[Task, Outcome | str]]:
            made.append(self.task.key)
            if len(made) == 1:
                return [(self.task, Outcome("failed", "no memory"))]
            return [(self.task, Outcome("done", valid={"recall@10": 0.1}))]

        def close(self) -> None:
            pass

    def failed(*, again: bool) -> list[str]:
        with open_results(tmp_path / "s.sqlite") as store:
            found = run_study(study, store, Made(), tmp_path / "runs", retry_failed=again)
        return [reason for _, reason, _ in found]

    impossible = "n_layers=-1 must be at least 0"
    assert failed(again=False) == ["no memory", impossible]
    assert failed(again=False) == ["no memory", impossible]
    assert failed(again=True) == failed(again=False) == [impossible]
    assert len(made) == 2


def test_a_run_that_a_killed_driver_left_begins_beside_the_others(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    study = make_study(**{**ONE, "seeds": [1, 2]})
    together: list[int] = []

    class Two:
        """An executor of two runs at a time."""

        def __init__(self) -> None:
            self.tasks: list[Task] = []

        def free(self) -> int:
            return 2 - len(self.tasks)

        def start(self, task: Task) -> None:
            self.tasks.append(task)

        def ended(self) -> list[tuple[Task, Outcome | str]]:
            together.append(len(self.tasks))
            return [(self.tasks.pop(), Outcome("done", valid={"recall@10": 0.1}))]

        def close(self) -> None:
            pass

    with open_results(tmp_path / "s.sqlite") as store:
        first, _ = make_plan(study, Resolver(study.folder, store.digest_of), {}).runs
        store.add({"key": first.key, "dataset": "tiny", "model": "LightGCN", "align": "none",
                   "seed": 1, "options": {}, "data": "", "state": "running"})  # fmt: skip
        assert not run_study(study, store, Two(), tmp_path / "runs")
    assert together == [2, 1]


def test_what_another_version_has_done_is_said_and_shown_where_asked(
    make_study: Callable[..., Study], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(**ONE)
    with open_results(tmp_path / "s.sqlite") as store:
        store.version = "0.0.9"
        (run,) = make_plan(study, Resolver(study.folder, store.digest_of), {}).runs
        store.add({"key": run.key, "dataset": "tiny", "model": "LightGCN", "align": "none",
                   "seed": 1, "options": {}, "data": "", "state": "running"})  # fmt: skip
        metrics = {"recall@10": 0.25, "ndcg@10": 0.125}
        store.finish(run.key, Outcome("done", None, metrics, metrics, 1, seconds=1.0), "now")
    show = ["compare", "study.yaml", "--store=s.sqlite"]
    for what in ([], ["--table"], ["--figures"], ["--html=a.html"]):
        assert main([*show, *what]) == 2
        error = capsys.readouterr().err
        assert "has 1 run by version 0.0.9" in error
        assert error.count("\n") == 1
    show += ["--table", "--other-version=reuse"]
    assert main(show) == 0
    assert "| LightGCN | none | 0.2500 |" in capsys.readouterr().out
    assert main([*show, "--metric=NDCG@10,recall@10"]) == 0
    assert "| LightGCN | none | 0.1250 | 0.2500 |" in capsys.readouterr().out


def test_a_data_set_without_profiles_is_one_line(
    write_study: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = {"other": {"align": "text_filter", "set": {"profile_dir": "nowhere"}}}
    assert main(["compare", str(write_study(variants=elsewhere))]) == 2
    error = capsys.readouterr().err
    assert "profile_dir=nowhere holds no profile embeddings, and model=LightGCN" in error
    assert error.count("\n") == 1
    for path in (tmp_path / "dataset" / "tiny").glob("*emb*"):
        path.unlink()
    assert main(["compare", str(write_study(aligners=["none", "darec"], variants=None))]) == 2
    error = capsys.readouterr().err
    assert "'tiny' has no profile embeddings, and model=LightGCN with align=darec" in error
    assert error.count("\n") == 1


def test_a_store_that_is_none_of_ours_or_of_another_format_is_one_line(
    write_study: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = str(write_study())
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE a (b)")
    with sqlite3.connect(tmp_path / "new.sqlite") as connection:
        connection.execute(f"PRAGMA application_id = {0x44615263}")
        connection.execute("PRAGMA user_version = 99")
    for name, line in (("other", "another program's database"), ("new", "of format 99")):
        assert main(["compare", study, f"--store={tmp_path / name}.sqlite"]) == 2
        assert line in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["compare", study, f"--store={tmp_path / 'file' / 's.sqlite'}"]) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_read_only_store_is_one_line(
    write_study: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = str(write_study())
    store = tmp_path / "s.sqlite"
    sqlite3.connect(store).close()
    store.chmod(0o444)
    if os.access(store, os.W_OK):
        pytest.skip("this user may write everything")
    assert main(["compare", study, f"--store={store}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_store_that_sqlite_may_not_write_is_one_line(
    write_study: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As above, for a user who may write everything."""
    study, connect = str(write_study()), sqlite3.connect
    sqlite3.connect(tmp_path / "s.sqlite").close()
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **more: connect(f"file:{path}?mode=ro", uri=True, **more)
    )
    assert main(["compare", study, f"--store={tmp_path / 's.sqlite'}"]) == 2
    error = capsys.readouterr().err
    assert "cannot be written: name another place with --store" in error
    assert error.count("\n") == 1


def test_runs_of_other_stores_are_taken(
    make_study: Callable[..., Study], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(aligners=["none"], variants=None)  # two runs, of two seeds
    users = {"users": np.arange(3, dtype=np.int32), "trained": np.ones(3, np.int32)}
    for n, name in enumerate("ab"):
        with open_results(tmp_path / f"{name}.sqlite") as store:
            runs = make_plan(study, Resolver(study.folder, store.digest_of), {}).runs
            for run in runs:
                store.add({"key": run.key, "dataset": "tiny", "model": "LightGCN", "align": "none",
                           "seed": run.trial.seed, "options": {}, "data": "", "log": "l",
                           "state": "running"})  # fmt: skip
            metrics = {"recall@10": 0.25 + n / 4, "ndcg@10": 0.125}
            done = Outcome("done", None, metrics, metrics, 1, seconds=1.0, model_file="m",
                           users={**users, "recall@10": np.full(3, 0.5, np.float32)})  # fmt: skip
            store.finish(runs[n].key, done, "now")
    show = ["compare", "study.yaml", "--store=s.sqlite", "--table"]
    assert main([*show, "--take-from=a.sqlite"]) == 0
    told = capsys.readouterr()
    assert "1 finished runs taken from a.sqlite" in told.err
    assert "| LightGCN | none (1 of 2 seeds) | 0.2500 |" in told.out
    assert main(["compare", "study.yaml", "--store=s.sqlite", "--take-from=a.sqlite,b.sqlite"]) == 0
    told = capsys.readouterr()
    assert "0 finished runs taken from a.sqlite" in told.err
    assert "1 finished runs taken from b.sqlite" in told.err
    assert "| LightGCN | none | 0.3750 " in told.out
    with read_results(tmp_path / "s.sqlite") as store:
        for row in store.rows().values():
            assert (row.state, row.log, row.model_file) == ("done", None, None)
            found = store.users(row)
            assert found is not None
            assert found["recall@10"].tolist() == [0.5, 0.5, 0.5]


def test_other_stores_that_are_none_are_one_line_and_nothing_is_taken(
    write_study: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = str(write_study(**ONE))
    with open_results(tmp_path / "good.sqlite"):
        pass
    (tmp_path / "text.sqlite").write_text("a, b")
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE a (b)")
    for given, said in (
        ("none.sqlite", "--take-from: there is no file none.sqlite"),
        ("text.sqlite", "text.sqlite cannot be read"),
        ("other.sqlite", "other.sqlite cannot be read"),
    ):
        take = [study, "--store=s.sqlite", f"--take-from=good.sqlite,{given}"]
        for more in ([], ["--table"]):
            assert main(["compare", *take, *more]) == 2
            error = capsys.readouterr().err
            assert said in error.splitlines()[-1]
            assert "Traceback" not in error
        assert not (tmp_path / "s.sqlite").exists()
