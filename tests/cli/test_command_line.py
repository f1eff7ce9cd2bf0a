"""The command line itself: help, spellings, Ctrl-C, and what it imports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SCRIPT, RunCli, command, environment

from cli.conftest import Interrupted, write_quick
from cli.test_bad_input import ARGUMENTS
from recbole_darec.alignment.registry import aligner_class, aligner_names
from recbole_darec.backbones.registry import BACKBONES, read_options
from recbole_darec.settings.options import option_names
from recbole_darec.settings.run_options import COMMON_OPTIONS
from recbole_darec.testing import TinyDataset

MODEL_AND_DATA = ("--model=LightGCN", "--dataset=tiny")


# ---- one parser, three spellings -------------------------------------------------------------


def _spellings(args: list[str]) -> dict[str, list[str]]:
    found = {
        "script": [sys.executable, str(SCRIPT), *args],
        "sub-command": command(["train", *args]),
        "no sub-command": command(args),
    }
    console = Path(sys.executable).with_name("recbole-darec")
    if console.is_file():
        found["console script"] = [str(console), *args]
    return found


@pytest.mark.parametrize(
    "args",
    [
        ["--model=LightGNC"],
        ["--model", "LightGCN", "--dataset", "tyny"],
        [*MODEL_AND_DATA, "--n_centres=5"],
        [*MODEL_AND_DATA, "--config_files=none.yaml"],
        [*MODEL_AND_DATA, "--resume", "--topk=[0]"],
    ],
    ids=" ".join,
)
def test_the_three_spellings_are_one_command(tiny_dataset: TinyDataset, args: list[str]) -> None:
    answers = {}
    for name, argv in _spellings(args).items():
        done = subprocess.run(
            argv,
            cwd=tiny_dataset.data_path.parent,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        answers[name] = (done.returncode, done.stdout, done.stderr)
    assert answers["script"][0] == 2
    assert set(answers.values()) == {answers["script"]}, answers


def test_the_script_and_the_sub_command_train_the_same_model(
    tmp_path: Path, run_cli: RunCli, run_warm: RunCli
) -> None:
    write_quick(tmp_path / "dataset")
    table = r"^metric .*?(?=\n\n)"
    tables = []
    script = run_cli(MODEL_AND_DATA, tmp_path, script=True)
    for done in (script, run_warm(["train", *MODEL_AND_DATA], tmp_path)):
        assert done.returncode == 0, done.stderr
        tables.append(re.search(table, done.stdout, re.S | re.M)[0])  # type: ignore[index]
        saved = re.search(r"best epoch 0, model in (\S+)", done.stdout)
        assert saved
        assert (tmp_path / saved[1]).is_file()
    assert tables[0] == tables[1]
    assert "recall@20" in tables[0]
    assert tables[0].splitlines()[0].split() == ["metric", "valid", "test"]


def test_the_console_script_is_declared() -> None:
    text = (SCRIPT.parent / "setup.py").read_text(encoding="utf-8")
    assert "recbole-darec=recbole_darec.cli:main" in text


# ---- help ------------------------------------------------------------------------------------


def test_the_help_of_train_lists_every_option_of_ours(tmp_path: Path, run_cli: RunCli) -> None:
    for script, args in ((True, ["--help"]), (True, ["-h"]), (False, ["train", "--help"])):
        done = run_cli(args, tmp_path, script=script)
        assert (done.returncode, done.stderr) == (0, "")
        groups = [*COMMON_OPTIONS, *(aligner_class(name).Options for name in aligner_names())]
        groups += map(read_options, BACKBONES.values())
        shown = set(re.findall(r"^\s*--(\w+)", done.stdout, re.M))
        assert set(option_names(*groups)) | {"model", "dataset", "config_files"} <= shown
        assert "n_centers= [5]" in done.stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], ["train", "evaluate", "import"]),
        (["--help"], ["train", "evaluate", "import", "--version"]),
        (["evaluate", "--help"], ["CHECKPOINT", "--option=value"]),
        (["import", "--help"], ["rlmrec", "table"]),
        (["import", "table", "--help"], ["--interactions", "--user-embeddings", "--split"]),
        (["import", "rlmrec", "--help"], ["--source", "--dataset"]),
        (["prepare", "--help"], ["amazon", "yelp", "steam", "movielens"]),
        (["prepare", "steam", "--help"], ["--raw", "--k-core", "--max-faults"]),
        (["profile", "--help"], ["--dry-run", "--max-cost", "--profiler", "export"]),
        (["embed", "--help"], ["--encoder", "--ray-address", "--dtype"]),
        (["--version"], ["recbole_darec 0."]),
    ],
    ids=lambda value: " ".join(value) or "nothing",
)
def test_help_and_version(
    tmp_path: Path, run_warm: RunCli, args: list[str], words: list[str]
) -> None:
    done = run_warm(args, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for word in words:
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_hyphens_and_underscores_are_one_option(tmp_path: Path, run_cli: RunCli) -> None:
    """Whoever comes from ``train --data_path=DIR`` shall not have to think."""
    for args in (["--data_path=a_b", "--base_url", "x_y"], ["--data-path=a_b", "--base-url=x_y"]):
        done = run_cli(["profile", "--dataset=d_e", "--model=m", *args], tmp_path)
        assert done.returncode == 2
        assert "--base-url" in done.stderr
        assert "'x_y'" in done.stderr


_WITHOUT_HEAVY_IMPORTS = """
import contextlib, io, json, sys
from recbole_darec.cli import main

