"""What a study still has to run, in the light of what its store has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from recbole_darec.errors import DataError, OptionError, nearest
from recbole_darec.studies.resolved import Resolved, Resolver, metric_names
from recbole_darec.studies.results import Row, Store
from recbole_darec.studies.search import best_setting, tuned_with, tuning_trials
from recbole_darec.studies.study import Method, Study, Trial

__all__ = ["Plan", "check_metrics", "check_versions", "make_plan"]


@dataclass
class Plan:
    """The runs of a study that are known by now.

    Attributes:
        runs: tuning runs first, then those of the table, seed after seed; a run that several
            trials want stands there more than once, under one key.
        n_waiting: runs of the table whose setting is not chosen yet.
        waiting: data set, model and seed of each of them.
        untuned: why a method has no setting, by method, where each of its tuning runs failed.
        settings: what was chosen, by method without variant.
    """

    runs: list[Resolved] = field(default_factory=list)
    n_waiting: int = 0
    waiting: set[tuple[str, str, int]] = field(default_factory=set)
    untuned: dict[Method, str] = field(default_factory=dict)
    settings: dict[Method, dict[str, object]] = field(default_factory=dict)

    @cached_property
    def plain(self) -> dict[str, str]:
        """The run that has nothing but its training, by the training's digest."""
        return {run.training: run.key for run in self.runs if run.trains_plainly}

    @cached_property
    def phased(self) -> dict[str, list[str]]:
        """The runs that have a first phase in common, by its digest."""
        found: dict[str, list[str]] = {}
        for run in self.runs:
            if run.first_phase and run.key not in found.setdefault(run.first_phase, []):
                found[run.first_phase].append(run.key)
        return found

    @property
    def keys(self) -> list[str]:
        """The runs' keys, each once."""
        return list(dict.fromkeys(run.key for run in self.runs))


def make_plan(study: Study, resolver: Resolver, rows: Mapping[str, Row]) -> Plan:
    """Return what is to be run; tuned methods get their seeds once their tuning runs are done.

    Args:
        study: the study.
        resolver: resolves its trials.
        rows: what the store has, by key.

    Raises:
        OptionError: a metric that the study asks for is not computed; every run is faulty.
        DataError: a data set is not there, or has no profiles.
    """
    plan = Plan()
    seen: set[Method] = set()
    table: list[tuple[int, Resolved]] = []
    for method in study.methods():
        own = tuned_with(method)
        if own not in seen:
            seen.add(own)
            _tune(study, resolver, rows, own, plan)
        seeds = study.seeds(method)
        if own in plan.untuned:
            continue
        if own not in plan.settings:
            plan.n_waiting += len(seeds)
            plan.waiting.update((method.dataset, method.model, seed) for seed in seeds)
            continue
        for number, seed in enumerate(seeds):
            trial = Trial(method, seed, plan.settings[own])
            table.append((number, resolver.resolved(trial)))
    table.sort(key=lambda pair: pair[0])
    plan.runs += [run for _, run in table]
    _check(study, plan)
    return plan


def check_versions(store: Store, keys: list[str], wanted: str) -> None:
    """Show what other versions of this package have done, and settle whether it counts.

    Args:
        store: the store.
        keys: of the study's runs.
        wanted: ``error``, ``reuse`` or ``again``.

    Raises:
        DataError: there is something, and nothing was said about it.
    """
    there = store.versions(keys)
    store.others = wanted == "reuse"
    if there and wanted == "error":
        told = " and ".join(
            f"{count} run{'s' if count > 1 else ''} by version {version}"
            for version, count in sorted(there.items())
        )
        raise DataError(
            f"the store {store.path} has {told}, and this is {store.version}: say "
            "--other-version=reuse to take them as they are, or --other-version=again to do them "
            "anew beside them"
        )


def check_metrics(study: Study, plan: Plan, metrics: Iterable[str]) -> None:
    """Check that each run of a study that is possible computes these metrics.

    Args:
        study: the study.
        plan: its runs.
        metrics: names in lower case.

    Raises:
        OptionError: one is not computed.
    """
    for run in plan.runs:
        if run.fault is not None:
            continue
        known = metric_names(run.values)
        for asked in metrics:
            if asked not in known:
                raise OptionError(
                    f"the metric '{asked}' is not computed by the runs of study '{study.name}'"
                    f"{nearest(asked, known)}: see metrics and topk under 'common'; there are "
                    f"{', '.join(sorted(name for name in known if '@' in name))}"
                )


def _tune(
    study: Study, resolver: Resolver, rows: Mapping[str, Row], method: Method, plan: Plan
) -> None:
    """Add a method's tuning runs to the plan, and its setting once they are all at an end."""
    trials = tuning_trials(study, method)
    if not trials:
        plan.settings[method] = {}
        return
    runs = [resolver.resolved(trial) for trial in trials]
    plan.runs += runs
    metric = study.options.metric.lower()
    found = [(trial, rows.get(run.key)) for trial, run in zip(trials, runs)]
    ended = [(t, row) for t, row in found if row is not None and row.state in ("done", "failed")]
    if len(ended) < len(trials):
        return
    done = [(trial, row) for trial, row in ended if row.state == "done"]
    if not done:
        plan.untuned[method] = f"each of its {len(trials)} tuning runs failed: {ended[0][1].reason}"
        return
    done = [(trial, row) for trial, row in done if metric in row.valid]
    if not done:
        plan.untuned[method] = "none of its tuning runs was validated: see eval_step under 'common'"
        return
    plan.settings[method] = best_setting(
        [trial for trial, _ in done], [row for _, row in done], metric
    )


def _check(study: Study, plan: Plan) -> None:
    if plan.runs and all(run.fault is not None for run in plan.runs):
        raise OptionError(f"no run of study '{study.name}' is possible: {plan.runs[0].fault}")
    options = study.options
    check_metrics(study, plan, [name.lower() for name in (options.metric, *options.report)])
