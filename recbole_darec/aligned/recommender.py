"""Where a backbone and an aligner meet.

``class DaRecLightGCN(DaRecMixin, LightGCN)`` is all it takes by hand; :func:`aligned_class` makes
such classes by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from recbole_darec.aligned.access import EmbeddingAccess, EmbeddingTables, final_pair, probe
from recbole_darec.aligned.diagnostics import gradient_norms, shape_of_rows
from recbole_darec.aligned.profile_rows import profile_rows
from recbole_darec.alignment.contract import Aligner, TrainingStep, Widths
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import RunOptions, options_from_config

if TYPE_CHECKING:
    from recbole.model.abstract_recommender import GeneralRecommender as _Backbone
else:
    _Backbone = object  # the backbone stands beside the mixin in a class's bases

__all__ = ["AlignedRecommender", "DaRecMixin", "aligned_class"]


@dataclass
class _Seen:
    """The final embeddings of one training step: no second propagation."""

    final: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class _Kept:
    """The altered tables of an evaluation, and what they were made of."""

    made_of: tuple[tuple[int, int], ...]
    rows: tuple[Tensor, Tensor]


class AlignedRecommender(_Backbone):
    """Mixin over a RecBole general recommender: one backbone, one aligner, one training step.

    The aligner's method is ``align_method``, or the configuration's ``align`` where a class does
    not fix it.

    Attributes:
        aligner: the alignment method.
        loss_names: names of the parts that the last :meth:`calculate_loss` returned.
        diagnose_next: set to have the next :meth:`calculate_loss` fill ``diagnostics``.
        diagnostics: what was last found by name, plain numbers.
    """

    align_method: ClassVar[str | None] = None

    def __init__(self, config: Any, dataset: Any) -> None:
        self._access: EmbeddingAccess | None = None
        self._seen: _Seen | None = None
        self._kept: _Kept | None = None
        super().__init__(config, dataset)  # type: ignore[call-arg]
        self._method_name = str(self.align_method or config["align"] or "darec")
        method = aligner_class(self._method_name)
        options = options_from_config(method.Options, config)
        self.loss_names: tuple[str, ...] = ()
        self.diagnose_next = False
        self.diagnostics: dict[str, float] = {}
        self._kinds = {
            "user": slice(0, self.n_users - 1),
            "item": slice(self.n_users - 1, self.n_users + self.n_items - 2),
        }
        method.check_sizes(options, self._kinds)
        widths = Widths(0, 0, 0)
        acts = method.needs_profiles or method.alters("ego") or method.alters("final")
        if acts or options_from_config(RunOptions, config).diagnostics:
            access, failure = probe(self, config)
            if access is None:
                raise self._no_embeddings() from failure
            self._access = access
            if method.alters("ego") and not (access.propagates and access.tables):
                raise OptionError(
                    f"--align={self._method_name} masks embeddings before they are propagated, and "
                    f"the model '{_backbone_name(type(self))}' propagates none; take a graph model "
                    "with a layer or more, such as LightGCN, or another --align"
                )
            profile_width = 0
            if method.needs_profiles:
                table = profile_rows(config, dataset, self._kinds)
                profile_width = table.shape[1]
                # Frozen and reproducible from the files: not part of a checkpoint.
                self.register_buffer("profile_rows", table, persistent=False)
            widths = Widths(access.width, access.ego_width, profile_width)
        # What the aligner draws is not taken from the backbone's stream of random numbers: with
        # and without an aligner the backbone sees the same dropout and the same samples.
        with torch.random.fork_rng(devices=[]):
            self.aligner: Aligner = method(options, widths)
        # Registered under a name of its own, so that state_dict and optimiser see it.
        self.alignment = self.aligner.modules
        if self._alters_tables():
            self.to(self.device)
            with torch.no_grad():
                self._altered_tables()

    # ---- the backbone's embeddings ---------------------------------------------------------

    @contextlib.contextmanager
    def watched(self) -> Iterator[_Seen]:
        """Remember the first forward pass of one training step."""
        self._seen = seen = _Seen()
        try:
            yield seen
        finally:
            # The graph of the step must not outlive it.
            self._seen = None

    def backbone_loss(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the loss of the backbone by itself, as RecBole calls it."""
        return super().calculate_loss(interaction, *args, **kwargs)  # type: ignore[misc]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the backbone's result, as the aligner alters it, and remember it in training.

        In a training step the aligner acts on the first pass alone: it is the one that ranks, and
        the augmented views of a contrastive backbone stay as they are.
        """
        first = self._seen is not None and self._seen.final is None
        by_forward = self._access is None or self._access.route == "forward"
        with contextlib.ExitStack() as stack:
            if first and by_forward and self._acts("ego"):
                tables, rows = self._altered_ego()
                stack.enter_context(tables.swapped(self, *rows))
            final = super().forward(*args, **kwargs)  # type: ignore[misc]
        if by_forward and self._acts("final") and (self._seen is None or first):
            final = self._altered_final(final)
        if first and by_forward:
            assert self._seen is not None
            self._seen.final = final_pair(final, self.n_users, self.n_items)
        return final

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the backbone's scores of pairs, over what the aligner made of its tables."""
        with self._ranking_tables():
            return super().predict(*args, **kwargs)  # type: ignore[misc]

    def full_sort_predict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the backbone's scores of all items, over what the aligner made of its tables."""
        with self._ranking_tables():
            return super().full_sort_predict(*args, **kwargs)  # type: ignore[misc]

    def _acts(self, what: str) -> bool:
        # The backbone's constructor runs, and its width is measured, before there is an aligner.
        aligner: Aligner | None = getattr(self, "aligner", None)
        return aligner is not None and aligner.alters(what)

    def _alters_tables(self) -> bool:
        return self._acts("final") and self._access is not None and self._access.route == "tables"

    @contextlib.contextmanager
    def _ranking_tables(self) -> Iterator[tuple[Tensor, Tensor] | None]:
        """Put the altered tables in the tables' place, where a backbone ranks with them."""
        if not self._alters_tables():
            yield None
            return
        rows = self._rows_that_rank()
        with self._tables().swapped(self, *rows):
            yield rows

    def _rows_that_rank(self) -> tuple[Tensor, Tensor]:
        """Return the altered tables, made once for all batches of users of an evaluation."""
        if self.training or torch.is_grad_enabled():
            self._kept = None
            return self._altered_tables()
        sources = [*self._tables().weights(self), self._profiles()]
        if self.alignment is not None:
            sources += [*self.alignment.parameters(), *self.alignment.buffers()]
        # What changes a tensor in place, an optimiser or a loaded state, counts its version up.
        made_of = tuple((source.data_ptr(), source._version) for source in sources)
        if self._kept is None or self._kept.made_of != made_of:
            self._kept = _Kept(made_of, self._altered_tables())
        return self._kept.rows

    def _altered_ego(self) -> tuple[EmbeddingTables, tuple[Tensor, Tensor]]:
        tables = self._tables()
        ego = tables.weights(self)
        rows = self.aligner.alter_ego(self._stacked(ego), self._kinds)
        return tables, self._with_padding(rows, ego)

    def _altered_tables(self) -> tuple[Tensor, Tensor]:
        weights = self._tables().weights(self)
        rows = self.aligner.alter_final(self._stacked(weights), self._profiles(), self._kinds)
        if rows.shape[1] != weights[0].shape[1]:
            raise OptionError(
                f"--align={self._method_name} makes the embeddings {rows.shape[1]} wide, and the "
                f"model '{_backbone_name(type(self))}' ranks with tables of width "
                f"{weights[0].shape[1]}: set kar_fusion=add, or take a graph model"
            )
        return self._with_padding(rows, weights)

    def _altered_final(self, final: Any) -> Any:
        pair = final_pair(final, self.n_users, self.n_items)
        if pair is None:
            raise self._no_embeddings()
        altered = self.aligner.alter_final(self._stacked(pair), self._profiles(), self._kinds)
        return (*self._with_padding(altered, pair), *final[2:])

    def _tables(self) -> EmbeddingTables:
        assert self._access is not None
        assert self._access.tables is not None
        return self._access.tables

    def _profiles(self) -> Tensor:
        return getattr(self, "profile_rows", torch.empty(0))

    def _stacked(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        """Return users above items, ``[N, d]``, without the padding row of each."""
        return torch.cat([pair[0][1:], pair[1][1:]])

    def _with_padding(self, rows: Tensor, like: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return users and items of a stacked table, each under its padding row again."""
        users, items = (
            torch.cat([_padding_row(side, rows.shape[1]), rows[self._kinds[kind]]])
            for kind, side in zip(("user", "item"), like)
        )
        return users, items

    # ---- one training step -----------------------------------------------------------------

    def calculate_loss(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the aligner's parts followed by the backbone's, equation (11) part by part.

        RecBole sums the tuple.  The backbone's parts come last because ``NCLTrainer`` drops the
        last one while it warms up.  Where the aligner adds nothing, the result is the backbone's.
        """
        with self.watched() as seen, self._ranking_tables() as altered:
            base = self.backbone_loss(interaction, *args, **kwargs)
            final = seen.final
        if self._access is not None and self._access.route == "tables":
            final = altered or self._tables().weights(self)
        base_parts = base if isinstance(base, tuple) else (base,)
        base_names = [f"base{n}" for n in range(len(base_parts))] if base_parts[1:] else ["base"]
        step: TrainingStep | None = None
        if self._access is not None:
            if final is None:
                raise self._no_embeddings()
            step = self._training_step(interaction, *final)
        extra: Mapping[str, Tensor] = {}
        if step is not None and self.aligner.needs_profiles:
            extra = self.aligner.losses(step)
        self.loss_names = (*extra, *base_names)
        if self.diagnose_next and step is not None and final is not None:
            self.diagnose_next = False
            parts = (*extra.values(), *base_parts)
            self._diagnose(dict(zip(self.loss_names, parts)), step, final)
        if not extra:
            return base
        return (*extra.values(), *(part.reshape(()) for part in base_parts))

    def _training_step(self, interaction: Any, users: Tensor, items: Tensor) -> TrainingStep:
        offset = self._kinds["item"].start - 1
        batch = {"user": interaction[self.USER_ID] - 1}
        if self.ITEM_ID in interaction:
            batch["item"] = interaction[self.ITEM_ID] + offset
        else:
            # A loss over a user's whole row, such as ENMF's, has every item in its batch.
            rows = self._kinds["item"]
            batch["item"] = torch.arange(rows.start, rows.stop, device=users.device)
        if self.NEG_ITEM_ID in interaction:
            batch["neg_item"] = interaction[self.NEG_ITEM_ID] + offset
        return TrainingStep(
            collaborative=self._stacked((users, items)),
            profiles=self._profiles(),
            kinds=self._kinds,
            batch=batch,
        )

    def _diagnose(
        self, parts: Mapping[str, Tensor], step: TrainingStep, final: tuple[Tensor, Tensor]
    ) -> None:
        found = {f"grad_{name}": value for name, value in gradient_norms(parts, final).items()}
        with torch.no_grad():
            watched = {"collaborative": step.collaborative, **self.aligner.representations(step)}
            for name, rows in watched.items():
                found.update({f"{what}_{name}": v for what, v in shape_of_rows(rows).items()})
        self.diagnostics = {name: float(value) for name, value in found.items()}

    def _no_embeddings(self) -> OptionError:
        name = _backbone_name(type(self))
        return OptionError(
            f"the model '{name}' does not yield final embeddings of all users and items, which "
            "an aligner needs; take a backbone such as LightGCN, or --align=none"
        )


class DaRecMixin(AlignedRecommender):
    """DaRec (Yang et al., section III) over any backbone that yields embeddings."""

    align_method: ClassVar[str | None] = "darec"


def _padding_row(side: Tensor, width: int) -> Tensor:
    # A representation of another width has no row for the padding, which nobody ranks.
    return side[:1] if side.shape[1] == width else side.new_zeros(1, width)


def _backbone_name(cls: type) -> str:
    for parent in cls.__mro__:
        if not issubclass(parent, AlignedRecommender):
            return parent.__name__
    return cls.__name__


def aligned_class(backbone: type, method: str) -> type:
    """Return the class that joins ``backbone`` and the aligner called ``method``.

    ``aligned_class(LightGCN, "darec")`` is ``class DaRecLightGCN(DaRecMixin, LightGCN)``.
    """
    if issubclass(backbone, AlignedRecommender):
        return backbone
    if method == "darec":
        return type(f"DaRec{backbone.__name__}", (DaRecMixin, backbone), {})
    prefix = "" if method == "none" else aligner_class(method).__name__
    return type(
        f"{prefix}{backbone.__name__}", (AlignedRecommender, backbone), {"align_method": method}
    )
