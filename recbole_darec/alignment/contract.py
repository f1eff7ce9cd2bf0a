"""What an alignment method does.

An aligner is a plain object that owns its parameters in ``modules``.  It acts on tensors alone: it
never sees RecBole, a data set, a configuration or a file.  Four steps are open to it, each a no-op
unless it says otherwise:

``alter_ego``
    change the ego embeddings before propagation (a masked reconstruction does),
``alter_final``
    change the final embeddings, in training and in prediction (a fused representation does),
``losses``
    add named losses to the ranking loss,
``modules``
    parameters and buffers; whatever must be saved is a parameter or a buffer of theirs.

This module imports no torch, so that the command line can read an aligner's options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recbole_darec.settings.options import Options

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Aligner", "NoOptions", "TrainingStep", "Widths"]


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


class Aligner:
    """Base of the alignment methods; does nothing by itself.

    Args:
        options: the method's own options, an instance of ``Options``.
        widths: of the backbone's and of the profiles' embeddings, with the kinds of their rows.

    Attributes:
        needs_profiles: whether the method reads profile embeddings at all.
        modules: the method's parameters and buffers, a ``torch.nn.Module`` or None.
    """

    Options: ClassVar[type] = NoOptions
    needs_profiles: ClassVar[bool] = True

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

    def losses(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return the named scalar losses that are added to the ranking loss."""
        return {}

    def representations(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return rows ``[n, d]`` by name whose collapse ``--diagnostics`` is to watch.

        Called without gradient; it draws no random number.
        """
        return {}

    @classmethod
    def alters(cls, what: str) -> bool:
        """Tell whether the method changes the ``"ego"`` or the ``"final"`` embeddings."""
        name = f"alter_{what}"
        return getattr(cls, name) is not getattr(Aligner, name)
