"""Clean processes that need not import the package first.

They are forked from a server that has imported it and nothing else: as fresh as a new interpreter,
without its seconds of imports.  What is about these, or about the start, wants a process of its
own.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

__all__ = ["begin", "begin_command", "run_command"]

# PyTorch imports _dynamo when an optimiser is made, which takes seconds.
_PRELOADED = ["recbole_darec.run", "recbole_darec.backbones.lightgcn", "torch._dynamo", "tiny_runs"]


def begin(task: Callable[..., Any], *args: Any) -> BaseProcess:
    """Begin ``task(*args)`` in a clean process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    # Read when the server starts; it needs the path to import what it is to have ready.
    wanted = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with mock.patch.dict(os.environ, wanted):
        forkserver.ensure_running()
    process = context.Process(target=task, args=args)
    process.start()
    return process


def begin_command(
    args: Sequence[str], cwd: Path, environment: Mapping[str, str], told: Path
) -> BaseProcess:
    """Begin ``python -m recbole_darec ARGS`` in a clean process; its standard input is empty.

    What it prints comes into the files ``stdout`` and ``stderr`` in the folder ``told``.
    """
    return begin(_command, list(map(str, args)), str(cwd), dict(environment), str(told))


def run_command(
    args: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run such a process to its end.

    Raises:
        TimeoutExpired: it did not end in so many seconds, and was killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = begin_command(args, cwd, environment, Path(folder))
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(args), timeout)
        stdout, stderr = (Path(folder, name).read_text() for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(list(args), process.exitcode, stdout, stderr)


def _command(args: list[str], cwd: str, environment: dict[str, str], told: str) -> None:
    for number, name in enumerate(("stdout", "stderr"), start=1):
        file = os.open(Path(told, name), os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, cwd)
    sys.argv = ["recbole-darec", *args]
    runpy.run_module("recbole_darec", run_name="__main__", alter_sys=True)
