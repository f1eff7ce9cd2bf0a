"""Runs in processes of this machine: one each, spawned, with one thread on a CPU."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from recbole_darec.studies.outcome import Outcome, Task, read_outcome

__all__ = ["LIVES", "LOG", "LocalProcesses"]

LOG = "run.log"
LIVES = 3
"""Times that a task is begun whose process is killed."""

# Read when torch and NumPy are imported.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_PAUSE = 0.05  # seconds between two looks at the processes


@dataclass
class _Running:
    task: Task
    process: subprocess.Popen[bytes]
    slot: int


class LocalProcesses:
    """Does tasks, ``jobs`` at a time.

    Args:
        jobs: how many.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._running: list[_Running] = []

    def free(self) -> int:
        """Return how many more tasks may be started."""
        return self.jobs - len(self._running)

    def start(self, task: Task) -> None:
        """Start a process for a task; what it prints goes into the log in the run's folder."""
        folder = Path(task.folder)
        folder.mkdir(parents=True, exist_ok=True)
        slot = min(set(range(self.jobs)) - {one.slot for one in self._running})
        path = os.pathsep.join(filter(None, sys.path))  # what this process imports, so does that
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "recbole_darec.studies.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
                # Ctrl-C is for the driver to answer, which ends its workers.
                start_new_session=True,
            )
        assert process.stdin is not None
        # The pipe stays open: when the driver is gone, however it went, it closes.
        with contextlib.suppress(BrokenPipeError):  # it has ended already; how, ended() tells
            process.stdin.write(replace(task, slot=slot).as_text().encode() + b"\n")
            process.stdin.flush()
        self._running.append(_Running(task, process, slot))

    def ended(self) -> list[tuple[Task, Outcome | str]]:
        """Wait until a task has ended; return its outcome, or why its worker left none."""
        while True:
            over = [one for one in self._running if one.process.poll() is not None]
            if over:
                break
            time.sleep(_PAUSE)
        found: list[tuple[Task, Outcome | str]] = []
        for one in over:
            self._running.remove(one)
            assert one.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                one.process.stdin.close()
            outcome = read_outcome(Path(one.task.folder))
            found.append((one.task, outcome or _told(one.process.returncode)))
        return found

    def close(self) -> None:
        """End the processes that still work."""
        for one in self._running:
            one.process.kill()
            one.process.wait()
        self._running.clear()


def _told(code: int) -> str:
    if code < 0:
        return f"its process was ended by signal {-code}"
    return f"its process ended with exit code {code}"
