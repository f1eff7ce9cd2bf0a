"""How an aligner gets at a backbone's embeddings without a second propagation.

A backbone is not asked for its name but for what it offers, in one training step of its own:

``forward``
    it returns the final embeddings of all rows of each kind first (users, then items), as graph
    models do; the first result of a step is the one that the ranking loss used;
``tables``
    it has one embedding table for each kind, and its loss trains them all; nothing is propagated,
    so the tables are the final embeddings.  A sequential model has the items' alone: what its
    encoder reads and what its representation of a sequence is multiplied with.

A class that has several tables says which are meant:
``embedding_tables = ("user_emb", "item_emb")``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_darec.numerics.precision import exact_products

__all__ = [
    "Captured",
    "EmbeddingAccess",
    "EmbeddingTables",
    "MadeOnce",
    "final_embeddings",
    "find_tables",
    "one_interaction",
    "probe",
    "undisturbed",
]

Tables = dict[str, Tensor]


@dataclass
class Captured:
    """The final embeddings of one training step by kind, once its first forward pass is over."""

    final: Tables | None = None


@dataclass(frozen=True)
class EmbeddingTables:
    """The embedding tables of a backbone: kind to the name of the module that has them."""

    names: Mapping[str, str]

    def weights(self, model: nn.Module) -> Tables:
        """Return the tables as they stand now, ``[size, d]`` each, by kind."""
        return {kind: model.get_submodule(name).weight for kind, name in self.names.items()}  # type: ignore[misc]

    @contextlib.contextmanager
    def swapped(self, model: nn.Module, rows: Mapping[str, Tensor]) -> Iterator[None]:
        """Let ``model`` read other rows in place of its tables'; gradients flow through them."""
        modules = {kind: model.get_submodule(name) for kind, name in self.names.items()}
        kept = {kind: module._parameters.pop("weight") for kind, module in modules.items()}
        try:
            for kind, module in modules.items():
                module.weight = rows[kind]
            yield
        finally:
            for kind, module in modules.items():
                module.__dict__.pop("weight", None)
                module.register_parameter("weight", kept[kind])


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


class MadeOnce:
    """Tables that are made of other tensors, anew only when one of these has changed."""

    def __init__(self) -> None:
        self._made_of: tuple[tuple[int, int], ...] = ()
        self._tables: Tables | None = None

    def get(self, sources: Iterable[Tensor], make: Callable[[], Tables]) -> Tables:
        """Return the tables that ``make`` makes of ``sources``."""
        # What changes a tensor in place, an optimiser or a loaded state, counts its version up.
        made_of = tuple((source.data_ptr(), source._version) for source in sources)
        if self._tables is None or self._made_of != made_of:
            self.forget()  # two of them need not fit into memory
            self._made_of, self._tables = made_of, make()
        return self._tables

    def forget(self) -> None:
        """Have the next :meth:`get` make them anew, and free their memory."""
        self._tables = None


def final_embeddings(result: Any, sizes: Mapping[str, int]) -> Tables | None:
    """Return the final embeddings by kind out of a backbone's ``forward``, if they come first.

    Args:
        result: what ``forward`` returned.
        sizes: rows of each kind's table, the padding counted, in the order of the result.
    """
    if not isinstance(result, tuple) or len(result) < len(sizes):
        return None
    found = dict(zip(sizes, result))
    for kind, table in found.items():
        if not isinstance(table, Tensor) or table.dim() != 2 or len(table) != sizes[kind]:
            return None
    return found


