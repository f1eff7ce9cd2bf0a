"""``--nproc=N`` and torchrun: real processes, and what becomes of a run that loses one."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import RunCli, command, environment

from recbole_darec import run_recbole_darec
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import make_data_and_model, train
from recbole_darec.settings.processes import Place
from recbole_darec.testing.tiny_dataset import write_tiny
from recbole_darec.testing.tiny_runs import options, outcome
from recbole_darec.training import machine
from recbole_darec.training.parallel import joined
from recbole_darec.training.processes import Machine, train_together
from recbole_darec.training.watch import Watch

EPOCHS = 8
MANY_EPOCHS = 30  # of a run that is killed: it must not have ended by then


def arguments(**changed: Any) -> list[str]:
    given = {**options(Path("dataset")), "epochs": EPOCHS, **changed}
    told = [f"--{name}={json.dumps(value)}" for name, value in given.items()]
    return ["train", "--model=LightGCN", "--dataset=tiny", *[t.replace('"', "") for t in told]]


def files_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def as_of_one(folder: Path, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    given = options(Path("dataset"), **{"epochs": EPOCHS, **changed})
    return run_recbole_darec("LightGCN", "tiny", None, given)


def test_a_rank_that_is_killed_ends_the_run_which_one_goes_on_with(
    tiny_dataset: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {"epochs": MANY_EPOCHS, "stopping_step": MANY_EPOCHS}
    with (tmp_path / "told").open("wb") as told:
        process = subprocess.Popen(
            command(arguments(nproc=2, **many)),
            cwd=tmp_path,
            env=environment(),
            stdout=told,
            stderr=told,
        )
    until = time.monotonic() + 240
    while not list(tmp_path.glob("saved/*.resume")) and time.monotonic() < until:
        time.sleep(0.01)
    text = (tmp_path / "told").read_text()
    first, second = map(int, re.findall(r"by Gloo: (\d+), (\d+)", text)[0])
    os.kill(second, signal.SIGKILL)
    assert process.wait(120) == 2
    *_, last = (tmp_path / "told").read_text().splitlines()
    assert last == (
        "error: rank 1 of 2 was ended by signal 9 (SIGKILL): give the same command with --resume "
        "to go on from the last snapshot, on any number of processes"
    )
    assert "Traceback" not in (tmp_path / "told").read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    resumed = as_of_one(tmp_path, monkeypatch, resume=True, **many)
    logs = "".join(p.read_text() for p in tmp_path.rglob("*.log"))
    assert "Resuming 'saved/" in logs
    whole = as_of_one(tmp_path, monkeypatch, **many)
    assert outcome(resumed)["best_epoch"] == outcome(whole)["best_epoch"]
    assert resumed["test_result"] == pytest.approx(whole["test_result"], rel=1e-5)
    assert files_of(tmp_path / "saved") == sorted(
        Path(result["model_file"]).name for result in (resumed, whole)
    )


# ---- bad input -------------------------------------------------------------------------------


def settings(folder: Path, name: str = "dataset", **changed: Any) -> Any:
    return resolve("LightGCN", "tiny", None, options(folder / name, **changed))


def differing(place: Place, folder: Path) -> list[str]:
    """What ends runs of two ranks: other data, other options, a file that one of them has not."""
    os.chdir(folder)
    told = []
    with joined(place):
        for name, changed in (
            ("other" if place.rank else "dataset", {}),
            ("dataset", {"learning_rate": 0.01 * (1 + place.rank)}),
            ("dataset", {"user_profile_file": "none" if place.rank else None}),
        ):
            try:
                train(settings(folder, name, **changed))
            except (Exception, SystemExit) as error:
                told.append(f"{type(error).__name__}: {error}")
    return told


@pytest.mark.slow
def test_ranks_with_other_data_or_options_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    write_tiny(tmp_path / "dataset")
    write_tiny(tmp_path / "other")
    path = tmp_path / "other" / "tiny" / "tiny.train.inter"
    path = path if path.is_file() else next((tmp_path / "other" / "tiny").glob("*.inter"))
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    before = files_of(tmp_path)
    data, learning_rate, missing = train_together(Machine(2), differing, (tmp_path,))
    assert re.fullmatch(
        r"UserError: there are other data or options on rank 1 than on rank 0: data: tiny with "
        r"60 users, .* \(\w+\), and data: tiny .*",
        data,
    )
    assert "options: " in learning_rate
    assert missing.startswith("UserError: rank 1 of 2: ")
    assert "none" in missing
    assert [name for name in files_of(tmp_path) if name not in before] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nproc": 0}, "nproc=0 must be at least 1"),
        (
            {"world_size": 2, "nproc": 2, "group_offset": 1},
            "world_size=2 is less than group_offset=1",
        ),
        ({"group_offset": 1}, "group_offset=1 goes with world_size"),
        ({"world_size": 4, "nproc": 2}, "needs the port on which the machines meet"),
    ],
)
def test_numbers_that_do_not_go_together(
    given: dict[str, Any], message: str, tiny_dataset: object, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=message):
        train(settings(tmp_path, **given))


def test_a_port_in_use(
    tiny_dataset: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = files_of(tmp_path)
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OptionError, match=f"port={port}: .* in use .* leave it out"):
            train(settings(tmp_path, nproc=2, port=port))
    assert files_of(tmp_path) == before


def test_more_than_the_gpus(
    tiny_dataset: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "gpu_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(OptionError, match=r"nproc=3 is more than the GPUs there are \(0, 1\)"):
        machine.machine_of(settings(tmp_path, nproc=3))
    with pytest.raises(OptionError, match=r"nproc=2 is more than the GPUs there are \(1\)"):
        machine.machine_of(settings(tmp_path, nproc=2, gpu_id=1))
    assert machine.machine_of(settings(tmp_path, nproc=3, use_gpu=False)) is not None
    place = Place(1, 2, 1, 2, "localhost", 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    assert machine.gpu_of(place, settings(tmp_path)) == os.environ["CUDA_VISIBLE_DEVICES"] == "5"


def test_what_one_process_does_takes_no_nproc(tiny_dataset: object, tmp_path: Path) -> None:
    given = options(tmp_path / "dataset", nproc=2)
    with pytest.raises(OptionError, match="nproc has no effect here"):
        make_data_and_model("LightGCN", "tiny", None, given)
    with pytest.raises(OptionError, match="a study has processes of its own"):
        train(settings(tmp_path, nproc=2), watch=Watch())


def test_torchrun_has_the_last_word(
    tiny_dataset: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": 1}
    for name, value in {**told, "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(OptionError, match="torchrun has started 2 processes here and 2 in all"):
        train(settings(tmp_path, nproc=3))


# ---- the ways to start it --------------------------------------------------------------------


@pytest.mark.slow
def test_each_way_to_start_it_gives_the_same(
    tiny_dataset: object, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = as_of_one(tmp_path, monkeypatch)
    script = run_cli([*arguments(nproc=2)[1:], "--json"], tmp_path, script=True)
    assert script.returncode == 0, script.stderr
    (line,) = script.stdout.splitlines()
    found = json.loads(line)
    assert found["test_result"] == pytest.approx(whole["test_result"], rel=1e-5)
    assert Path(found["log_file"]).is_file()
    assert len(list((tmp_path / "log").rglob("*.log"))) == 2

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ran = subprocess.run(
        [*torchrun, "-m", "recbole_darec", *arguments(), "--json"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stdout.splitlines()
    assert json.loads(line)["test_result"] == pytest.approx(whole["test_result"], rel=1e-5)
    assert len(list((tmp_path / "log").rglob("*.log"))) == 3

    from_python = as_of_one(tmp_path, monkeypatch, nproc=2)
    assert from_python["test_result"] == pytest.approx(whole["test_result"], rel=1e-5)


@pytest.mark.slow
def test_two_machines(
    tiny_dataset: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
    started = [
        subprocess.Popen(
            [*command(arguments(world_size=2, group_offset=n, port=port)), "--json"],
            cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True,
        )
        for n in range(2)
    ]  # fmt: skip
    lines = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    found = json.loads(lines[0])
    whole = as_of_one(tmp_path, monkeypatch)
    assert found["test_result"] == pytest.approx(whole["test_result"], rel=1e-5)


@pytest.mark.slow
def test_ctrl_c_ends_all_and_keeps_the_run(tiny_dataset: object, tmp_path: Path) -> None:
    with (tmp_path / "told").open("wb") as told:
        process = subprocess.Popen(
            command(arguments(nproc=2, epochs=2000, stopping_step=2000)),
            cwd=tmp_path, env=environment(), stdout=told, stderr=told,
        )  # fmt: skip
    until = time.monotonic() + 240
    while not list(tmp_path.glob("saved/*.resume")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    text = (tmp_path / "told").read_text()
    assert text.splitlines()[-1] == "interrupted"
    assert "The same command with --resume goes on with this run" in text
    assert "Traceback" not in text
    for pid in map(int, re.findall(r"by Gloo: (\d+), (\d+)", text)[0]):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
