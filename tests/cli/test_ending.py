"""How commands end, those of the package and the benchmarks'."""

from __future__ import annotations

import logging
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from recbole_darec.cli.ending import exit_code
from recbole_darec.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = (REPOSITORY / "benchmarks", REPOSITORY / "docs" / "results")


def raising(error: BaseException) -> int:
    def command() -> NoReturn:
        raise error

    return exit_code(command)


@pytest.mark.parametrize(("returned", "expected"), [(None, 0), (0, 0), (3, 3)])
def test_a_command_that_ends_gives_its_own_code(returned: int | None, expected: int) -> None:
    assert exit_code(lambda: returned) == expected


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no such thing;\nsee there"), "error: no such thing; see there"),
        (
            FileNotFoundError(2, "No such file or directory", "x.csv"),
            "error: No such file or directory 'x.csv'; check the name",
        ),
        (
            OSError(28, "No space left on device", "x.csv"),
            "error: No space left on device 'x.csv'; free room or choose another folder",
        ),
        (
            RuntimeError("[enforce fail] can't allocate memory\nmore"),
            "error: out of memory; lower align_sample, train_batch_size, eval_block_mb or the "
            "widths ([enforce fail] can't allocate memory)",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_code_2(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == 2
    assert capsys.readouterr().err == f"{line}\n"


def test_ctrl_c_is_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_fault_of_the_program_is_raised() -> None:
    with pytest.raises(RuntimeError, match="a fault"):
        raising(RuntimeError("a fault"))


@pytest.fixture
def own_process() -> Iterator[None]:
    """Undo what a benchmark sets for its whole process."""
    threads, path = torch.get_num_threads(), list(sys.path)
    yield
    logging.disable(logging.NOTSET)
    torch.set_num_threads(threads)
    sys.path[:] = path


@pytest.mark.usefixtures("own_process")
@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("backbone_epochs.py --dataset nonesuch", "unknown data set 'nonesuch'"),
        ("epoch_time.py --dataset nonesuch", "has no split files nonesuch.*.inter"),
        ("pair_times.py --dataset nonesuch", "has no split files nonesuch.*.inter"),
        ("profile_signal.py --dataset nonesuch", "nonesuch.train.inter'; check the name"),
        ("stack_equality.py compare nonesuch.csv x.csv", "'nonesuch.csv'; check the name"),
        ("cold_items.py --dataset nonesuch --out x", "unknown data set 'nonesuch'"),
        ("darec_frozen.py --dataset nonesuch --out x", "unknown data set 'nonesuch'"),
        ("stored_rows.py paper_base nonesuch.csv --store x", "No such file or directory 'nonesuch"),
        ("prime_pantry.py --source nonesuch --out x", "metadata_Prime_Pantry.csv'; check the name"),
        ("embed_throughput.py --profiles nonesuch.jsonl", "cannot read nonesuch.jsonl"),
    ],
)  # fmt: skip
def test_a_benchmark_tells_bad_input_as_the_commands_do(
    command: str,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, *arguments = command.split()
    monkeypatch.chdir(tmp_path)
    (folder,) = (folder for folder in SCRIPTS if (folder / name).is_file())
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(folder / name), run_name="__main__")
    assert ended.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1, told
    assert told[0].startswith("error: ")
    assert line in told[0]
    assert not list(tmp_path.iterdir())
