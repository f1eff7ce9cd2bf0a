"""The trials on Ray Tune: several at a time, the weaker ones stopped early (ASHA)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.errors import MissingExtraError, UserError
from recbole_darec.ray_cluster import connect, import_ray
from recbole_darec.studies.outcome import Outcome
from recbole_darec.studies.space import Range
from recbole_darec.studies.suggestions import (
    Suggestions,
    combinations,
    hyperopt_space,
    length_of,
    random_trials,
    require_hyperopt,
    values_at,
)
from recbole_darec.studies.tuning import Digests, Teller, Tuning
from recbole_darec.studies.tuning_files import words
from recbole_darec.studies.tuning_options import TuningOptions

__all__ = ["tune_on_ray"]

_RETRIES = 3  # of a trial whose worker or node is lost
_WORST = 1e9  # loss of a failed trial: Tune wants a number of each
_REDUCTION = 3  # of the trials, one in three goes on at each rung (ASHA's usual factor)
_NUMBER = "number"
_NAME = "tune"


def tune_on_ray(tuning: Tuning, options: TuningOptions) -> Teller:
    """Run the trials on a cluster, or on this machine.

    Each has a process of its own, one core, and one GPU where the cluster has any.  One whose
    worker is lost goes on from its snapshot, where the folder of the trials is shared.

    Raises:
        MissingExtraError: Ray Tune or hyperopt is not installed.
        OptionError: there is no such cluster.
    """
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("ray[tune]", "tune")
    length = length_of(tuning.ranges, options.max_evals)
    whole = length == combinations(tuning.ranges)
    if not whole:
        require_hyperopt()
    # What is lost with a driver that is killed: a second's worth of its notes.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    ray = import_ray()
    own = not ray.is_initialized()
    if options.ray_address is None:
        ray.init(
            address="local", include_dashboard=False, log_to_driver=False,
            logging_level="critical",
        )  # fmt: skip
    else:
        connect(ray, options.ray_address)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
        found = _tuner(tuning, options, length, gpus, whole=whole).fit()
    finally:
        if own:
            ray.shutdown()
    teller = Teller(tuning, length, timed=False)
    for result in found:
        teller.note(_trial(tuning, result))
    return teller


def _tuner(tuning: Tuning, options: TuningOptions, length: int, gpus: int, *, whole: bool) -> Any:
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    try:
        from ray.tune import FailureConfig, RunConfig
    except ImportError:  # before Ray 2.43
        from ray.air import FailureConfig, RunConfig

    grid = _grid(tuning, length) if whole else None
    work = _Work(tuning, grid)
    trainable = tune.with_resources(work, {"cpu": 1, "gpu": gpus})
    stored = tuning.folder / _NAME
    if options.resume and tune.Tuner.can_restore(str(stored)):
        return tune.Tuner.restore(
            str(stored), trainable=trainable, resume_unfinished=True, restart_errored=True
        )
    epochs = tuning.epochs
    every = max(1, int(tuning.fixed.values.get("eval_step", 1)))
    scheduler = ASHAScheduler(
        time_attr="epoch",
        max_t=epochs + 1,  # the last report comes after the last epoch, with the test's metrics
        grace_period=max(1, min(epochs, max(every, epochs // _REDUCTION**3))),
        reduction_factor=_REDUCTION,
    )
    search: dict[str, Any] = {}
    space: dict[str, Any] = {}
    if whole:
        space = {_NUMBER: tune.grid_search(list(range(length)))}
    else:
        from ray.tune.search.hyperopt import HyperOptSearch

        search["search_alg"] = HyperOptSearch(
            space=hyperopt_space(tuning.ranges),
            metric="loss",
            mode="min",
            n_initial_points=random_trials(length),
            random_state_seed=tuning.seed % 2**31,
        )
    return tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=1 if whole else length,
            scheduler=scheduler,
            **search,
        ),
        run_config=RunConfig(
            name=_NAME,
            storage_path=str(tuning.folder),
            failure_config=FailureConfig(max_failures=_RETRIES),
            stop=_stopper(options.early_stop),
            callbacks=[_telling(length)],
            verbose=0,
        ),
    )


def _grid(tuning: Tuning, length: int) -> list[dict[str, Any]]:
    search = Suggestions(tuning.ranges, length, tuning.seed)
    return [search.next() for _ in range(length)]


def _stopper(early_stop: int) -> Any:
    from ray.tune import Stopper

    class EarlyStop(Stopper):  # made here: Ray is imported only where it is used
        """Ends the search after so many trials in a row without a better one."""

        def __init__(self) -> None:
            self.best = np.inf
            self.since = 0

        def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
            if result.get("ended"):
                better = result["loss"] < self.best
                self.best = min(self.best, result["loss"])
                self.since = 0 if better else self.since + 1
            return False

        def stop_all(self) -> bool:
            return self.since >= early_stop

    return EarlyStop()


def _telling(length: int) -> Any:
    from ray.tune import Callback

    class Telling(Callback):  # made here: Ray is imported only where it is used
        """Says which trial has ended, while others go on."""

        def __init__(self) -> None:
            self.over = 0

        def on_trial_complete(
            self, iteration: int, trials: list[Any], trial: Any, **info: Any
        ) -> None:
            self.over += 1
            result = trial.last_result or {}
            told = words(result.get("setting") or {})
            end = "ended" if result.get("ended") else f"stopped after {result.get('epoch')} epochs"
            print(f"{self.over} of {length} trials over: {told} {end}", flush=True)

        def on_trial_recover(
            self, iteration: int, trials: list[Any], trial: Any, **info: Any
        ) -> None:
            print(f"{trial}: its worker was lost; it goes on", flush=True)

        def on_trial_error(
            self, iteration: int, trials: list[Any], trial: Any, **info: Any
        ) -> None:
            self.over += 1
            print(f"{self.over} of {length} trials over: {trial}: its worker was lost", flush=True)

    return Telling()


class _Work:
    """What a worker of the cluster does for a trial; called by Tune with the point.

    Args:
        tuning: what all trials have in common.
        grid: the settings by number, where all are tried.
    """

    def __init__(self, tuning: Tuning, grid: list[dict[str, Any]] | None) -> None:
        self._tuning, self._grid = tuning, grid
        self._digests = Digests()
        self._here = str(Path.cwd())
        self.__name__ = "trial"  # Tune calls its trials by it

    def __call__(self, point: Mapping[str, Any]) -> None:
        os.chdir(self._here)  # where the tuning's relative paths begin; Tune's worker is elsewhere
        setting = setting_of(self._tuning.ranges, self._grid, point)
        from recbole_darec.studies.outcome import leave, read_outcome
        from recbole_darec.studies.worker import done

        best, epochs = _WORST, self._tuning.epochs

        def told(epoch: int, score: float) -> None:
            nonlocal best
            best = min(best, self._tuning.loss(score) or 0.0)
            if epoch + 1 < epochs:  # one that is over is not stopped any more
                _report({"epoch": epoch + 1, "loss": best, "ended": False, "setting": setting})

        try:
            task = self._tuning.task(setting, self._digests.of)
        except UserError as error:
            outcome = Outcome("failed", str(error))
        else:
            folder = self._tuning.folder / task.key
            folder.mkdir(parents=True, exist_ok=True)
            kept = read_outcome(folder)
            outcome = kept or done(task, told)
            if kept is None:
                leave(replace(outcome, users=None), folder)
        loss = self._tuning.loss(self._tuning.done(setting, outcome).score)
        plain = {
            "state": outcome.state, "reason": outcome.reason, "valid": outcome.valid,
            "test": outcome.test,
        }  # fmt: skip
        _report(
            {
                "epoch": epochs + 1, "loss": _WORST if loss is None else loss, "ended": True,
                "setting": setting, "outcome": plain,
            }
        )  # fmt: skip


def setting_of(
    ranges: Mapping[str, Range], grid: list[dict[str, Any]] | None, point: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of a point of Tune's: a number of the grid, or what was drawn."""
    return dict(grid[int(point[_NUMBER])]) if grid is not None else values_at(ranges, point)


def _report(metrics: dict[str, Any]) -> None:
    from ray import tune

    if hasattr(tune, "RunConfig"):
        tune.report(metrics)
    else:  # before Ray 2.43
        from ray.air import session

        session.report(metrics)


def _trial(tuning: Tuning, result: Any) -> Any:
    """Return what came of a trial of Tune's."""
    metrics = result.metrics or {}
    setting = metrics.get("setting") or {}
    if result.error is not None:
        return tuning.done(setting, Outcome("failed", f"its Ray worker was lost: {result.error}"))
    if metrics.get("ended"):
        return tuning.done(setting, Outcome(**metrics["outcome"]))
    if "loss" not in metrics:
        return tuning.done(setting, Outcome("failed", "it was ended before its first validation"))
    score = -metrics["loss"] if tuning.bigger else metrics["loss"]
    stopped = tuning.done(setting, Outcome("done", valid={tuning.metric: score}))
    return replace(stopped, stopped=int(metrics["epoch"]))
