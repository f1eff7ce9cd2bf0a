"""Does the tasks of a study in this process, without a start of Python for each."""

from __future__ import annotations

import os
from pathlib import Path

from recbole_darec.studies.outcome import Outcome, Task, leave
from recbole_darec.studies.worker import done


class InThisProcess:
    """Does one task at a time, at once.

    Attributes:
        begun: the tasks in their order.
    """

    def __init__(self) -> None:
        self.begun: list[Task] = []
        self._task: Task | None = None
        self._home = Path.cwd()

    def free(self) -> int:
        return int(self._task is None)

    def start(self, task: Task) -> None:
        Path(task.folder).mkdir(parents=True, exist_ok=True)
        self.begun.append(task)
        self._task = task

    def ended(self) -> list[tuple[Task, Outcome | str]]:
        assert self._task is not None
        task, self._task = self._task, None
        try:
            outcome = done(task)
            leave(outcome, Path(task.folder))
            return [(task, outcome)]
        finally:
            os.chdir(self._home)  # a worker works in its run's folder

    def close(self) -> None:
        self._task = None
