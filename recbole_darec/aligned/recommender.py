"""Where a backbone and an aligner meet.

``class DaRecLightGCN(DaRecMixin, LightGCN)`` is all it takes by hand;
:func:`~recbole_darec.aligned.classes.aligned_class` makes such classes by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from recbole_darec.aligned.access import (
    Captured,
    EmbeddingAccess,
    MadeOnce,
    final_embeddings,
    find_tables,
    one_interaction,
    probe,
)
from recbole_darec.aligned.altered import AlteredBackbone, backbone_name
from recbole_darec.aligned.diagnostics import step_diagnostics
from recbole_darec.aligned.kinds import slices_of, stacked
from recbole_darec.aligned.negatives import check_negatives
from recbole_darec.aligned.profile_rows import profile_rows
from recbole_darec.aligned.rows import loss_of_own_rows
from recbole_darec.aligned.start import start_from_profiles
from recbole_darec.aligned.vectors import score_vectors
from recbole_darec.alignment.contract import Aligner, Ranking, TrainingStep, Widths
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.data.found_before import FoundBefore
from recbole_darec.errors import OptionError
from recbole_darec.numerics import current_share, sharing
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import RunOptions

__all__ = ["AlignedRecommender", "DaRecMixin"]


class AlignedRecommender(AlteredBackbone):
    """Mixin over a RecBole general recommender: one backbone, one aligner, one training step.

    The aligner's method is ``align_method``, or the configuration's ``align`` where a class does
    not fix it.  The kinds of rows are users and items, in this order; nothing else here or in an
    aligner knows which they are.

    Attributes:
        aligner: the alignment method.
        profile_rows: the frozen profile embeddings, ``[N, width]``; empty where none are needed.
        loss_names: names of the parts that the last :meth:`calculate_loss` returned.
        diagnose_next: set to have the next :meth:`calculate_loss` fill ``diagnostics``.
        diagnostics: what was last found by name, plain numbers.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        # The backbone's constructor may call forward(), before there is an aligner.
        self._access: EmbeddingAccess | None = None
        self._captured: Captured | None = None
        self._ranking: Ranking | None = None
        super().__init__(config, dataset)  # type: ignore[call-arg]
        self._sizes = self._kind_sizes()
        self._kinds = slices_of(self._sizes)
        self._tables_that_rank = MadeOnce()
        self.loss_names: tuple[str, ...] = ()
        self.diagnose_next = False
        self.diagnostics: dict[str, float] = {}

        # Beside the data, and keyed by all that it depends on.
        folder, name = Path(config["data_path"]), config["dataset"]
        self.found_before = FoundBefore(folder / f"{name}.filter.cache")
        run = options_from_config(RunOptions, config)
        self._method_name = self.align_method or run.align
        method = aligner_class(self._method_name)
        options = options_from_config(method.Options, config)
        self._ready(config, dataset, method)
        method.check_sizes(options, self._kinds)
        if method.needs_embeddings() or run.diagnostics:
            self._access = self._found_access(method, config)
        rows = self._found_profiles(config, dataset, method)
        if getattr(self, "reads_profiles", False):
            self.take_profiles(rows, self._kinds)  # type: ignore[operator]
        if run.init == "text":
            self._start_from(rows)
        if isinstance(rows, Tensor):
            # Frozen and reproducible from the files: not part of a checkpoint.
            self.register_buffer("profile_rows", rows, persistent=False)
        else:
            self.profile_rows = rows
        # What the aligner draws is not taken from the backbone's stream of random numbers: with
        # and without an aligner the backbone sees the same dropout and the same samples.
        with torch.random.fork_rng(devices=[]):
            self.aligner: Aligner = method(options, self._widths())
        # Registered under a name of its own, so that state_dict and optimiser see it.
        self.alignment = self.aligner.modules
        if method.alters("scores"):
            pairs = dataset.inter_matrix(form="csr")[1:, 1:]  # without the padding
            pairs = pairs.astype(bool).astype(np.float32)
            order = self._order_of(dataset)
            self._ranking = Ranking(pairs, rows, self._kinds, self.found_before, order)
            self.aligner.check_ranking(self._ranking)
        if self._alters_tables():
            # A width that cannot rank is answered here, before anything is trained.
            self.to(self.device)
            with torch.no_grad():
                self._altered_tables()

    def _order_of(self, dataset: Any) -> Any:
        """Return where in its user's sequence an item was last taken; here no order counts."""
        return None

    def _found_profiles(self, config: Any, dataset: Any, method: type[Aligner]) -> Any:
        """Return the profile embeddings of all kinds; none where nothing needs them."""
        from_text = options_from_config(RunOptions, config).init == "text"
        if not (method.needs_profiles or from_text or getattr(self, "reads_profiles", False)):
            return torch.empty(0, 0)
        some = method.takes_no_text or not method.needs_profiles
        return profile_rows(config, dataset, self._kinds, some=some)

    def _kind_sizes(self) -> dict[str, int]:
        """Return the rows of each kind's table, the padding counted."""
        if not hasattr(self, "n_users"):
            name = backbone_name(type(self))
            raise OptionError(
                f"this mixin joins general recommenders, and '{name}' learns no users: give the "
                "class itself to run_recbole_darec, with align=darec"
            )
        return {"user": self.n_users, "item": self.n_items}

    def _ready(self, config: Any, dataset: Any, method: type[Aligner]) -> None:
        """Make of the backbone what it is to be here, before its aligner is made.

        Raises:
            OptionError: it learns from negatives or labels, and the run has none.
        """
        check_negatives(self, config, dataset)

    def _smallest_batch(self, config: Any) -> Any:
        return one_interaction(self, config)

    def _found_access(self, method: type[Aligner], config: Any) -> EmbeddingAccess:
        access, failure = probe(self, self._sizes, self._smallest_batch(config))
        if access is None:
            raise self.no_embeddings() from failure
        if method.alters("ego") and not (access.propagates and access.tables):
            raise OptionError(
                f"--align={self._method_name} masks embeddings before they are propagated, and "
                f"the model '{backbone_name(type(self))}' propagates none; take a graph model "
                "with a layer or more, such as LightGCN, or another --align"
            )
        return access

    def _start_from(self, profiles: Tensor) -> None:
        tables = find_tables(self, self._sizes)
        if tables is None:
            raise OptionError(
                f"init=text: the model '{backbone_name(type(self))}' has no embedding table of "
                "each kind to start; leave it out"
            )
        start_from_profiles(tables.weights(self), profiles, self._kinds)

    def access_to_embeddings(self, config: Any) -> EmbeddingAccess | None:
        """Return how the embeddings are reached, found out now where the aligner has not asked."""
        if self._access is None:
            found, _ = probe(self, self._sizes, self._smallest_batch(config))
            return found
        return self._access

    def final_tables(self, config: Any) -> dict[str, Tensor] | None:
        """Return the embeddings that rank, ``[size, d]`` by kind; None where there are none."""
        access = self.access_to_embeddings(config)
        if access is None:
            return None
        if access.route == "forward":
            # What a graph backbone ranks with is kept for the evaluation that follows.
            kept = getattr(self, "ranking_embeddings", None)
            return final_embeddings(kept() if kept else self.forward(), self._sizes)
        assert access.tables is not None
        with self.ranking_tables() as altered:
            return altered or access.tables.weights(self)

    def score_vectors(self, config: Any) -> dict[str, Tensor] | None:
        """Return vectors whose inner products are the scores, by kind, None where they are not."""
        return score_vectors(self, config)

    def _widths(self) -> Widths:
        backbone, ego = (self._access.width, self._access.ego_width) if self._access else (0, 0)
        return Widths(backbone, ego, self.profile_rows.shape[1], tuple(self._kinds))

    # ---- one training step -----------------------------------------------------------------

    def calculate_loss(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the aligner's parts followed by the backbone's, equation (11) part by part.

        RecBole sums the tuple.  The backbone's parts come last because ``NCLTrainer`` drops the
        last one while it warms up.  Where the aligner adds nothing, the result is the backbone's.
        Where several processes train the model, the mean over them is the loss.
        """
        if self.diagnose_next and current_share().size > 1:
            with sharing():  # a step that is looked at is computed whole by each
                return self.calculate_loss(interaction, *args, **kwargs)
        with self.capture_forward() as captured, self.ranking_tables() as altered:
            base = self.backbone_loss(interaction, *args, **kwargs)
        parts = base if isinstance(base, tuple) else (base,)
        names = [f"base{n}" for n in range(len(parts))] if parts[1:] else ["base"]
        if self._access is None:
            self.loss_names = tuple(names)
            return base
        final = captured.final
        if self._access.route == "tables":
            final = altered or self._tables().weights(self)
        if final is None:
            raise self.no_embeddings()
        step = self._training_step(interaction, final)
        added = self.aligner.losses(step) if self.aligner.needs_profiles else {}
        self.loss_names = (*added, *names)
        if self.diagnose_next:
            self.diagnose_next = False
            self._diagnose({**added, **dict(zip(names, parts))}, step, final)
        if not added:
            return base
        return (*added.values(), *(part.reshape(()) for part in parts))

    def backbone_loss(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the backbone's loss; one without ``takes_whole_batches`` sees its rows alone."""
        if getattr(self, "takes_whole_batches", False):
            return super().calculate_loss(interaction, *args, **kwargs)  # type: ignore[misc]
        return self.loss_of_rows(lambda rows: self._loss_of(rows, *args, **kwargs), interaction)

    def loss_of_rows(self, loss_of: Callable[[Any], Any], interaction: Any) -> Any:
        """Return this process's part of a loss that is a mean over the batch's rows."""
        return loss_of_own_rows(loss_of, interaction)

    def _loss_of(self, rows: Any, *args: Any, **kwargs: Any) -> Any:
        return super().calculate_loss(rows, *args, **kwargs)  # type: ignore[misc]

    def own_parameters(self) -> list[Tensor]:
        """Return the backbone's own parameters, which are what its L2 term is of."""
        return [p for name, p in self.named_parameters() if not name.startswith("alignment.")]

    def forget_tables(self) -> None:
        """Free large tables that were made for an evaluation that is over; here there are none."""

    def _training_step(self, interaction: Any, final: Mapping[str, Tensor]) -> TrainingStep:
        return TrainingStep(
            collaborative=stacked(final),
            profiles=self.profile_rows,
            kinds=self._kinds,
            batch=self._rows_of(interaction, final),
        )

    def _rows_of(self, interaction: Any, final: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the row numbers of the batch's entities by role."""
        users, items = self._kinds["user"], self._kinds["item"]
        # RecBole counts each kind's ids from 1.
        batch = {"user": interaction[self.USER_ID] + (users.start - 1)}
        if self.ITEM_ID in interaction:
            batch["item"] = interaction[self.ITEM_ID] + (items.start - 1)
        else:
            # A loss over a user's whole row, such as ENMF's, has every item in its batch.
            batch["item"] = torch.arange(items.start, items.stop, device=final["item"].device)
        if self.NEG_ITEM_ID in interaction:
            batch["neg_item"] = interaction[self.NEG_ITEM_ID] + (items.start - 1)
        return batch

    def _diagnose(
        self, losses: Mapping[str, Tensor], step: TrainingStep, final: Mapping[str, Tensor]
    ) -> None:
        with torch.no_grad():
            rows = {"collaborative": step.collaborative, **self.aligner.representations(step)}
        self.diagnostics = step_diagnostics(losses, list(final.values()), rows)


class DaRecMixin(AlignedRecommender):
    """DaRec (Yang et al., section III) over any backbone that yields embeddings."""

    align_method: ClassVar[str | None] = "darec"
