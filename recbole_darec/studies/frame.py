"""The reading side of a study: its results as one table of pandas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_darec.errors import DataError
from recbole_darec.studies.plan import Plan, check_versions, make_plan
from recbole_darec.studies.resolved import Resolver
from recbole_darec.studies.results import Row, Store, read_results
from recbole_darec.studies.study import Study

__all__ = ["Results", "read_frame", "stored_results"]


class Results:
    """What a study has so far.

    Attributes:
        study: the study.
        store: open for reading; gives a run's epochs and its metrics by user.
        frame: one row a run, those of the search too: ``dataset``, ``backbone``, ``model``,
            ``align``, ``variant``, ``method`` (aligner and variant), ``alone``, ``seed``,
            ``tuning``, ``setting`` (what tuning chose or tries, as text), ``options`` (all of
            them, a dict), ``key``, ``version``, ``state`` (``pending``, ``running``, ``done``,
            ``failed``), ``reason``, ``log``, ``model_file``, ``best_epoch``,
            ``seconds``, ``n_users``, ``chosen`` and ``groups`` (dicts), and a column
            ``valid:<metric>`` and ``test:<metric>`` for each metric.
        plan: the runs that the rows are of.
        rows: the store's, by key.
    """

    def __init__(
        self, study: Study, store: Store, frame: pd.DataFrame, plan: Plan, rows: dict[str, Row]
    ) -> None:
        self.study, self.store, self.frame, self.plan, self.rows = study, store, frame, plan, rows

    @property
    def done(self) -> pd.DataFrame:
        """The finished runs of the table."""
        return self.frame[(self.frame["state"] == "done") & ~self.frame["tuning"]]

    def measured(self, metrics: Sequence[str]) -> pd.DataFrame:
        """Return the finished runs of the table, which have these test metrics.

        Raises:
            DataError: nothing is done yet, or a metric was not computed.
        """
        done = self.done
        if done.empty:
            raise DataError(
                f"study '{self.study.name}' has no finished run yet: run it first, without "
                "--table, --figures and --html"
            )
        for metric in metrics:
            if f"test:{metric}" not in done.columns:
                known = sorted(name[5:] for name in done.columns if name.startswith("test:"))
                raise DataError(
                    f"the metric '{metric}' was not computed; there are {', '.join(known)}"
                )
        return done


@contextmanager
def stored_results(study: Study, path: Path, *, other_version: str) -> Iterator[Results]:
    """Open what a store has of a study, also while its runs go on.

    Args:
        study: the study.
        path: of the store.
        other_version: what the runs of other versions of this package are; see
            :func:`check_versions`.

    Raises:
        UserError: the store or the study is at fault.
    """
    with read_results(path) as store:
        store.others = other_version == "reuse"
        results = read_frame(study, store)
        check_versions(store, results.plan.keys, other_version)
        yield results


def read_frame(study: Study, store: Store) -> Results:
    """Return what a store has of a study; runs that it does not know yet are pending.

    Raises:
        UserError: the study is at fault.
    """
    rows = store.rows()
    plan = make_plan(study, Resolver(study.folder, store.digest_of), rows)
    records = []
    for run in plan.runs:
        method, row = run.trial.method, rows.get(run.key)
        # What a variant sets wins over what its method was tuned to.
        chosen = {name: method.overrides.get(name, v) for name, v in run.trial.setting.items()}
        setting = ", ".join(f"{name}={value}" for name, value in chosen.items())
        record: dict[str, Any] = {
            "dataset": method.dataset,
            "backbone": method.backbone,
            "model": method.model,
            "align": method.align,
            "variant": method.variant,
            "method": method.name,
            "alone": method.alone,
            "seed": run.trial.seed,
            "tuning": run.trial.tuning,
            "setting": setting,
            "options": dict(run.values),
            "key": run.key,
            **_of_row(row, run.fault),
        }
        records.append(record)
    frame = pd.DataFrame.from_records(records)
    return Results(study, store, frame, plan, rows)


def _of_row(row: Row | None, fault: str | None) -> dict[str, Any]:
    if row is None:
        state = "pending" if fault is None else "failed"
        return {"state": state, "reason": fault, "chosen": {}, "groups": {}}
    found: dict[str, Any] = {
        name: getattr(row, name)
        for name in (
            "version", "state", "reason", "log", "model_file", "best_epoch", "seconds", "n_users",
            "chosen", "groups",
        )
    }  # fmt: skip
    found.update((f"valid:{name}", value) for name, value in row.valid.items())
    found.update((f"test:{name}", value) for name, value in row.test.items())
    return found
