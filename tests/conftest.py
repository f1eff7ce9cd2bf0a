"""What several test modules share: the tiny data set, and the command line run as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hypothesis import settings
from warm import run_command

from recbole_darec.testing.tiny_dataset import TinyDataset, write_tiny

# The first call of a PyTorch operation loads libraries, which takes longer than any deadline.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# A shell lets what it runs in the background ignore Ctrl-C; every process started here would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPT = REPOSITORY / "run_recbole_darec.py"


@pytest.fixture
def tiny_dataset(tmp_path: Path) -> TinyDataset:
    """The tiny data set in ``tmp_path/dataset``, where a run in ``tmp_path`` looks for it."""
    return write_tiny(tmp_path / "dataset")


@pytest.fixture(scope="session")
def make_tiny() -> Callable[[Path], TinyDataset]:
    """:func:`write_tiny`, for fixtures of a wider scope."""
    return write_tiny


def command(args: Sequence[str], *, script: bool = False) -> list[str]:
    """The command line of ``recbole-darec ARGS``, or of ``run_recbole_darec.py ARGS``."""
    start = [str(SCRIPT)] if script else ["-m", "recbole_darec"]
    return [sys.executable, *start, *map(str, args)]


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of such a process: this working tree's package, one thread."""
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(env or {})}


RunCli = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="session")
def run_cli() -> RunCli:
    """``run_cli(args, cwd, env=None, script=False, timeout=300)``: one finished process."""

    def run(
        args: Sequence[str],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        *,
        script: bool = False,
        timeout: float = 300,
    ) -> CompletedProcess[str]:
        return subprocess.run(
            command(args, script=script),
            cwd=cwd,
            env=environment(env),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture(scope="session")
def run_warm() -> RunCli:
    """``run_warm(args, cwd, timeout=300)``: the same, forked with the package imported."""

    def run(args: Sequence[str], cwd: Path, timeout: float = 300) -> CompletedProcess[str]:
        return run_command(args, cwd, environment(), timeout)

    return run


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the repository."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder.name}/ beside the repository")
    return folder
