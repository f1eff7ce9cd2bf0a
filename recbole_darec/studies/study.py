"""A study: a yaml that says which runs a question needs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_darec.alignment.registry import resolve_aligner
from recbole_darec.backbones.registry import resolve_backbone
from recbole_darec.errors import OptionError, nearest
from recbole_darec.resources import properties_dir
from recbole_darec.settings.options import Options
from recbole_darec.settings.values import read_yaml
from recbole_darec.studies.options import StudyOptions, TuneOptions

__all__ = ["ALONE", "Method", "Study", "Trial", "read_study"]

ALONE = "alone"
"""The backbone that stands in a table for models which are compared by themselves."""

_CONDITIONS = ("dataset", "model", "align", "variant")


@dataclass(frozen=True)
class Method:
    """One row of a study's table for one data set: what is trained, whatever its seed.

    Attributes:
        dataset: name of the data set.
        model: name of the backbone.
        align: name of the aligner.
        variant: name of the overrides, empty for none.
        alone: whether the model is compared by itself, beside all backbones.
        options: what the study sets for it, the variant's overrides left out.
        overrides: the variant's.
        tuned: whether the variant is tuned by itself, and does not take its method's setting.
    """

    dataset: str
    model: str
    align: str
    variant: str = ""
    alone: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    overrides: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tuned: bool = False

    @property
    def backbone(self) -> str:
        """The backbone's name in a table."""
        return ALONE if self.alone else self.model

    @property
    def name(self) -> str:
        """The method's name in a table."""
        return f"{self.model if self.alone else self.align} {self.variant}".strip()

    @property
    def place(self) -> dict[str, str]:
        """What a study's conditions ask for."""
        return {
            "dataset": self.dataset,
            "model": self.model,
            "align": self.align,
            "variant": self.variant,
        }


@dataclass(frozen=True)
class Trial:
    """One run of a study.

    Attributes:
        method: what is trained.
        seed: with which seed.
        setting: what tuning chose for it, or what a tuning run tries; wins over the method's own
            options, and loses against the variant's.
        tuning: whether the run is one of the search, and none of the table.
    """

    method: Method
    seed: int
    setting: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tuning: bool = False

    @property
    def given(self) -> dict[str, Any]:
        """All that the study says of the run's options."""
        method = self.method
        return {**method.options, **self.setting, **method.overrides, "seed": self.seed}


@dataclass(frozen=True)
class Study:
    """A study that was read and checked.

    Attributes:
        options: the yaml's content.
        tune: how each method is tuned first, or None.
        folder: where relative paths of the study begin: the working folder of the command.
    """

    options: StudyOptions
    tune: TuneOptions | None
    folder: Path

    @property
    def name(self) -> str:
        """The study's name."""
        return self.options.name

    def methods(self) -> list[Method]:
        """Return the methods in the yaml's order: data sets, backbones, aligners, variants."""
        options = self.options
        common = {**options.common, "valid_metric": options.metric}
        found: list[Method] = []
        for dataset, of_data in _named(options.datasets).items():
            for model, of_model in _named(options.backbones).items():
                for align, of_align in _named(options.aligners).items():
                    given = {**common, **of_data, **of_model, **of_align}
                    method = Method(dataset, model, align, options=given)
                    found += [method, *self._variants(method)]
            for model, of_model in _named(options.alone).items():
                given = {**common, **of_data, **of_model}
                method = Method(dataset, model, "none", alone=True, options=given)
                found += [method, *self._variants(method)]
        return found

    def _variants(self, method: Method) -> Iterator[Method]:
        for name, entry in self.options.variants.items():
            overrides = entry.get("set") or {}
            if _applies(entry, method.place):
                yield Method(
                    method.dataset, method.model, method.align, name, method.alone,
                    method.options, overrides, bool(entry.get("tuned")),
                )  # fmt: skip

    def seeds(self, method: Method) -> list[int]:
        """Return the seeds of a method."""
        more = (e["seeds"] for e in self.options.more_seeds if _applies(e, method.place))
        return list(dict.fromkeys(itertools.chain(self.options.seeds, *more)))


def read_study(name: str) -> Study:
    """Read a study from a file, or a bundled one of ``properties/study/`` by its name.

    Raises:
        OptionError: there is no such file, it has an unknown key, a value is not permitted, or a
            study extends itself.
    """
    path = _found(name, Path())
    content = _content(path, [])
    try:
        options = _parsed(StudyOptions, content, "")
        tune = None if options.tune is None else _parsed(TuneOptions, options.tune, "tune")
        _check(options)
    except OptionError as error:
        raise OptionError(f"study '{path}': {error}") from None
    return Study(options, tune, Path.cwd())


