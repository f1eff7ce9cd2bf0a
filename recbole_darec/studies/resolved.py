"""From a trial to the settings of its run, and to the key under which its result is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_darec.alignment.contract import Aligner
from recbole_darec.alignment.phases import planned
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.backbones.registry import ranks_alone
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve, restore
from recbole_darec.settings.options import option_names, parse_options
from recbole_darec.settings.run_options import (
    WITHOUT_EFFECT,
    ProfileSourceOptions,
    bucket_names,
)
from recbole_darec.settings.run_settings import Settings
from recbole_darec.studies.fingerprint import content_digest, data_files, needs_profiles
from recbole_darec.studies.study import Trial

__all__ = ["Resolved", "Resolver", "key_of", "metric_names", "with_whole_paths"]

# Where files lie; what is in them is in the data's digest.
_PATHS = ("data_path", "profile_dir", "user_profile_file", "item_profile_file")
_OTHER_PATHS = ("pretrained",)
_OF_THE_PLACE = frozenset({*_PATHS, "gpu_id"})

# What every run of a study has unless the study says otherwise: the result is the same to the
# digit however many runs go on beside it.
_RUN = {"num_threads": 1, "show_progress": False}


@dataclass(frozen=True)
class Resolved:
    """A trial whose run is known to the last option, or is known to be impossible.

    Attributes:
        trial: of the study.
        key: of its result: digest of the whole configuration and of the data.
        values: every option, for :func:`recbole_darec.resolve.restore`; as given if it is faulty.
        data: digest of the files that it reads.
        fault: why it cannot run, None where it can.
        training: digest of all that its training depends on; runs that share it differ only in how
            they rank.
        trains_plainly: whether it has nothing but that, so that others may take its model.
        first_phase: digest of all that its first phase depends on, where this is plain and others
            follow; the ``training`` of a run with ``align=none`` that trains the same to the bit.
            Empty where there is no such phase.
    """

    trial: Trial
    key: str
    values: Mapping[str, Any]
    data: str
    fault: str | None = None
    training: str = ""
    trains_plainly: bool = False
    first_phase: str = ""


class Resolver:
    """Resolves trials; each method once, whatever its seeds.

    Args:
        folder: where relative paths begin.
        digest_of: digest of a file's content.
    """

    def __init__(self, folder: Path, digest_of: Callable[[Path], str]) -> None:
        self._folder = folder
        self._digest_of = digest_of
        self._settings: dict[str, Settings] = {}
        self._data: dict[str, str] = {}
        self._resolved: dict[str, Resolved] = {}

    def settings(self, trial: Trial) -> Settings:
        """Return a trial's settings; those of its method's other seeds differ in the seed.

        Raises:
            UserError: an option is unknown or not permitted.
        """
        method = trial.method
        given = {**_RUN, **trial.given, "align": method.align}
        seed = given.pop("seed")
        key = _text([method.model, method.dataset, given])
        if key not in self._settings:
            found = resolve(method.model, method.dataset, config_dict=given)
            self._settings[key] = found.with_values(with_whole_paths(found.values, self._folder))
        found = self._settings[key]
        return found.with_values({**found.values, "seed": seed})

    def resolved(self, trial: Trial) -> Resolved:
        """Return the trial with its key; one with a faulty option says so.

        Raises:
            DataError: its data set is not there, or has no profiles.
        """
        method = trial.method
        named = [method.model, method.dataset, method.align]
        known = _text([*named, trial.given])
        if known not in self._resolved:
            self._resolved[known] = self._resolve(trial, named)
        return replace(self._resolved[known], trial=trial)

    def _resolve(self, trial: Trial, named: list[str]) -> Resolved:
        try:
            settings = self.settings(trial)
            if settings.run.nproc > 1:
                raise OptionError(
                    f"nproc={settings.run.nproc}: a study has processes of its own, one a run: "
                    "leave it out (--jobs says how many)"
                )
            data = self._data_of(settings)
            first_phase = self._first_phase(settings)
        except OptionError as error:
            return Resolved(
                trial, _digest([*named, trial.given]), trial.given, "", _of_study(error)
            )
        key = key_of(settings, data)
        plain = _trained_alone(settings)
        training = key_of(plain, self._data_of(plain))
        plainly = plain.align == settings.align
        return Resolved(trial, key, settings.values, data, None, training, plainly, first_phase)

    def _first_phase(self, settings: Settings) -> str:
        method = aligner_class(settings.align)
        options = parse_options(method.Options, settings.values)
        first, *others = planned(method.phases(options), options)
        if not (first.plain and others) or getattr(options, "pretrained", None) is not None:
            return ""
        plain = _without(settings, [method], "none", first.own_options())
        training = key_of(plain, self._data_of(plain))
        # Another backbone's own loss has terms that a phase over experts leaves out.
        return training if ranks_alone(plain.model) else _digest([training, first.name])

    def _data_of(self, settings: Settings) -> str:
        files = data_files(settings)
        key = _text([str(file) for file in files])
        if key not in self._data:
            self._data[key] = content_digest(files, self._digest_of)
        return self._data[key]


def _of_study(error: OptionError) -> str:
    return str(error).replace(" on config_dict", " in the study")


def _kept(settings: Settings) -> dict[str, Any]:
    """Return the options that decide what a run computes; not where it is done and shown."""
    left_out, later = WITHOUT_EFFECT | _OF_THE_PLACE, settings.later_defaults
    return {
        name: value
        for name, value in settings.values.items()
        if name not in left_out and not (name in later and value == later[name])
    }


def _trained_alone(settings: Settings) -> Settings:
    """Return the settings without the aligners that leave the training as it is."""
    parts = {name: aligner_class(name) for name in settings.align.split("+")}
    rest: list[str] = []
    gone: list[str] = []
    for name, method in parts.items():
        options = parse_options(method.Options, settings.values)
        (gone if method.leaves_training(options) else rest).append(name)
    return _without(settings, [parts[name] for name in gone], "+".join(rest) or "none")


def _without(
    settings: Settings,
    methods: Sequence[type[Aligner]],
    align: str,
    changed: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the settings without the options of some aligners, and without those that they need.

    Args:
        settings: of a run with them.
        methods: the aligners that go.
        align: what is left.
        changed: options that are others then.
    """
    dropped = {name for method in methods for name in option_names(method.Options)}
    values = {name: value for name, value in settings.values.items() if name not in dropped}
    values |= {**(changed or {}), "align": align}
    plain = restore(settings.model, settings.dataset, align, values)
    if needs_profiles(plain):
        return plain
    sources = option_names(ProfileSourceOptions)
    return plain.with_values({n: v for n, v in plain.values.items() if n not in sources})