def find_tables(model: Any, sizes: Mapping[str, int]) -> EmbeddingTables | None:
    """Return the one embedding table of each kind, if there are.

    Among several the plain ones are taken, such as ``user_embedding`` and ``item_embedding``.
    """
    declared = getattr(model, "embedding_tables", None)
    if declared is not None:
        return EmbeddingTables(dict(zip(sizes, declared)))
    found = {}
    for kind, size in sizes.items():
        # Where another kind has as many rows, only the name tells the tables apart.
        alike = [other for other in sizes if other != kind and sizes[other] == size]
        names = [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Embedding)
            and module.num_embeddings == size
            and not any(other in name for other in alike)
            and not name.startswith("alignment")
        ]
        plain = f"{kind}_embedding"
        if plain in names:
            names = [plain]
        if len(names) != 1:
            return None
        found[kind] = names[0]
    return EmbeddingTables(found)


def probe(
    model: Any, sizes: Mapping[str, int], batch: Interaction
) -> tuple[EmbeddingAccess | None, Exception | None]:
    """Find out what a backbone offers, in one training step that leaves no trace.

    Args:
        model: an ``AlignedRecommender`` that has no aligner yet.
        sizes: rows of each kind's table, the padding counted.
        batch: the smallest training batch.

    Returns:
        How to reach the embeddings, None if there is no way; and what the step raised, if it did.
    """
    # Backbones put their graphs on the device at once, and their parameters only when told to.
    model.to(model.device)
    tables = find_tables(model, sizes)
    ego = tables.weights(model) if tables else None
    ego_width = _width(ego) if ego else 0
    failure: Exception | None = None
    loss: Any = None
    with undisturbed(model), torch.enable_grad(), model.capture_forward() as captured:
        try:
            loss = model.backbone_loss(batch.to(model.device))
        except Exception as error:
            # NCL's step fails before its first E-step: the embeddings were seen by then.
            failure = error
    final = captured.final
    if final is not None:
        same = ego is not None and all(
            ego[kind].shape == table.shape and torch.equal(ego[kind], table)
            for kind, table in final.items()
        )
        return EmbeddingAccess("forward", tables, _width(final), ego_width, not same), failure
    if ego is None or loss is None or not _trains(loss, ego):
        return None, failure
    return EmbeddingAccess("tables", tables, ego_width, ego_width, False), failure


def _width(tables: Mapping[str, Tensor]) -> int:
    return next(iter(tables.values())).shape[1]


@torch.enable_grad()
def _trains(loss: Any, tables: Mapping[str, Tensor]) -> bool:
    if len({table.shape[1] for table in tables.values()}) > 1:
        return False
    parts = loss if isinstance(loss, tuple) else (loss,)
    total = torch.stack([part.sum() for part in parts]).sum()
    if not total.requires_grad:
        return False
    gradients = torch.autograd.grad(total, list(tables.values()), allow_unused=True)
    return all(gradient is not None for gradient in gradients)


def one_interaction(model: Any, config: Any) -> Interaction:
    """Return the smallest training batch: user 1 and item 1, with as many negatives as asked."""
    sampling = config["train_neg_sample_args"] or {}
    asked = sampling.get("sample_num")
    n_rows = max(1, asked) if isinstance(asked, int) else 1  # "none" where none are drawn
    one = torch.ones(n_rows, dtype=torch.int64)
    fields = {
        model.USER_ID: one,
        model.ITEM_ID: one,
        model.NEG_ITEM_ID: one,
        config["LABEL_FIELD"]: one.float(),
    }
    return Interaction(fields)


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation, and it and the random numbers back afterwards.

    ``model.eval()`` would not do: SGL draws its graphs anew in ``train()``.  cuDNN has no gradient
    of a recurrent layer in evaluation, so that PyTorch's own kernels stand in; products are exact,
    so that what is computed in two ways can be compared.
    """
    modes = [(module, module.training) for module in model.modules()]
    numpy_state = np.random.get_state()  # noqa: NPY002 - RecBole draws from the global stream
    for module, _ in modes:
        module.training = False
    try:
        device = torch.device(str(model.device))
        ours = torch.backends.cudnn.flags(enabled=False)
        forked = torch.random.fork_rng([device] if device.type == "cuda" else [])
        with forked, ours, exact_products():
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        for module, mode in modes:
            module.training = mode
