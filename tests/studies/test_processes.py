"""Processes of runs, and what is told of those that die."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recbole_darec.studies.outcome import Task
from recbole_darec.studies.processes import LocalProcesses

# More than a pipe holds: writing it fails for certain where nobody reads.
LONG = "x" * (1 << 20)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("kill -9 $$", "its process was ended by signal 9"),
        ("exit 7", "its process ended with exit code 7"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_a_worker_that_dies_before_it_reads_its_task_is_told_of(
    script: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    task = Task("k", "LightGCN", "d", "none", {"note": LONG}, str(tmp_path / "run"), False)
    processes = LocalProcesses(1)
    processes.start(task)
    assert processes.ended() == [(task, told)]
    assert processes.free() == 1
