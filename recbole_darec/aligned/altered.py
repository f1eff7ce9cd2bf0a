"""A backbone as its aligner alters it: embeddings in training, tables and scores in ranking."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from recbole_darec.aligned.access import (
    Captured,
    EmbeddingAccess,
    EmbeddingTables,
    MadeOnce,
    final_embeddings,
)
from recbole_darec.aligned.kinds import stacked, with_padding
from recbole_darec.aligned.scores import all_pairs, pair_scores
from recbole_darec.alignment.contract import Aligner, Ranking
from recbole_darec.errors import OptionError

if TYPE_CHECKING:
    from recbole.model.abstract_recommender import GeneralRecommender as _Backbone
else:
    _Backbone = object  # the backbone stands beside the mixin in a class's bases

__all__ = ["AlteredBackbone", "backbone_name"]


class AlteredBackbone(_Backbone):
    """Mixin over a RecBole general recommender: what its aligner makes of it.

    Its subclass, :class:`~recbole_darec.aligned.recommender.AlignedRecommender`, makes the aligner
    and sets the attributes.
    """

    align_method: ClassVar[str | None] = None
    aligner: Aligner
    alignment: Any
    profile_rows: Any  # a tensor; of experts over many items RowsInFile
    _method_name: str
    _sizes: dict[str, int]
    _kinds: dict[str, slice]
    _access: EmbeddingAccess | None
    _captured: Captured | None
    _ranking: Ranking | None
    _tables_that_rank: MadeOnce

    @contextlib.contextmanager
    def capture_forward(self) -> Iterator[Captured]:
        """Capture the final embeddings of one training step, from its first forward pass."""
        self._captured = captured = Captured()
        try:
            yield captured
        finally:
            # The graph of the step must not outlive it.
            self._captured = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the backbone's result, as the aligner alters it, and capture it in training.

        In a training step the aligner acts on the first pass alone: it is the one that ranks, and
        the augmented views of a contrastive backbone stay as they are.
        """
        if self._access is not None and self._access.route == "tables":
            return super().forward(*args, **kwargs)  # type: ignore[misc]
        first = self._captured is not None and self._captured.final is None
        with self._propagating_altered() if first else contextlib.nullcontext():
            result = super().forward(*args, **kwargs)  # type: ignore[misc]
        if self._acts("final") and (first or self._captured is None):
            result = self._altered_final(result)
        if first:
            assert self._captured is not None
            self._captured.final = final_embeddings(result, self._sizes)
        return result

    def predict(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the scores of pairs, as the aligner alters tables or scores, ``[batch]``."""
        if self.alters_scores():
            return pair_scores(self.full_sort_predict, interaction, self.USER_ID, self.ITEM_ID)
        with self.ranking_tables():
            return super().predict(interaction, *args, **kwargs)  # type: ignore[misc]

    def full_sort_predict(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the scores of all items, as the aligner alters tables or scores, ``[b * n]``."""
        if not self.alters_scores():
            with self.ranking_tables():
                return super().full_sort_predict(  # type: ignore[misc]
                    interaction, *args, **kwargs
                )
        return self._altered_scores(interaction, self.own_scores(interaction)).view(-1)

    def own_scores(self, interaction: Any) -> Tensor:
        """Return the backbone's scores of all items ``[b, n]``, over tables as they are altered."""
        with self.ranking_tables():
            try:
                flat = super().full_sort_predict(interaction)  # type: ignore[misc]
            except NotImplementedError:  # NeuMF scores pairs only
                flat = all_pairs(super().predict, interaction, self.ITEM_ID, self.n_items)
        scores: Tensor = flat.view(-1, self.n_items)
        return scores

    def scores_of_all(self, interaction: Any) -> Tensor:
        """Return what :meth:`full_sort_predict` does, ``[b, n]``, of a model of pairs, too."""
        try:
            flat = self.full_sort_predict(interaction)
        except NotImplementedError:
            flat = all_pairs(self.predict, interaction, self.ITEM_ID, self.n_items)
        scores: Tensor = flat.view(-1, self.n_items)
        return scores

    def altered_with_new(
        self, interaction: Any, of_new: Callable[[Any, Tensor], Tensor], profiles: Tensor
    ) -> Tensor:
        """Return the altered scores of all items and of new ones behind them, ``[b, n + m]``.

        Args:
            interaction: the users.
            of_new: the backbone's scores of the new items ``[b, m]``, out of its own of all.
            profiles: of the new items, ``[m, width]``.
        """
        own = self.own_scores(interaction)
        assert self._ranking is not None
        new = of_new(interaction, own)
        new = self.aligner.alter_new_scores(
            new, own[:, 1:], self._asked_for(interaction), profiles, self._ranking
        )
        return torch.cat([self._altered_scores(interaction, own), new.to(own.dtype)], dim=1)

    def _altered_scores(self, interaction: Any, own: Tensor) -> Tensor:
        """Return the scores as the aligner alters them, in place, as RecBole puts its masks."""
        assert self._ranking is not None
        users = self._asked_for(interaction)
        self.aligner.alter_scores_in_place(own[:, 1:], users, self._ranking)
        return own

    def _asked_for(self, interaction: Any) -> Tensor:
        """Return whom an aligner alters scores for, as :meth:`Aligner.alter_scores` takes it."""
        users: Tensor = interaction[self.USER_ID] - 1
        return users

    # ---- what the aligner makes of them ----------------------------------------------------

    def _acts(self, what: str) -> bool:
        # The backbone's constructor runs, and its width is measured, before there is an aligner.
        aligner: Aligner | None = getattr(self, "aligner", None)
        return aligner is not None and aligner.alters(what)

    def alters_scores(self) -> bool:
        """Tell whether what ranks is not what the backbone says, but an aligner's scores."""
        return self._ranking is not None and not self.aligner.leaves_scores()

    def _alters_tables(self) -> bool:
        return self._acts("final") and self._access is not None and self._access.route == "tables"

    @contextlib.contextmanager
    def _propagating_altered(self) -> Iterator[None]:
        """Have the backbone propagate the ego embeddings as the aligner alters them."""
        if not self._acts("ego"):
            yield
            return
        ego = self._tables().weights(self)
        rows = self.aligner.alter_ego(stacked(ego), self._kinds)
        with self._tables().swapped(self, with_padding(rows, self._kinds, ego)):
            yield

    @property
    def align_name(self) -> str:
        """The name that ``--align`` takes for the method."""
        return self._method_name

    @property
    def table_sizes(self) -> dict[str, int]:
        """Rows of each kind's table, the padding counted."""
        return dict(self._sizes)

    @property
    def kinds(self) -> dict[str, slice]:
        """Which rows of the one table belong to which kind."""
        return dict(self._kinds)

    @contextlib.contextmanager
    def ranking_tables(self) -> Iterator[dict[str, Tensor] | None]:
        """Put the altered tables in the tables' place, where a backbone ranks with them."""
        if not self._alters_tables():
            yield None
            return
        rows = self._rows_that_rank()
        with self._tables().swapped(self, rows):
            yield rows

    def _rows_that_rank(self) -> dict[str, Tensor]:
        """Return the altered tables, made once for all batches of users of an evaluation."""
        if self.training or torch.is_grad_enabled():
            self._tables_that_rank.forget()
            return self._altered_tables()
        sources = [*self._tables().weights(self).values(), self.profile_rows]
        if self.alignment is not None:
            sources += [*self.alignment.parameters(), *self.alignment.buffers()]
        return self._tables_that_rank.get(sources, self._altered_tables)

    def _altered_tables(self) -> dict[str, Tensor]:
        tables = self._tables().weights(self)
        rows = self.aligner.alter_final(stacked(tables), self.profile_rows, self._kinds)
        width = next(iter(tables.values())).shape[1]
        if rows.shape[1] != width:
            raise OptionError(
                f"--align={self._method_name} makes the embeddings {rows.shape[1]} wide, and the "
                f"model '{backbone_name(type(self))}' ranks with tables of width {width}: set "
                "kar_fusion=add, or take a graph model"
            )
        return with_padding(rows, self._kinds, tables)

    def _altered_final(self, result: Any) -> Any:
        final = final_embeddings(result, self._sizes)
        if final is None:
            raise self.no_embeddings()
        rows = self.aligner.alter_final(stacked(final), self.profile_rows, self._kinds)
        return (*with_padding(rows, self._kinds, final).values(), *result[len(final) :])

    def _tables(self) -> EmbeddingTables:
        assert self._access is not None
        assert self._access.tables is not None
        return self._access.tables

    @property
    def replayable(self) -> bool:
        """Whether every training step does the same on the same tensors, but for the batch."""
        # The backbone's attribute; RecBole's own models have none.
        return bool(getattr(super(), "replayable", False)) and self.aligner.replayable

    @property
    def tunes_ranking(self) -> bool:
        """Whether something of what ranks is found by validation, once the training is over."""
        return self._ranking is not None or hasattr(super(), "tune_by_validation")

    def tune_scores(self, validate: Callable[[], float]) -> None:
        """Let the model and its aligner find what they rank with, once, after the training.

        Args:
            validate: evaluates the model as it ranks now; greater is better.
        """
        of_model = getattr(super(), "tune_by_validation", None)
        if of_model is not None:
            of_model(validate)
        if self._ranking is not None:
            self.aligner.tune_scores(self._ranking, validate)

    def no_embeddings(self) -> OptionError:
        """Return the error for a backbone that an aligner finds no embeddings in."""
        name = backbone_name(type(self))
        return OptionError(
            f"the model '{name}' does not yield final embeddings of all users and items, which "
            "an aligner needs; take a backbone such as LightGCN, or --align=none"
        )


def backbone_name(cls: type) -> str:
    """Return the name of the backbone that a class was made of."""
    for parent in cls.__mro__:
        if not issubclass(parent, AlteredBackbone):
            return parent.__name__
    return cls.__name__