for arguments in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main(arguments)
        except SystemExit:
            pass
    heavy = {"torch", "recbole", "pandas", "scipy", "ray", "tensorboard", "openai", "tiktoken"}
    heavy &= set(sys.modules)
    assert not heavy, (arguments, heavy)
"""


def test_help_and_argument_errors_import_neither_torch_nor_recbole(
    tiny_dataset: TinyDataset,
) -> None:
    """This, and not the clock, is what makes them answer at once."""
    helps = [["train", "--help"], ["--help"], ["import", "table", "--help"], ["--version"], []]
    helps += [["prepare", "amazon", "--help"], ["profile", "--help"], ["embed", "--help"]]
    errors = [
        [arg for part in row.args for arg in (MODEL_AND_DATA if part is ... else [part])]
        for row in ARGUMENTS
    ]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_HEAVY_IMPORTS],
        input=json.dumps([*helps, *errors_without_files(errors)]),
        cwd=tiny_dataset.data_path.parent,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def errors_without_files(errors: list[list[str]]) -> list[list[str]]:
    """Leave out what is only an error with a file that its row prepares."""
    return [e for e in errors if "--config_files=a.yaml" not in e and "--n_centers=5" not in e[2:3]]


def test_a_reader_who_has_gone_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(["train", "--help"]),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    stderr = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert stderr == ""


# ---- Ctrl-C ----------------------------------------------------------------------------------


def test_ctrl_c_ends_cleanly_and_keeps_the_best_model(
    interrupted: Interrupted, run_warm: RunCli
) -> None:
    assert interrupted.returncode == 130
    assert "Traceback" not in interrupted.stderr
    lines = interrupted.stderr.splitlines()
    assert lines[-1] == "interrupted"
    assert any(f"'saved/{interrupted.checkpoint.name}'" in line for line in lines[-3:])
    assert any("--resume" in line for line in lines[-3:])
    # Whole files only, and the best model loads in another process.
    names = {path.name for path in (interrupted.folder / "saved").iterdir()}
    assert names == {interrupted.checkpoint.name, interrupted.snapshot.name}
    done = run_warm(["evaluate", str(interrupted.checkpoint)], interrupted.folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^recall@20 +0\.\d{4} +0\.\d{4}$", done.stdout, re.M)
