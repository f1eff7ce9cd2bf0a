"""Which option names a run knows: a misspelt one is answered with the nearest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_darec.errors import OptionError, nearest
from recbole_darec.settings.options import Options, option_names
from recbole_darec.settings.recbole_models import recbole_model_keys
from recbole_darec.settings.recbole_options import recbole_keys
from recbole_darec.settings.run_options import COMMON_OPTIONS, FAMILY_OPTIONS
from recbole_darec.settings.run_settings import Methods

__all__ = ["KnownNames"]


class KnownNames:
    """The names that are options of a run, or of another backbone or aligner.

    Args:
        model: exact name of the run's backbone.
        align: name of its aligner.
        backbone: the class of the backbone's options.
        aligner: the class of the aligner's options.
        backbones: all backbones.
        aligners: all aligners.
        family: of the run's backbone.

    Attributes:
        common: every option of a run of this backbone, whatever its aligner.
    """

    def __init__(
        self,
        model: str,
        align: str,
        backbone: type[Options] | None,
        aligner: type[Options],
        backbones: Methods,
        aligners: Methods,
        family: str = "general",
    ) -> None:
        self.common = {*recbole_keys(), *recbole_model_keys(model), *option_names(*COMMON_OPTIONS)}
        self.common |= _names(backbone) | _names(FAMILY_OPTIONS.get(family))
        self._model = model
        self._align = align
        self._aligner = _names(aligner)
        self._backbones = backbones
        self._aligners = aligners

    def check_file(self, layer: Mapping[str, Any], source: str) -> None:
        """Refuse an unknown option; a file may hold those of several backbones and aligners.

        Raises:
            OptionError: nobody has an option of this name.
        """
        unknown = [key for key in layer if key not in self.common and key not in self._aligner]
        if not unknown:
            return
        known = self.common.union(*self._of_aligners().values(), *self._of_families().values())
        if any(key not in known for key in unknown):
            for model in self._backbones.names():
                known |= recbole_model_keys(model) | _names(self._backbones.options(model))
        for key in unknown:
            if key not in known:
                raise OptionError(f"unknown option '{key}' in {source}{nearest(key, known)}")

    def check_direct(self, layer: Mapping[str, Any], source: str) -> None:
        """Refuse an option that is given for this run and belongs to another backbone or aligner.

        Raises:
            OptionError: the option is unknown, or another aligner's.
        """
        known = self.common | self._aligner
        if all(key in known for key in layer):
            return
        others = self._of_aligners()
        if self._align == "none":
            # The backbone alone is every aligner's control: the same command, one word changed.
            known = known.union(*others.values())
        for key in layer:
            if key in known:
                continue
            owners = [f"--align={name}" for name, names in others.items() if key in names]
            models = [
                *(f"{family} models" for family, had in self._of_families().items() if key in had),
                *self._models_with(key),
            ]
            if models:
                raise OptionError(
                    f"option '{key}' on {source} belongs to {_listed(models)}, not to {self._model}"
                )
            if owners:
                raise OptionError(
                    f"option '{key}' on {source} belongs to {_listed(owners)}, not to {self._align}"
                )
            raise OptionError(f"unknown option '{key}' on {source}{nearest(key, known)}")

    def _models_with(self, key: str) -> list[str]:
        names = self._backbones.names()
        return [name for name in names if key in _names(self._backbones.options(name))]

    def _of_families(self) -> dict[str, set[str]]:
        return {family: _names(options) for family, options in FAMILY_OPTIONS.items()}

    def _of_aligners(self) -> dict[str, set[str]]:
        return {name: _names(self._aligners.options(name)) for name in self._aligners.names()}


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _names(group: type[Options] | None) -> set[str]:
    return set() if group is None else set(option_names(group))
