"""The settings of one run: what was chosen, its values, and its options as checked objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from recbole_darec.settings.options import Options, declarations, option_names, parse_options
from recbole_darec.settings.recbole_models import recbole_model_options
from recbole_darec.settings.recbole_options import CheckedRecBoleOptions
from recbole_darec.settings.run_options import (
    COMMON_OPTIONS,
    FAMILY_OPTIONS,
    EvaluationOptions,
    ProfileSourceOptions,
    RunOptions,
)

__all__ = ["Methods", "Settings", "make_settings"]


@dataclass(frozen=True)
class Methods:
    """The backbones, or the aligners, that a run may choose from.

    Attributes:
        names: returns every name that the option takes.
        exact: returns a name as it is registered, or raises an :class:`OptionError`.
        options: returns the class of a method's options, None for one without a class.
        family: returns the family of a name or of a caller's own class, such as ``sequential``.
    """

    names: Callable[[], list[str]]
    exact: Callable[[str], str]
    options: Callable[[str], type[Options] | None]
    family: Callable[[str, type | None], str] = lambda name, own_class: "general"


@dataclass(frozen=True)
class Settings:
    """The settings of one run, checked.

    Attributes:
        model: exact name of the backbone.
        model_class: the class that the caller gave instead of a name, or None.
        dataset: name of the data set.
        align: name of the aligner.
        values: every option that is not RecBole's own default, plain values only.
        run: what the run does.
        profile_source: where the profile embeddings come from.
        evaluation: how the run is evaluated.
        aligner: the aligner's options.
        backbone: the backbone's options; None for one that has no class of options.
        family: the backbone's family, ``general`` or ``sequential``.
        of_family: the options that all backbones of the family have; None where there are none.
    """

    model: str
    model_class: type | None
    dataset: str
    align: str
    values: dict[str, Any]
    run: RunOptions
    profile_source: ProfileSourceOptions
    evaluation: EvaluationOptions
    aligner: Options
    backbone: Options | None
    family: str = "general"
    of_family: Options | None = None

    @property
    def groups(self) -> tuple[Options, ...]:
        """All groups of options."""
        groups = (self.run, self.profile_source, self.evaluation, self.aligner, self.backbone)
        return tuple(group for group in (*groups, self.of_family) if group is not None)

    @property
    def later_defaults(self) -> dict[str, Any]:
        """The defaults of the options that files of older versions lack."""
        return {
            name: type(group).model_fields[name].get_default(call_default_factory=True)
            for group in self.groups
            for name, declared in declarations(type(group)).items()
            if declared.since is not None
        }

    def with_values(self, values: Mapping[str, Any]) -> Settings:
        """Return the settings of the same backbone and aligner with other values."""
        return make_settings(
            self.model,
            self.model_class,
            self.dataset,
            self.align,
            dict(values),
            type(self.aligner),
            None if self.backbone is None else type(self.backbone),
            self.family,
        )

    def without_aligner(self) -> Settings:
        """Return the settings of the backbone alone."""
        values = {**self.values, "align": "none"}
        backbone = None if self.backbone is None else type(self.backbone)
        return make_settings(
            self.model,
            self.model_class,
            self.dataset,
            "none",
            values,
            Options,
            backbone,
            self.family,
        )


def make_settings(
    model: str,
    model_class: type | None,
    dataset: str,
    align: str,
    values: dict[str, Any],
    aligner: type[Options],
    backbone: type[Options] | None,
    family: str = "general",
) -> Settings:
    """Return the settings, with every value that an option declares checked and of its type."""
    if isinstance(values.get("learner"), str):
        values["learner"] = values["learner"].lower()  # as RecBole reads it
    groups: list[type[Options]] = [*COMMON_OPTIONS, aligner, CheckedRecBoleOptions]
    groups += [backbone or Options, FAMILY_OPTIONS.get(family, Options)]
    named_by_recbole = backbone is None and model_class is None
    theirs = recbole_model_options(model) if named_by_recbole else Options
    made = []
    for group in [*groups, theirs]:
        # Where a model has a list and most have a number, the model's own type holds.
        own = option_names(theirs) if group is CheckedRecBoleOptions else ()
        given = {name: value for name, value in values.items() if name not in own}
        options = parse_options(group, given)
        made.append(options)
        values.update((name, value) for name, value in options if name in given)
    run, source, evaluation, of_aligner, _, of_backbone, of_family, _ = made
    assert isinstance(run, RunOptions)
    assert isinstance(source, ProfileSourceOptions)
    assert isinstance(evaluation, EvaluationOptions)
    return Settings(
        model,
        model_class,
        dataset,
        align,
        values,
        run,
        source,
        evaluation,
        of_aligner,
        None if backbone is None else of_backbone,
        family,
        of_family if family in FAMILY_OPTIONS else None,
    )
