"""What an alignment method does.

An aligner is a plain object that owns its parameters in ``modules``.  It acts on tensors alone: it
never sees RecBole, a data set, a configuration or a file.  These steps are open to it, each a no-op
unless it says otherwise:

``alter_ego``
    change the ego embeddings before propagation (a masked reconstruction does),
``alter_final``
    change the final embeddings, in training and in prediction (a fused representation does),
``alter_scores``
    change a batch of users' scores, in prediction alone (a filter beside the backbone does),
``rank_profiles``
    make rows that rank out of the profiles of those who were not trained,
``losses``
    add named losses to the ranking loss,
``modules``
    parameters and buffers; whatever must be saved is a parameter or a buffer of theirs.

This module imports no torch, so that the command line can read an aligner's options.

Long because an aligner's whole contract is read in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recbole_darec.alignment.phases import ONE_PHASE, Expert, Phase
from recbole_darec.alignment.ranking import Ranking, TrainedRows
from recbole_darec.settings.options import Options

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Aligner", "ExpertStep", "NoOptions", "Ranking", "TrainedRows", "TrainingStep", "Widths"]


class NoOptions(Options):
    """The options of an aligner that has none."""


@dataclass(frozen=True)
class Widths:
    """Widths of the tables that an aligner works on, and whose rows they are.

    Attributes:
        backbone: of the backbone's final embeddings E^C, ``d``.
        ego: of the embeddings before propagation; another than ``backbone`` where layers are
            concatenated.
        profile: of the profile embeddings E^L.
        kinds: names of the kinds of rows in the table's order, for a method that has parameters
            of each.
    """

    backbone: int
    ego: int
    profile: int
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingStep:
    """What one training step hands to an aligner's losses.

    The rows of all kinds of entities stand in one table, in the order of ``kinds``: users above
    items for a user-item graph, items alone for a sequential family.

    Attributes:
        collaborative: final embeddings E^C, float ``[N, d]``, without padding rows; the very
            tensor that the ranking loss used.
        profiles: frozen profile embeddings E^L, float ``[N, width]``, the same rows.
        kinds: which rows belong to which kind, such as ``{"user": slice(0, n_users), ...}``.
        batch: row numbers of the batch's entities by role (``user``, ``item``, ``neg_item``),
            int64 ``[batch]``.
    """

    collaborative: Tensor
    profiles: Tensor
    kinds: Mapping[str, slice]
    batch: Mapping[str, Tensor]


@dataclass(frozen=True)
class ExpertStep:
    """What one training step hands to the losses of an aligner that has experts.

    Attributes:
        items: numbers of the step's distinct items among all, from 0, int64 ``[u]``; of all items
            where the ranking loss is over all.
        counts: in how many places of the step each stands, int64 ``[u]``.
        tables: rows of each expert's own table, float ``[u, d]`` by expert.
        rows: what :meth:`Aligner.expert_rows` made of them, by each expert that ranks.
        profiles: the items' frozen profile embeddings, float ``[u, width]``.
        wanted: names of the terms of the phase; None: all.
        ranked: returns the step's ranking loss, a scalar, where an expert, by name, reads and ranks
            with the rows ``[u, d]`` that are given, and no other one ranks.
    """

    items: Tensor
    counts: Tensor
    tables: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]
    profiles: Tensor
    wanted: tuple[str, ...] | None
    ranked: Callable[[str, Tensor], Tensor]

    @property
    def seen(self) -> Tensor:
        """Numbers of the rows whose items stand in the step, int64; the others have count 0."""
        return self.counts.nonzero()[:, 0]


class Aligner:
    """Base of the alignment methods; does nothing by itself.

    Args:
        options: the method's own options, an instance of ``Options``.
        widths: of the backbone's and of the profiles' embeddings, with the kinds of their rows.

    Attributes:
        needs_profiles: whether the method reads profile embeddings at all.
        takes_no_text: whether it runs without profiles of a kind, which are zero rows then.
        modules: the method's parameters and buffers, a ``torch.nn.Module`` or None.
        undecayed: names of submodules that ``weight_decay`` leaves alone, of a method with phases.
        replayable: whether every training step does the same operations on the same tensors, but
            for the batch: a GPU then records one and replays it.
    """

    Options: ClassVar[type] = NoOptions
    needs_profiles: ClassVar[bool] = True
    takes_no_text: ClassVar[bool] = False
    undecayed: ClassVar[tuple[str, ...]] = ()
    replayable: bool = False

    def __init__(self, options: Any, widths: Widths) -> None:
        self.options = options
        self.modules: Any = None

    @classmethod
    def check_sizes(cls, options: Any, kinds: Mapping[str, slice]) -> None:
        """Refuse options that the data set is too small for, before the method is made.

        Args:
            options: an instance of ``Options``.
            kinds: as in :class:`TrainingStep`.

        Raises:
            OptionError: in one line, with the option and the size.
        """

    def alter_ego(self, ego: Tensor, kinds: Mapping[str, slice]) -> Tensor:
        """Return the ego embeddings ``[N, d]`` that are propagated; called in training only.

        The ranking loss sees what is propagated; :meth:`losses` of the same step comes afterwards.

        Args:
            ego: the backbone's ego embeddings, rows and ``kinds`` as in :class:`TrainingStep`.
        """
        return ego

    def alter_final(self, final: Tensor, profiles: Tensor, kinds: Mapping[str, slice]) -> Tensor:
        """Return the final embeddings ``[N, d']`` that rank, in training and in prediction.

        Args:
            final: the backbone's final embeddings, rows and ``kinds`` as in :class:`TrainingStep`.
            profiles: the frozen profile embeddings of the same rows.
        """
        return final

    def check_ranking(self, ranking: Ranking) -> None:
        """Refuse data that the method cannot rank with, before anything is trained.

        Raises:
            OptionError: in one line, with the way out.
        """

    def alter_scores(self, scores: Tensor, users: Tensor, ranking: Ranking) -> Tensor:
        """Return the scores that rank, in prediction alone.

        Args:
            scores: the backbone's, over what :meth:`alter_final` made of it, float ``[b, n_items]``
                without a padding column.
            users: row numbers of the batch within the first kind, int64 ``[b]``; over a sequential
                backbone, whose only kind are the items, the items that each user took, as row
                numbers with -1 behind their ends, int64 ``[b, L]``.
            ranking: the training part and the profiles.
        """
        return scores

    def alter_scores_in_place(self, scores: Tensor, users: Tensor, ranking: Ranking) -> None:
        """Put what :meth:`alter_scores` returns in the place of the scores.

        A method that needs no second matrix of scores for that has a step of its own here.

        Args:
            scores, users, ranking: as in :meth:`alter_scores`.
        """
        altered = self.alter_scores(scores, users, ranking)
        if altered is not scores:
            scores.copy_(altered)

    def leaves_scores(self) -> bool:
        """Tell whether :meth:`alter_scores` returns the backbone's scores as they are for now."""
        return not self.alters("scores")

    def tune_scores(self, ranking: Ranking, validate: Callable[[], float]) -> None:
        """Find what :meth:`alter_scores` still lacks, once, after the training.

        Args:
            ranking: as in :meth:`alter_scores`.
            validate: evaluates the trained model as it ranks now; greater is better.
        """

    def chosen(self) -> dict[str, float]:
        """Return by option's name what the method found by itself, for a table of results."""
        return {}

    def rank_profiles(self, profiles: Tensor, trained: TrainedRows) -> Tensor | None:
        """Return rows ``[m, d]`` that rank among ``trained.rows``, for those with a profile alone.

        None where the method has no way from a profile to such a row.

        Args:
            profiles: of users or items that took no part in the training, float ``[m, width]``.
            trained: the rows of the same kind that did.
        """
        return None

    def alter_new_scores(
        self, new: Tensor, scores: Tensor, users: Tensor, profiles: Tensor, ranking: Ranking
    ) -> Tensor:
        """Return the scores ``[b, m]`` of new items, beside those of :meth:`alter_scores`.

        Args:
            new: the backbone's scores of the new items, ``[b, m]``.
            scores, users, ranking: as :meth:`alter_scores` gets them.
            profiles: of the new items, float ``[m, width]``.
        """
        return new

    def losses(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return the named scalar losses that are added to the ranking loss."""
        return {}

    # ---- experts and phases --------------------------------------------------------------------

    @classmethod
    def phases(cls, options: Any) -> tuple[Phase, ...]:
        """Return the phases of the training, in their order; one, of everything, by default."""
        return ONE_PHASE

    @classmethod
    def experts(cls, options: Any) -> tuple[Expert, ...]:
        """Return the experts of items, for a sequential backbone; none by default.

        Each is one more instance of the backbone, and the first is the backbone itself.
        """
        return ()

    def count_items(self, counts: Tensor) -> None:
        """Take note of how often each item stands in the training part, int64 ``[N]``.

        Called once, after the method is made.

        Raises:
            OptionError: the items do not suffice.
        """

    def expert_rows(self, expert: str, table: Tensor | None, profiles: Tensor) -> Tensor:
        """Return the rows ``[n, d]`` with which an expert reads and ranks n items.

        Args:
            expert: its name.
            table: the items' rows of its own table, ``[n, d]``; None where it has none.
            profiles: the items' frozen profile embeddings, ``[n, width]``.
        """
        raise NotImplementedError

    def gate(self, items: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        """Return the experts' weights for each item, ``[n, K]``; alike by default.

        Args:
            items: numbers of the items among all, int64 ``[n]``.
            rows: by expert, in order, as :meth:`expert_rows` made them.
        """
        some = next(iter(rows.values()))
        return some.new_full((len(items), len(rows)), 1.0 / len(rows))

    def expert_losses(self, step: ExpertStep) -> dict[str, Tensor]:
        """Return the named scalar losses of a step over experts."""
        return {}

    def gate_by_bucket(self) -> dict[str, float]:
        """Return the experts' weights by name and bucket, which ``--diagnostics`` logs."""
        return {}

    def sides(
        self, tables: Mapping[str, Tensor], profiles: Tensor
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return texts and ids by name whose discrepancy ``--diagnostics`` logs, ``[n, d]`` each.

        Args:
            tables: rows of n items in each expert's own table.
            profiles: their frozen profile embeddings.
        """
        return {}

    def representations(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return rows ``[n, d]`` by name whose collapse ``--diagnostics`` is to watch.

        Called without gradient; it draws no random number.
        """
        return {}

    @classmethod
    def alters(cls, what: str) -> bool:
        """Tell whether the method changes ``"ego"`` or ``"final"`` embeddings, or ``"scores"``."""
        return cls.does(f"alter_{what}")

    @classmethod
    def does(cls, step: str) -> bool:
        """Tell whether the method has a step of this name of its own, as ``rank_profiles``."""
        return getattr(cls, step) is not getattr(Aligner, step)

    @classmethod
    def has_experts(cls) -> bool:
        """Tell whether the method ranks by experts of its own."""
        return cls.expert_rows is not Aligner.expert_rows

    @classmethod
    def leaves_training(cls, options: Any) -> bool:
        """Tell whether a run is trained and validated, epoch by epoch, as without the method."""
        return False

    @classmethod
    def needs_embeddings(cls) -> bool:
        """Tell whether the method reads or changes embeddings; one of scores alone does not."""
        return (
            cls.has_experts()
            or cls.alters("ego")
            or cls.alters("final")
            or cls.losses is not Aligner.losses
        )
