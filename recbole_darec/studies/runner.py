"""Runs what a study lacks, and keeps what comes of it; killed anywhere, it goes on from there."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from recbole_darec.studies.outcome import (
    Outcome,
    Task,
    read_outcome,
    remove_leftovers,
    remove_outcome,
)
from recbole_darec.studies.plan import Plan, make_plan
from recbole_darec.studies.processes import LIVES, LOG
from recbole_darec.studies.progress import Progress
from recbole_darec.studies.resolved import Resolved, Resolver
from recbole_darec.studies.results import Row, Store
from recbole_darec.studies.sharing import Sharing
from recbole_darec.studies.study import Study

__all__ = ["Executor", "Failures", "run_study"]

Failures = list[tuple[str, str, str]]
"""What failed: the run in words, the reason, the path of its log."""


class Executor(Protocol):
    """Who does the tasks."""

    def free(self) -> int:
        """Return how many more tasks may be started."""

    def start(self, task: Task) -> None:
        """Start a task."""

    def ended(self) -> list[tuple[Task, Outcome | str]]:
        """Wait until a task has ended; return its outcome, or why there is none."""

    def close(self) -> None:
        """End what is still under way."""


def run_study(
    study: Study, store: Store, executor: Executor, folder: Path, *, retry_failed: bool = False
) -> Failures:
    """Run everything that the store lacks.

    Args:
        study: the study.
        store: of its results, open for writing; nobody else runs the study.
        executor: who does the tasks.
        folder: in which each run has a folder of its own.
        retry_failed: whether runs that failed before are done again.

    Returns:
        What failed, now or before.

    Raises:
        UserError: the study or the store is at fault.
    """
    run = _Run(study, store, executor, folder)
    try:
        return run.to_its_end(retry_failed=retry_failed)
    finally:
        executor.close()
        run.leave()


class _Run:
    """One run of the command."""

    def __init__(self, study: Study, store: Store, executor: Executor, folder: Path) -> None:
        self.study, self.store, self.executor, self.folder = study, store, executor, folder
        self.resolver = Resolver(study.folder, store.digest_of)
        self.under_way: dict[str, Resolved] = {}
        self.begun: Counter[str] = Counter()
        self.progress = Progress(study, sys.stderr)
        self.sharing = Sharing(study, store, folder)

    def to_its_end(self, *, retry_failed: bool) -> Failures:
        rows = self.store.rows()
        plan = make_plan(self.study, self.resolver, rows)
        for key in plan.keys:  # a driver that was killed had stored it, and not removed it yet
            if key in rows and rows[key].state == "done":
                remove_outcome(self.folder / key)
        if retry_failed:
            for run in plan.runs:
                # One that is impossible stays what it is, with its reason.
                if run.fault is None and run.key in rows and rows[run.key].state == "failed":
                    self.store.set_state(run.key, "pending", reason=None)
        while True:
            rows = self.store.rows()
            plan = make_plan(self.study, self.resolver, rows)
            self._note(plan, rows)
            rows = self.store.rows()
            self.sharing.tidy(plan, rows)
            todo = self._todo(plan, rows)
            for run in todo[: self.executor.free()]:
                self._start(run, plan, rows)
            self.progress.tell(plan, self.store.rows())
            if not self.under_way:
                if not self._todo(plan, self.store.rows()):
                    break
                continue
            for task, outcome in self.executor.ended():
                self._end(task.key, outcome)
        rows = self.store.rows()
        return self._failures(plan, rows)

    def leave(self) -> None:
        """Put runs that were begun and not ended back to where they wait."""
        for key in self.under_way:
            self.store.set_state(key, "pending")

    def _note(self, plan: Plan, rows: dict[str, Row]) -> None:
        """Put what is new into the store, and back what an earlier driver left running."""
        for run in plan.runs:
            row = rows.get(run.key)
            if row is None:
                self._add(run)
            elif row.state == "running" and run.key not in self.under_way:
                self.store.set_state(run.key, "pending")

    def _add(self, run: Resolved) -> None:
        method = run.trial.method
        self.store.add(
            {
                "key": run.key,
                "dataset": method.dataset,
                "model": method.model,
                "align": method.align,
                "seed": run.trial.seed,
                "options": dict(run.values),
                "data": run.data,
                "state": "pending" if run.fault is None else "failed",
                "reason": run.fault,
                "log": None if run.fault else str(self.folder / run.key / LOG),
            }
        )

    def _todo(self, plan: Plan, rows: dict[str, Row]) -> list[Resolved]:
        """Return the runs that may be started, each once."""
        found: dict[str, Resolved] = {}
        for run in plan.runs:
            if run.key in self.under_way:
                continue
            row = rows.get(run.key)
            waits = run.fault is None and (row is None or row.state == "pending")
            waits = waits and not self.sharing.waits(run, plan, rows)
            # A table's run wins over a tuning run of the same options: it keeps more.
            if waits and (run.key not in found or not run.trial.tuning):
                found[run.key] = run
        return list(found.values())

    def _start(self, run: Resolved, plan: Plan, rows: dict[str, Row]) -> None:
        folder = self.folder / run.key
        kept = read_outcome(folder)
        self.store.set_state(run.key, "running", begun=_now())
        self.under_way[run.key] = run
        if kept is not None and kept.state == "done":  # it ended when the driver was gone
            self._end(run.key, kept)
            return
        if kept is not None:  # it failed, and is to be done again
            remove_outcome(folder)
        self.begun[run.key] += 1
        method = run.trial.method
        self.executor.start(
            Task(
                key=run.key,
                model=method.model,
                dataset=method.dataset,
                align=method.align,
                values=dict(run.values),
                folder=str(folder),
                keep_model=self.sharing.keeps_model(run, plan, rows),
                keep_phase=self.sharing.keeps_phase(run, plan, rows),
                taken=self.sharing.take(run, plan, rows),
            )
        )

    def _end(self, key: str, outcome: Outcome | str) -> None:
        run = self.under_way.pop(key)
        if isinstance(outcome, str):
            if self.begun[key] < LIVES:
                self.progress.say(f"{self.progress.words(run.trial)}: {outcome}; it goes on")
                self.store.set_state(key, "pending")
                return
            outcome = Outcome("failed", f"{outcome}, {LIVES} times (out of memory?)")
        folder = self.folder / key
        if outcome.state == "done":
            _tidy(outcome, folder)
        self.store.finish(key, outcome, _now())
        self.progress.note(run.trial, outcome)
        if folder.is_dir():
            remove_outcome(folder)

    def _failures(self, plan: Plan, rows: dict[str, Row]) -> Failures:
        found: dict[str, tuple[str, str, str]] = {}
        for run in plan.runs:
            row = rows.get(run.key)
            if row is not None and row.state == "failed":
                words = self.progress.words(run.trial)
                found.setdefault(run.key, (words, row.reason or "", row.log or ""))
        failures = list(found.values())
        for method, reason in plan.untuned.items():
            failures.append((f"{method.dataset} {method.backbone} {method.name}", reason, ""))
        return failures


def _tidy(outcome: Outcome, folder: Path) -> None:
    """Remove what a worker that was killed has left, and what RecBole writes beside the log."""
    remove_leftovers(outcome, folder)
    for name in ("log", "log_tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
