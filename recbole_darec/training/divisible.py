"""Whether several processes may train a model together: found out on a few rows, before it starts.

Each process computes the loss of its share of a batch's rows.  That is the batch's own loss where
it is a mean over rows, and whatever is drawn is drawn for the batch; a model's code does not say
so, but a few rows do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.loss import EmbLoss
from recbole.trainer import NCLTrainer, Trainer
from recbole.utils import ModelType
from torch import Tensor, nn

from recbole_darec.data.sequences import PLACES
from recbole_darec.errors import OptionError
from recbole_darec.numerics.precision import exact_products
from recbole_darec.numerics.shares import Share, sharing
from recbole_darec.training.parallel import digest
from recbole_darec.training.run_state import undrawn

__all__ = ["check_divisible", "told_of_profiles"]

_ALONE = "train it with nproc=1"
_TOLERANCE = 1e-5  # of the largest entry; a loss that is no mean is far off


def check_divisible(config: Any, model: Any, train_data: Any, trainer: Any, size: int) -> None:
    """Refuse a model whose training several processes cannot share.

    Args:
        config: RecBole's configuration.
        model: the model; it, and the generators of random numbers, are left as they are.
        train_data: its loader.
        trainer: the trainer that RecBole has for it.
        size: of how many processes.

    Raises:
        OptionError: it trains nothing, has a loop of its own, or a loss that is no mean over the
            rows of a batch; the message says which.
    """
    name = config["model"]
    if model.type == ModelType.TRADITIONAL or getattr(model, "counts_alone", False):
        raise OptionError(f"nproc={size}: the model '{name}' trains nothing in steps: {_ALONE}")
    if trainer._train_epoch not in (Trainer._train_epoch, NCLTrainer._train_epoch):
        raise OptionError(
            f"nproc={size}: the model '{name}' is trained by RecBole's {trainer.__name__} in a "
            f"loop of its own, which cannot be shared: {_ALONE}"
        )
    if config["learner"] == "sparse_adam":
        raise OptionError(
            f"nproc={size}: sparse gradients cannot be averaged: take learner=adam, or {_ALONE}"
        )
    if getattr(model, "takes_whole_batches", False):
        return
    reason = _why_not(model, train_data, size)
    if reason is not None:
        raise OptionError(f"nproc={size}: the model '{name}' cannot be split, {reason}: {_ALONE}")


def told_of_profiles(model: Any) -> str:
    """Return in words what tells a model's profile embeddings from others."""
    rows = model.profile_rows
    if not isinstance(rows, Tensor) or not rows.numel():
        return str(tuple(rows.shape))
    squares = 0.0
    for block in torch.split(rows, 16_384):  # in double precision it is as large again, and more
        squares += float(block.double().square().sum())
    return f"{tuple(rows.shape)}, {squares:.9g} the sum of squares"


def _why_not(model: Any, train_data: Any, size: int) -> str | None:
    with undrawn(train_data), _left_as_it_is(model), exact_products():
        batch = _few_rows(next(iter(train_data)), 2 * size + 1).to(model.device)
        with _rows_given_to(EmbLoss, model) as given:
            whole = _computed(model, batch, train_data, Share())
        if len(_first(batch)) in given:
            return "its L2 term is a norm of a whole batch and no mean over its rows"
        parts = [_computed(model, batch, train_data, Share(r, size)) for r in range(size)]
    drawn, losses, gradients = whole
    if any(other != drawn for other, _, _ in parts):
        return "it draws random numbers that depend on which rows of a batch it sees"
    # Of some parameters the gradient is nothing but rounding: a key's bias under a softmax.
    steepest = max((float(one.abs().max()) for one in gradients), default=0.0)
    for value, scale, found in [
        (losses, float(losses.abs().max()), [part[1] for part in parts]),
        *((one, steepest, [p[2][n] for p in parts]) for n, one in enumerate(gradients)),
    ]:
        mean = torch.stack(found).mean(0)
        if not torch.allclose(mean, value, rtol=0.0, atol=_TOLERANCE * scale):
            return "the loss of a batch is no mean over its rows"
    return None


def _few_rows(batch: Any, count: int) -> Any:
    """Return the first rows of a batch; all of a sequential one with targets at its places."""
    if PLACES in batch.interaction:
        return batch
    assert isinstance(batch, Interaction)
    return batch[:count]


def _first(batch: Any) -> Tensor:
    return next(iter(batch.interaction.values()))


def _computed(
    model: Any, batch: Any, train_data: Any, share: Share
) -> tuple[str, Tensor, list[Tensor]]:
    """Return where a step leaves the generators, its loss and its gradients."""
    with undrawn(train_data), sharing(share), torch.enable_grad():
        model.zero_grad(set_to_none=True)
        # Of experts the step itself is made of rows.
        loss_of = model.calculate_loss if hasattr(model, "phases") else model.backbone_loss
        found = loss_of(batch)
        parts = found if isinstance(found, tuple) else (found,)
        losses = torch.stack([part.float().reshape(()) for part in parts])
        losses.sum().backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        model.zero_grad(set_to_none=True)
        drawn = torch.get_rng_state(), *_of_cuda()
        return digest(*drawn), losses.detach(), gradients


def _of_cuda() -> list[Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


@contextlib.contextmanager
def _rows_given_to(kind: type, model: nn.Module) -> Iterator[set[int]]:
    """Collect the lengths of the tensors that the modules of one kind are given."""
    seen: set[int] = set()

    def look(_: nn.Module, given: tuple[Any, ...]) -> None:
        seen.update(len(one) for one in given if isinstance(one, Tensor) and one.dim())

    hooks = [m.register_forward_pre_hook(look) for m in model.modules() if isinstance(m, kind)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def _left_as_it_is(model: Any) -> Iterator[None]:
    """Put the model into training, and its modes, buffers and counters back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    counters = {n: v for n, v in vars(model).items() if isinstance(v, (int, float))}
    for module, _ in modes:
        module.training = True  # train() may draw graphs
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        vars(model).update(counters)