def key_of(settings: Settings, data: str) -> str:
    """Return the key of a run: digest of all that decides what comes of it.

    Args:
        settings: of the run.
        data: digest of the files that it reads.
    """
    return _digest([settings.model, settings.dataset, settings.align, _kept(settings), data])


def with_whole_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a run's values for a worker, which has another working folder.

    Args:
        values: of the run.
        folder: where relative paths begin.
    """
    data_path = folder / str(values.get("data_path", "dataset/"))
    whole = {**values, "data_path": str(data_path)}
    for name in (*_PATHS, *_OTHER_PATHS):
        # A profile file may be named as it lies in the data set's folder.
        if isinstance(values.get(name), str) and (folder / values[name]).exists():
            whole[name] = str(folder / values[name])
    return whole


def metric_names(values: Mapping[str, Any]) -> set[str]:
    """Return the names under which a run reports its metrics."""
    metrics = [str(m).lower() for m in _listed(values.get("metrics", []))]
    of_lists = [f"{m}@{k}" for m in metrics for k in _listed(values.get("topk", []))]
    n_buckets = int(values.get("result_buckets") or 0)
    names = bucket_names(n_buckets) if n_buckets else []
    return {*metrics, *of_lists, *(f"{m} {name}" for m in of_lists for name in names)}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _digest(value: Any) -> str:
    return hashlib.sha256(_text(value).encode()).hexdigest()[:16]
