"""A tuning from its beginning to its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_darec.settings.run_settings import Settings
from recbole_darec.studies.space import Range
from recbole_darec.studies.tuning import Teller, Tuning, tune_here
from recbole_darec.studies.tuning_files import (
    best_file,
    mark_finished,
    trials_folder,
    words,
    write_best,
    write_display,
    write_output,
)
from recbole_darec.studies.tuning_options import TuningOptions

__all__ = ["tune"]


def tune(
    model: str | None,
    dataset: str | None,
    files: Sequence[str],
    given: Mapping[str, Any],
    ranges: Mapping[str, Range],
    fixed: Settings,
    options: TuningOptions,
) -> bool:
    """Tune, and write what there is to keep; returns whether any trial succeeded.

    Args:
        model, dataset: as given; the files may name them.
        files: property files of all trials.
        given: options of the command line.
        ranges: what is chosen from, checked.
        fixed: the settings of a run without a choice.
        options: of the command.
    """
    folder = trials_folder(options.output_file, resume=options.resume)
    tuning = Tuning(model, dataset, files, given, ranges, fixed, folder)
    if options.tool == "Ray":
        from recbole_darec.studies.tuning_ray import tune_on_ray

        teller = tune_on_ray(tuning, options)
    else:
        teller = tune_here(tuning, options.max_evals, options.early_stop)
    write_output(options.output_file, teller.trials)
    if options.display_file is not None:
        write_display(options.display_file, teller.trials, tuning.metric)
    mark_finished(folder)
    return _tell_best(tuning, teller, options)


def _tell_best(tuning: Tuning, teller: Teller, options: TuningOptions) -> bool:
    failed = [trial for trial in teller.trials if trial.outcome.state == "failed"]
    if failed:
        print(f"{len(failed)} of {len(teller.trials)} trials failed; see {options.output_file}")
    best = tuning.best_of(teller.trials)
    if best is None:
        print("no trial succeeded", flush=True)
        return False
    path = best_file(options.output_file)
    number = teller.trials.index(best) + 1
    said = (
        f"Trial {number} of {len(teller.trials)}, chosen by validation {tuning.metric} "
        f"{best.score:.4f}"
    )
    write_best(path, tuning.best_content(best), said)
    print(f"best params:  {dict(best.setting)}")
    print(f"best result: \nvalid {best.outcome.valid}\ntest {best.outcome.test}")
    print(f"trials ({words(best.setting)} is the best) in {options.output_file}")
    print(f"the best configuration is in {path}: --config_files={path}", flush=True)
    return True
