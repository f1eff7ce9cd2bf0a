"""Runs on a Ray cluster: a task each, in a process of its own on whichever node has room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recbole_darec.errors import OptionError
from recbole_darec.ray_cluster import connect, import_ray, shortened
from recbole_darec.studies.outcome import Outcome, Task
from recbole_darec.studies.processes import LocalProcesses

__all__ = ["RayJobs"]

_RETRIES = 3  # of a task whose worker or node is lost


class RayJobs:
    """Does tasks on a cluster; each has one core, and one GPU where the cluster has GPUs.

    The nodes find data and runs in the same folders as this machine, as on a shared file system.

    Args:
        address: of the cluster.
        jobs: at most so many at a time; None for as many as there is room for.

    Raises:
        MissingExtraError: Ray is not installed.
        OptionError: there is no such cluster.
    """

    def __init__(self, address: str, jobs: int | None) -> None:
        self._ray = import_ray()
        self._started = connect(self._ray, address)
        self._jobs = jobs
        has = self._ray.cluster_resources()
        self._gpus = 1 if has.get("GPU", 0) >= 1 else 0
        if not self._gpus and has.get("CPU", 0) < 1:
            self.close()
            raise OptionError(f"the Ray cluster at '{address}' has neither a core nor a GPU")
        self._remote = self._ray.remote(_done_there).options(
            num_cpus=1, num_gpus=self._gpus, max_retries=_RETRIES
        )
        self._under_way: dict[Any, Task] = {}

    def free(self) -> int:
        """Return how many more tasks there is room for; a cluster may grow and shrink."""
        has = self._ray.cluster_resources()
        room = int(has.get("GPU" if self._gpus else "CPU", 0))
        return max(1, min(room, self._jobs or room)) - len(self._under_way)

    def start(self, task: Task) -> None:
        """Send a task to the cluster."""
        self._under_way[self._remote.remote(task)] = task

    def ended(self) -> list[tuple[Task, Outcome | str]]:
        """Wait until a task has ended; return its outcome, or why there is none."""
        ready, _ = self._ray.wait(list(self._under_way), num_returns=1)
        found: list[tuple[Task, Outcome | str]] = []
        for reference in ready:
            task = self._under_way.pop(reference)
            try:
                found.append((task, self._ray.get(reference)))
            except self._ray.exceptions.RayTaskError as error:
                found.append((task, Outcome("failed", f"on the Ray cluster: {shortened(error)}")))
            except self._ray.exceptions.RayError as error:
                found.append((task, f"its Ray worker was lost ({shortened(error)})"))
        return found

    def close(self) -> None:
        """End what is still under way, and leave the cluster."""
        for reference in getattr(self, "_under_way", {}):
            self._ray.cancel(reference, force=True)
        self._under_way = {}
        if self._started:
            self._started = False
            self._ray.shutdown()


def _done_there(task: Task) -> Outcome | str:
    """Do a task on a node: in a process of its own, which ends with Ray's worker."""
    here = LocalProcesses(1)
    try:
        here.start(replace(task, slot=0))
        ((_, outcome),) = here.ended()
        return outcome
    finally:
        here.close()
