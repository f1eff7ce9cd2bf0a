"""Runs that train alike, or begin alike: what they have in common is trained once.

A method such as ``text_filter`` leaves the training as it is and acts when ranking.  Its run takes
the model of the run without it, where the study has that one.  Methods such as PAD and SMEM begin
with a phase of the backbone by itself.  The first of them to be done trains it, or the run of the
backbone alone, and the others take it from there.  The result is the same to the bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from recbole_darec.studies.outcome import FIRST_PHASE, Taken, seconds_of
from recbole_darec.studies.plan import Plan
from recbole_darec.studies.resolved import Resolved
from recbole_darec.studies.results import Row, Store
from recbole_darec.studies.study import Study

__all__ = ["Sharing"]


class Sharing:
    """Knows what a run takes, and from which other one.

    Args:
        study: the study.
        store: of its results.
        folder: in which each run has a folder of its own.
    """

    def __init__(self, study: Study, store: Store, folder: Path) -> None:
        self._keeps_all = study.options.keep_models
        self._aligners = {method.align for method in study.methods()}
        self._store, self._folder = store, folder

    def waits(self, run: Resolved, plan: Plan, rows: Mapping[str, Row]) -> bool:
        """Tell whether a run is to take what another one still has to train."""
        source = None if run.trains_plainly else plan.plain.get(run.training)
        if source is not None:
            return _is_open(source, rows)
        if not run.first_phase or self._first_phase(run, plan, rows) is not None:
            return False
        sources = self._sources(run, plan)
        return next((key for key in sources if _is_open(key, rows)), run.key) != run.key

    def take(self, run: Resolved, plan: Plan, rows: Mapping[str, Row]) -> Taken | None:
        """Return what a run takes, None where it trains everything itself."""
        if run.trains_plainly:
            return self._first_phase(run, plan, rows) if run.first_phase else None
        source = plan.plain.get(run.training)
        row = None if source is None else rows.get(source)
        file = _model_of(row)
        if row is None or file is None:
            return None
        return Taken(str(file), row.seconds or 0.0, self._store.curve(row), whole=True)

    def keeps_model(self, run: Resolved, plan: Plan, rows: Mapping[str, Row]) -> bool:
        """Tell whether a run's model is to stay: for good, or for others to take."""
        kept = self._keeps_all and not run.trial.tuning
        return kept or self._model_is_wanted(run, plan, _takers(plan, rows))

    def keeps_phase(self, run: Resolved, plan: Plan, rows: Mapping[str, Row]) -> bool:
        """Tell whether the outcome of a run's first phase is to stay for others to take."""
        return self._phase_is_wanted(run, plan, _takers(plan, rows), rows)

    def tidy(self, plan: Plan, rows: Mapping[str, Row]) -> None:
        """Remove what was kept for others, once none of them is left."""
        takers = _takers(plan, rows)
        kept = {run.key for run in plan.runs if self._keeps_all and not run.trial.tuning}
        for run in {run.key: run for run in plan.runs}.values():
            row = rows.get(run.key)
            if row is None or row.state != "done":
                continue
            wanted = run.key in kept or self._model_is_wanted(run, plan, takers)
            if row.model_file is not None and not wanted:
                Path(row.model_file).unlink(missing_ok=True)
                self._store.set_state(run.key, row.state, model_file=None)
            if run.first_phase and not self._phase_is_wanted(run, plan, takers, rows):
                self._phase_file(run.key).unlink(missing_ok=True)

    def _model_is_wanted(self, run: Resolved, plan: Plan, takers: Mapping[str, int]) -> bool:
        if not run.trains_plainly:
            return False
        own = set(run.trial.method.align.split("+")) - {"none"}
        waits = not own or any(own < set(align.split("+")) for align in self._aligners)
        return takers.get(run.training, 0) > 0 or (waits and _may_follow(run, plan))

    def _phase_is_wanted(
        self, run: Resolved, plan: Plan, takers: Mapping[str, int], rows: Mapping[str, Row]
    ) -> bool:
        if not run.first_phase:
            return False
        itself = int(_is_open(run.key, rows))
        return takers.get(run.first_phase, 0) > itself or _may_follow(run, plan)

    def _sources(self, run: Resolved, plan: Plan) -> list[str]:
        """Return those that train a run's first phase: the backbone alone, then the others."""
        plain = plan.plain.get(run.first_phase)
        return [*([plain] if plain is not None else []), *plan.phased[run.first_phase]]

    def _first_phase(self, run: Resolved, plan: Plan, rows: Mapping[str, Row]) -> Taken | None:
        """Return the first phase that another run has trained and kept, None where none has.

        That of a run which goes on is preferred: its files are the same on a GPU, too.
        """
        for key in reversed(self._sources(run, plan)):
            row = rows.get(key)
            if row is None or row.state != "done" or key == run.key:
                continue
            file = self._phase_file(key) if key in plan.phased[run.first_phase] else _model_of(row)
            if file is None or not file.is_file():
                continue
            curve = [epoch for epoch in self._store.curve(row) if not epoch.get("phase")]
            return Taken(str(file), sum(map(seconds_of, curve)), curve, whole=False)
        return None

    def _phase_file(self, key: str) -> Path:
        return self._folder / key / FIRST_PHASE


def _takers(plan: Plan, rows: Mapping[str, Row]) -> Counter[str]:
    """Return how many runs that are still to come take a training, by its digest."""
    found = {
        run.key: run.first_phase if run.trains_plainly else run.training
        for run in plan.runs
        if run.fault is None and _is_open(run.key, rows)
    }
    return Counter(found.values())


def _may_follow(run: Resolved, plan: Plan) -> bool:
    """Tell whether runs whose setting is not chosen yet may take something of this one."""
    method = run.trial.method
    return (method.dataset, method.model, run.trial.seed) in plan.waiting


def _is_open(key: str, rows: Mapping[str, Row]) -> bool:
    return key not in rows or rows[key].state in ("pending", "running")


def _model_of(row: Row | None) -> Path | None:
    if row is None or row.model_file is None or not Path(row.model_file).is_file():
        return None
    return Path(row.model_file)
