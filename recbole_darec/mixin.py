"""Where a backbone and an aligner meet.

``class DaRecLightGCN(DaRecMixin, LightGCN)`` is all it takes by hand; :func:`aligned_class` makes
such classes by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Optional

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_darec.alignment.contract import Aligner, TrainingStep
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.embeddings import load_profiles
from recbole_darec.errors import OptionError
from recbole_darec.options import options_from_config
from recbole_darec.profile_source import check_split, profile_request

if TYPE_CHECKING:
    from recbole.model.abstract_recommender import GeneralRecommender as _Backbone
else:
    _Backbone = object  # the backbone stands beside the mixin in a class's bases

__all__ = ["AlignedRecommender", "DaRecMixin", "aligned_class"]


class AlignedRecommender(_Backbone):
    """Mixin over a RecBole general recommender: one backbone, one aligner, one training step.

    The aligner's method is ``align_method``, or the configuration's ``align`` where a class does
    not fix it.

    Attributes:
        aligner: the alignment method.
        loss_names: names of the parts that the last :meth:`calculate_loss` returned.
    """

    align_method: ClassVar[Optional[str]] = None

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)  # type: ignore[call-arg]
        method = aligner_class(self.align_method or config["align"] or "darec")
        options = options_from_config(method.Options, config)
        self.loss_names: tuple[str, ...] = ()
        self._last_forward: Optional[tuple[Tensor, Tensor]] = None
        self._watching = False
        self._kinds = {
            "user": slice(0, self.n_users - 1),
            "item": slice(self.n_users - 1, self.n_users + self.n_items - 2),
        }
        backbone_width = profile_width = 0
        if method.needs_profiles:
            backbone_width = self._backbone_width(config)
            table = self._load_profiles(config, dataset)
            profile_width = table.shape[1]
            # Frozen and reproducible from the files: not part of a checkpoint.
            self.register_buffer("profile_rows", table, persistent=False)
        # What the aligner draws is not taken from the backbone's stream of random numbers: with
        # and without an aligner the backbone sees the same dropout and the same samples.
        with torch.random.fork_rng(devices=[]):
            self.aligner: Aligner = method(options, backbone_width, profile_width)
        if self.aligner.alters("ego") and not hasattr(super(), "get_ego_embeddings"):
            raise OptionError(
                f"--align={config['align']} changes the embeddings before propagation, and the "
                f"model '{_backbone_name(type(self))}' propagates none; take LightGCN"
            )
        # Registered under a name of its own, so that state_dict and optimiser see it.
        self.alignment = self.aligner.modules

    def _load_profiles(self, config: Any, dataset: Any) -> Tensor:
        request = profile_request(config, dataset)
        found = load_profiles(
            request.directories,
            request.dataset,
            request.user_tokens,
            request.item_tokens,
            request.options,
        )
        check_split(config, dataset, found.meta)
        assert found.users is not None
        assert found.items is not None
        # Row 0 of each side is padding and is never aligned.
        table = torch.empty(
            (self.n_users + self.n_items - 2, found.width),
            dtype=torch.from_numpy(found.items[:0]).dtype,
        )
        table[self._kinds["user"]] = torch.from_numpy(found.users[1:])
        table[self._kinds["item"]] = torch.from_numpy(found.items[1:])
        return table

    def _backbone_width(self, config: Any) -> int:
        """Width of the final embeddings, seen in one training step of the backbone itself.

        A step, and not a call of ``forward``: what that takes differs (SGL's takes a graph).
        """
        one = torch.ones(1, dtype=torch.int64)
        fields = {
            self.USER_ID: one,
            self.ITEM_ID: one,
            self.NEG_ITEM_ID: one,
            config["LABEL_FIELD"]: one.float(),
        }
        # Backbones put their graphs on the device at once, and their parameters only when told to.
        self.to(self.device)
        failure: Optional[Exception] = None
        with _undisturbed(self), torch.no_grad(), _Watch(self):
            try:
                super().calculate_loss(Interaction(fields).to(self.device))  # type: ignore[misc]
            except Exception as error:
                # NCL's step fails before its first E-step: the embeddings were seen by then.
                failure = error
            final = self._last_forward
        if final is None:
            raise self._no_embeddings() from failure
        return final[0].shape[1]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the backbone's result, as the aligner alters it, and remember it in training."""
        final = super().forward(*args, **kwargs)  # type: ignore[misc]
        if self._acts("final"):
            final = self._altered(final)
        if self._watching and self._last_forward is None:
            self._last_forward = self._final_pair(final)
        return final

    def get_ego_embeddings(self) -> Any:
        """Return the backbone's ego embeddings, as the aligner alters them in a training step."""
        ego = super().get_ego_embeddings()  # type: ignore[misc]
        if self._watching and self._acts("ego"):
            users, items = torch.split(ego, [self.n_users, self.n_items])
            rows = torch.cat([users[1:], items[1:]])
            ego = torch.cat(self._with_padding(self.aligner.alter_ego(rows, self._kinds)))
        return ego

    def _acts(self, what: str) -> bool:
        # The backbone's constructor runs, and its width is measured, before there is an aligner.
        aligner: Optional[Aligner] = getattr(self, "aligner", None)
        return aligner is not None and aligner.alters(what)

    def _altered(self, final: Any) -> Any:
        pair = self._final_pair(final)
        if pair is None:
            raise self._no_embeddings()
        rows = torch.cat([pair[0][1:], pair[1][1:]])
        altered = self.aligner.alter_final(rows, self.profile_rows, self._kinds)
        return (*self._with_padding(altered), *final[2:])

    def _with_padding(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return users and items of a stacked table, each with a zero row 0 again."""
        users, items = (
            torch.cat([rows.new_zeros(1, rows.shape[1]), rows[self._kinds[kind]]])
            for kind in ("user", "item")
        )
        return users, items

    def calculate_loss(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the aligner's parts followed by the backbone's, equation (11) part by part.

        RecBole sums the tuple.  The backbone's parts come last because ``NCLTrainer`` drops the
        last one while it warms up.  Where the aligner adds nothing, the result is the backbone's.
        """
        with _Watch(self):
            base = super().calculate_loss(interaction, *args, **kwargs)  # type: ignore[misc]
            final = self._last_forward
        base_parts = base if isinstance(base, tuple) else (base,)
        base_names = [f"base{n}" for n in range(len(base_parts))] if base_parts[1:] else ["base"]
        extra: Mapping[str, Tensor] = {}
        if self.aligner.needs_profiles:
            if final is None:
                raise self._no_embeddings()
            extra = self.aligner.losses(self._training_step(interaction, *final))
        self.loss_names = (*extra, *base_names)
        if not extra:
            return base
        return (*extra.values(), *(part.reshape(()) for part in base_parts))

    def _training_step(self, interaction: Any, users: Tensor, items: Tensor) -> TrainingStep:
        offset = self._kinds["item"].start - 1
        batch = {"user": interaction[self.USER_ID] - 1, "item": interaction[self.ITEM_ID] + offset}
        if self.NEG_ITEM_ID in interaction:
            batch["neg_item"] = interaction[self.NEG_ITEM_ID] + offset
        return TrainingStep(
            collaborative=torch.cat([users[1:], items[1:]]),
            profiles=self.profile_rows,
            kinds=self._kinds,
            batch=batch,
        )

    def _final_pair(self, final: Any) -> Optional[tuple[Tensor, Tensor]]:
        """Return final user and item embeddings out of a backbone's ``forward``, if they are."""
        if (
            isinstance(final, tuple)
            and len(final) >= 2
            and all(isinstance(t, Tensor) and t.dim() == 2 for t in final[:2])
            and (len(final[0]), len(final[1])) == (self.n_users, self.n_items)
        ):
            return final[0], final[1]
        return None

    def _no_embeddings(self) -> OptionError:
        name = _backbone_name(type(self))
        return OptionError(
            f"the model '{name}' does not yield final embeddings of all users and items, which "
            "an aligner needs; take a backbone such as LightGCN, or --align=none"
        )


class DaRecMixin(AlignedRecommender):
    """DaRec (Yang et al., section III) over any backbone that yields embeddings."""

    align_method: ClassVar[Optional[str]] = "darec"


class _Watch:
    """Remembers the first forward pass of one ``calculate_loss``: no second propagation."""

    def __init__(self, model: AlignedRecommender) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.model._last_forward = None
        self.model._watching = True

    def __exit__(self, *_: object) -> None:
        # The graph of the step must not outlive it.
        self.model._last_forward = None
        self.model._watching = False


@contextlib.contextmanager
def _undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """Put every module into evaluation, and it and the random numbers back afterwards.

    ``model.eval()`` would not do: SGL draws its graphs anew in ``train()``.
    """
    modes = [(module, module.training) for module in model.modules()]
    numpy_state = np.random.get_state()  # noqa: NPY002 - RecBole draws from the global stream
    for module, _ in modes:
        module.training = False
    try:
        device = torch.device(str(model.device))
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        for module, mode in modes:
            module.training = mode


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
