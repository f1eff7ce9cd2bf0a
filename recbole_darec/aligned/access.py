"""How an aligner gets at a backbone's embeddings without a second propagation.

A backbone is not asked for its name but for what it offers, in one training step of its own:

``forward``
    it returns the final embeddings of all users and all items first, as graph models do; the first
    result of a step is the one that the ranking loss used;
``tables``
    it has one embedding table of the users and one of the items, and its loss trains both; nothing
    is propagated, so the tables are the final embeddings.

A class that has several tables says which are meant:
``embedding_tables = ("user_emb", "item_emb")``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

__all__ = ["EmbeddingAccess", "EmbeddingTables", "final_pair", "find_tables", "probe"]


@dataclass(frozen=True)
class EmbeddingTables:
    """The two embedding tables of a backbone, by the names of their modules."""

    users: str
    items: str

    def weights(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Return the tables' rows as they stand now, ``[n_users, d]`` and ``[n_items, d]``."""
        users, items = (model.get_submodule(name).weight for name in (self.users, self.items))
        return users, items  # type: ignore[return-value]

    @contextlib.contextmanager
    def swapped(self, model: nn.Module, users: Tensor, items: Tensor) -> Iterator[None]:
        """Let ``model`` read other rows in place of its tables'; gradients flow through them."""
        modules = [model.get_submodule(name) for name in (self.users, self.items)]
        kept = [module._parameters.pop("weight") for module in modules]
        try:
            for module, rows in zip(modules, (users, items)):
                module.weight = rows
            yield
        finally:
            for module, weight in zip(modules, kept):
                module.__dict__.pop("weight", None)
                module.register_parameter("weight", weight)


@dataclass(frozen=True)
class EmbeddingAccess:
    """How the final and the ego embeddings of one backbone are reached.

    Attributes:
        route: ``"forward"`` or ``"tables"``.
        tables: the embedding tables, None if they cannot be told.
        width: width of the final embeddings.
        ego_width: width of the tables, 0 if they cannot be told.
        propagates: whether the final embeddings are more than the tables.
    """

    route: str
    tables: EmbeddingTables | None
    width: int
    ego_width: int
    propagates: bool


def final_pair(result: Any, n_users: int, n_items: int) -> tuple[Tensor, Tensor] | None:
    """Return final user and item embeddings out of a backbone's ``forward``, if they are."""
    if (
        isinstance(result, tuple)
        and len(result) >= 2
        and all(isinstance(t, Tensor) and t.dim() == 2 for t in result[:2])
        and (len(result[0]), len(result[1])) == (n_users, n_items)
    ):
        return result[0], result[1]
    return None


def find_tables(model: Any) -> EmbeddingTables | None:
    """Return the one table of the users and the one of the items, if there are.

    Among several the plain ``user_embedding`` and ``item_embedding`` are taken.
    """
    declared = getattr(model, "embedding_tables", None)
    if declared is not None:
        return EmbeddingTables(*declared)
    found = {}
    sizes = {"user": model.n_users, "item": model.n_items}
    for side, other in (("user", "item"), ("item", "user")):
        names = [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Embedding)
            and module.num_embeddings == sizes[side]
            and not (sizes["user"] == sizes["item"] and other in name)
            and not name.startswith("alignment")
        ]
        plain = f"{side}_embedding"
        if plain in names:
            names = [plain]
        if len(names) != 1:
            return None
        found[side] = names[0]
    return EmbeddingTables(found["user"], found["item"])


def probe(model: Any, config: Any) -> tuple[EmbeddingAccess | None, Exception | None]:
    """Find out what a backbone offers, in one training step that leaves no trace.

    Args:
        model: an ``AlignedRecommender`` that has no aligner yet.
        config: RecBole's configuration.

    Returns:
        How to reach the embeddings, None if there is no way; and what the step raised, if it did.
    """
    # Backbones put their graphs on the device at once, and their parameters only when told to.
    model.to(model.device)
    tables = find_tables(model)
    failure: Exception | None = None
    loss: Any = None
    with _undisturbed(model), torch.enable_grad(), model.watched() as seen:
        try:
            loss = model.backbone_loss(_one_interaction(model, config))
        except Exception as error:
            # NCL's step fails before its first E-step: the embeddings were seen by then.
            failure = error
        final = seen.final
    if final is not None:
        ego = tables.weights(model) if tables else None
        same = ego is not None and all(
            one.shape == other.shape and torch.equal(one, other) for one, other in zip(final, ego)
        )
        width = final[0].shape[1]
        ego_width = ego[0].shape[1] if ego else 0
        return EmbeddingAccess("forward", tables, width, ego_width, not same), failure
    if tables is None or loss is None or not _trains(loss, tables.weights(model)):
        return None, failure
    width = tables.weights(model)[0].shape[1]
    return EmbeddingAccess("tables", tables, width, width, False), failure


def _trains(loss: Any, weights: tuple[Tensor, Tensor]) -> bool:
    if weights[0].shape[1] != weights[1].shape[1]:
        return False
    parts = loss if isinstance(loss, tuple) else (loss,)
    total = torch.stack([part.sum() for part in parts]).sum()
    if not total.requires_grad:
        return False
    return all(g is not None for g in torch.autograd.grad(total, weights, allow_unused=True))


def _one_interaction(model: Any, config: Any) -> Interaction:
    """Return the smallest training batch: user 1 and item 1, with as many negatives as asked."""
    sampling = config["train_neg_sample_args"] or {}
    n_rows = max(1, int(sampling.get("sample_num", 1) or 1))
    one = torch.ones(n_rows, dtype=torch.int64)
    fields = {
        model.USER_ID: one,
        model.ITEM_ID: one,
        model.NEG_ITEM_ID: one,
        config["LABEL_FIELD"]: one.float(),
    }
    return Interaction(fields).to(model.device)


@contextlib.contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
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
