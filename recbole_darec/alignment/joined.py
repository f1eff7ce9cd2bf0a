"""Several aligners as one: ``--align=rlmrec_con+text_filter``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from recbole_darec.alignment.contract import (
    Aligner,
    Ranking,
    TrainedRows,
    TrainingStep,
    Widths,
)
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import Options, parse_options

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_joined", "joined_class"]

_STEPS = {
    "ego": "the embeddings before propagation",
    "final": "the representation",
    "scores": "the scores",
}


def check_joined(methods: Mapping[str, type[Aligner]], name: str) -> None:
    """Refuse methods that do not go together.

    Raises:
        OptionError: one of them stands there twice or is ``none``, or two change the same thing.
    """
    parts = name.split("+")
    if len(set(parts)) < len(parts) or "none" in parts:
        raise OptionError(f"--align={name} must join different methods, and not none")
    experts = [part for part, method in methods.items() if method.has_experts()]
    if experts:
        raise OptionError(
            f"--align={name}: {experts[0]} ranks by experts of its own, and joins none"
        )
    for step, what in _STEPS.items():
        both = [part for part, method in methods.items() if method.alters(step)]
        if len(both) > 1:
            raise OptionError(
                f"--align={name}: {' and '.join(both)} both change {what}; leave one of them out"
            )


def joined_class(methods: Mapping[str, type[Aligner]]) -> type[Aligner]:
    """Return the aligner that does what each of several does, in their order."""
    return _joined(tuple(methods.items()))


@cache
def _joined(methods: tuple[tuple[str, type[Aligner]], ...]) -> type[Aligner]:
    groups = tuple(dict.fromkeys(method.Options for _, method in methods))
    options = type("+".join(name for name, _ in methods), groups, {"__module__": __name__})
    altered = {
        f"alter_{step}": getattr(_Joined, f"_alter_{step}")
        for step in _STEPS
        if any(method.alters(step) for _, method in methods)
    }
    if any(method.does("rank_profiles") for _, method in methods):
        altered["rank_profiles"] = _Joined._rank_profiles
    with_losses = [m for _, m in methods if m.losses is not Aligner.losses]
    if with_losses:
        altered["losses"] = _Joined._losses
    return type(
        "".join(method.__name__ for _, method in methods),
        (_Joined,),
        {
            **altered,
            "Options": options,
            "methods": dict(methods),
            "needs_profiles": any(method.needs_profiles for _, method in methods),
            "takes_no_text": all(method.takes_no_text for _, method in methods),
        },
    )


class _Joined(Aligner):
    """Each step of each method; no two of them alter the same thing."""

    Options: ClassVar[type] = Options
    methods: ClassVar[Mapping[str, type[Aligner]]] = {}

    def __init__(self, options: Any, widths: Widths) -> None:
        super().__init__(options, widths)
        from torch import nn

        values = dict(options)
        self.parts = {
            name: method(parse_options(method.Options, values), widths)
            for name, method in self.methods.items()
        }
        self.replayable = all(part.replayable for part in self.parts.values())
        modules = {n: part.modules for n, part in self.parts.items() if part.modules is not None}
        self.modules = nn.ModuleDict(modules) if modules else None

    @classmethod
    def check_sizes(cls, options: Any, kinds: Mapping[str, slice]) -> None:
        for method in cls.methods.values():
            method.check_sizes(parse_options(method.Options, dict(options)), kinds)

    def check_ranking(self, ranking: Ranking) -> None:
        for part in self.parts.values():
            part.check_ranking(ranking)

    def leaves_scores(self) -> bool:
        return all(part.leaves_scores() for part in self.parts.values())

    def tune_scores(self, ranking: Ranking, validate: Callable[[], float]) -> None:
        for part in self.parts.values():
            part.tune_scores(ranking, validate)

    def chosen(self) -> dict[str, float]:
        return {
            name: value for part in self.parts.values() for name, value in part.chosen().items()
        }

    def representations(self, step: TrainingStep) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for part in self.parts.values():
            found.update(part.representations(step))
        return found

    def _that_alters(self, step: str) -> Aligner:
        return next(part for part in self.parts.values() if part.alters(step))

    def _alter_ego(self, ego: Tensor, kinds: Mapping[str, slice]) -> Tensor:
        return self._that_alters("ego").alter_ego(ego, kinds)

    def _alter_final(self, final: Tensor, profiles: Tensor, kinds: Mapping[str, slice]) -> Tensor:
        return self._that_alters("final").alter_final(final, profiles, kinds)

    def _alter_scores(self, scores: Tensor, users: Tensor, ranking: Ranking) -> Tensor:
        return self._that_alters("scores").alter_scores(scores, users, ranking)

    def alter_scores_in_place(self, scores: Tensor, users: Tensor, ranking: Ranking) -> None:
        for part in self.parts.values():
            part.alter_scores_in_place(scores, users, ranking)

    def alter_new_scores(
        self, new: Tensor, scores: Tensor, users: Tensor, profiles: Tensor, ranking: Ranking
    ) -> Tensor:
        for part in self.parts.values():
            new = part.alter_new_scores(new, scores, users, profiles, ranking)
        return new

    def _rank_profiles(self, profiles: Tensor, trained: TrainedRows) -> Tensor | None:
        ways = (part for part in self.parts.values() if part.does("rank_profiles"))
        return next(ways).rank_profiles(profiles, trained)

    def _losses(self, step: TrainingStep) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            for loss, value in part.losses(step).items():
                found[f"{name}.{loss}" if loss in found else loss] = value
        return found
