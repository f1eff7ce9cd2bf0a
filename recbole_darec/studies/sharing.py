"""Runs that train alike: the backbone is trained once, and ranks beside each text filter.

A method such as ``text_filter`` leaves the training as it is and acts when ranking.  Its run takes
the model of the run without it, where the study has that one: the result is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from recbole_darec.alignment.contract import Aligner
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.studies.outcome import Outcome
from recbole_darec.studies.plan import Plan
from recbole_darec.studies.resolved import Resolved
from recbole_darec.studies.results import Row, Store
from recbole_darec.studies.study import Method, Study

__all__ = ["Sharing"]


class Sharing:
    """Knows whose model a run takes.

    Args:
        study: the study.
    """

    def __init__(self, study: Study) -> None:
        self._methods = study.methods()
        self._keeps_all = study.options.keep_models
        self._taken: dict[str, Row] = {}

    def source(self, run: Resolved, plan: Plan) -> str | None:
        """Return the key of the run whose training this one's is, None where it trains itself."""
        if run.trains_plainly:
            return None
        return plan.plain.get(run.training)

    def waits(self, run: Resolved, plan: Plan, rows: Mapping[str, Row]) -> bool:
        """Tell whether a run's source is still to come."""
        source = self.source(run, plan)
        return source is not None and (
            source not in rows or rows[source].state in ("pending", "running")
        )

    def take(self, run: Resolved, plan: Plan, rows: Mapping[str, Row]) -> str | None:
        """Return the model that a run takes, None where it trains itself."""
        source = self.source(run, plan)
        row = rows.get(source) if source is not None else None
        if row is None or row.model_file is None or not Path(row.model_file).is_file():
            return None
        self._taken[run.key] = row
        return row.model_file

    def completed(self, key: str, outcome: Outcome, store: Store) -> Outcome:
        """Return an outcome with the epochs and the time of the training that it took."""
        row = self._taken.pop(key, None)
        if row is None or outcome.state != "done":
            return outcome
        seconds = (outcome.seconds or 0.0) + (row.seconds or 0.0)
        return replace(outcome, seconds=seconds, curve=store.curve(row))

    def keeps_model(self, run: Resolved) -> bool:
        """Tell whether a run's model is to stay: for good, or for others to take."""
        method = run.trial.method
        kept = self._keeps_all and not run.trial.tuning
        return kept or any(_may_take(other, method) for other in self._methods)

    def tidy(self, plan: Plan, rows: Mapping[str, Row], store: Store) -> None:
        """Remove the models that were there for others alone."""
        wanted = {run.key for run in plan.runs if self._keeps_all and not run.trial.tuning}
        for key in plan.keys:
            row = rows.get(key)
            if row is not None and row.model_file is not None and key not in wanted:
                Path(row.model_file).unlink(missing_ok=True)
                store.set_state(key, row.state, model_file=None)


def _may_take(other: Method, method: Method) -> bool:
    if (other.dataset, other.model) != (method.dataset, method.model):
        return False
    rest = [name for name in other.align.split("+") if not _may_leave_training(name)]
    return other.align != method.align and ("+".join(rest) or "none") == method.align


def _may_leave_training(name: str) -> bool:
    mine = aligner_class(name).leaves_training.__func__
    return mine is not Aligner.leaves_training.__func__  # type: ignore[attr-defined]