def _found(name: str, folder: Path) -> Path:
    path = folder / name
    if path.is_file():
        return path
    bundled = properties_dir() / "study"
    path = bundled / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in bundled.glob("*.yaml"))
        raise OptionError(
            f"study '{name}' is neither a file nor bundled{nearest(name, known)}; bundled are "
            f"{', '.join(known)}"
        )
    return path


def _content(path: Path, extended_by: Sequence[Path]) -> dict[str, Any]:
    """Return the keys of a study and, where it has none, those of the one that it extends."""
    if any(path.samefile(one) for one in extended_by):
        raise OptionError(
            f"study '{extended_by[0]}' extends itself: take 'extends' out of '{path}'"
        )
    content = read_yaml(path)
    extended = content.get("extends")
    if not isinstance(extended, str):  # None, or what is refused with the other values
        return content
    try:
        base = _found(extended, path.parent)
    except OptionError as error:
        raise OptionError(f"study '{path}': extends: {error}") from None
    inherited = _content(base, [*extended_by, path])
    inherited.pop("name", None)  # results are kept under it
    return {**inherited, **content}


def _parsed(group: Any, content: Mapping[str, Any], place: str) -> Any:
    known = list(group.model_fields)
    for key in content:
        if key not in known:
            where = f" under '{place}'" if place else ""
            raise OptionError(
                f"unknown key '{key}'{where}{nearest(key, known)}; there are {', '.join(known)}"
            )
    made: Options = group(**content)
    return made


def _check(options: StudyOptions) -> None:
    if not re.fullmatch(r"[\w.+-]+", options.name):
        raise OptionError(f"name='{options.name}' is to name a folder: letters, digits, - and _")
    for model in [*_named(options.backbones), *_named(options.alone)]:
        exact = resolve_backbone(model)
        if exact != model:
            raise OptionError(f"unknown model '{model}' (did you mean '{exact}'?)")
    for align in _named(options.aligners):
        resolve_aligner(align)
    if not _named(options.backbones) and not options.alone:
        raise OptionError("there are neither 'backbones' nor models 'alone'")
    if _named(options.backbones) and not _named(options.aligners):
        raise OptionError("there are backbones and no 'aligners'")
    names = {
        "dataset": list(_named(options.datasets)),
        "model": [*_named(options.backbones), *_named(options.alone)],
        "align": [*_named(options.aligners), "none"],
        "variant": ["", *options.variants],
    }
    for name, entry in options.variants.items():
        _check_entry(entry, "set", f"variant '{name}'", names, "tuned")
    for entry in options.more_seeds:
        _check_entry(entry, "seeds", "an entry of 'more_seeds'", names)
        seeds = entry["seeds"]
        if not isinstance(seeds, list) or not all(isinstance(seed, int) for seed in seeds):
            raise OptionError(f"'more_seeds': seeds={seeds!r} is not a list of whole numbers")
    if options.base not in _named(options.aligners) and _named(options.backbones):
        raise OptionError(
            f"base='{options.base}' is none of the aligners; the gain is told over it"
        )


def _check_entry(
    entry: Any, content: str, what: str, names: Mapping[str, list[str]], flag: str | None = None
) -> None:
    if not isinstance(entry, dict) or content not in entry:
        raise OptionError(f"{what} is a mapping with '{content}'")
    if content == "set" and not isinstance(entry["set"], dict):
        raise OptionError(f"{what}: 'set' is a mapping of options")
    for key, wanted in entry.items():
        if key == content:
            continue
        if key == flag:
            if not isinstance(wanted, bool):
                raise OptionError(f"{what}: '{flag}' is true or false, not {wanted!r}")
            continue
        if key not in _CONDITIONS:
            raise OptionError(
                f"{what} has the unknown key '{key}'{nearest(key, [*_CONDITIONS, content])}; it "
                f"takes {', '.join([*_CONDITIONS, *([flag] if flag else [])])} and {content}"
            )
        for one in _listed(wanted):
            if one not in names[key]:
                raise OptionError(
                    f"{what} asks for {key} '{one}'{nearest(str(one), names[key])}, which the "
                    "study does not have"
                )


def _applies(entry: Mapping[str, Any], place: Mapping[str, str]) -> bool:
    return all(place[key] in _listed(entry[key]) for key in _CONDITIONS if key in entry)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _named(value: Any) -> dict[str, dict[str, Any]]:
    """Return options by name: of a list of names, or of a mapping from names to options."""
    if isinstance(value, Mapping):
        return {str(name): dict(options or {}) for name, options in value.items()}
    return {str(name): {} for name in value}
