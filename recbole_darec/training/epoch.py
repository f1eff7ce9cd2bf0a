"""One epoch: a loop over batches that waits for the device once, at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.clip_grad import clip_grad_norm_

from recbole_darec.numerics.dropout import cheap_dropout
from recbole_darec.numerics.precision import flushed_denormals
from recbole_darec.numerics.shares import sharing
from recbole_darec.training.parallel import Ranks, current_ranks

__all__ = ["train_epoch"]


@flushed_denormals()
def train_epoch(
    batches: Iterable[Any],
    loss_of: Callable[[Any], Any],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    device: torch.device,
    mixed_precision: bool = False,
    scaled: bool = False,
    clip: Mapping[str, Any] | None = None,
    ranks: Ranks | None = None,
    replay: Callable[[Any, Callable[[Any], Tensor]], Tensor] | None = None,
) -> Tensor:
    """Take a step per batch; the losses are summed where they are, and read when all is done.

    Args:
        batches: RecBole's interactions.
        loss_of: a batch to its loss, a scalar or a tuple of them.
        model: whose gradients are clipped.
        optimizer: takes the steps.
        device: where the model is.
        mixed_precision: compute the loss under autocast.
        scaled: scale it, so that small gradients survive half precision.
        clip: arguments of ``clip_grad_norm_``; None clips nothing.
        ranks: the processes that take the steps together, each with its share of the loss.
        replay: takes a batch and what takes both passes of it, in place of a call of that.

    Returns:
        the parts of the loss in each step, float64 ``[steps, parts]`` on the CPU.
    """
    ranks = current_ranks() if ranks is None else ranks
    scaler = _grad_scaler(device, scaled)
    steps: list[Tensor] = []

    def passes(batch: Any) -> Tensor:
        with sharing(ranks.share), cheap_dropout():
            with torch.autocast(device_type=device.type, enabled=mixed_precision):
                losses = loss_of(batch)
            parts = losses if isinstance(losses, tuple) else (losses,)
            loss = torch.stack([part.float().reshape(()) for part in parts])
            scaler.scale(loss.sum()).backward()
        return loss.detach()

    for batch in batches:
        batch = _moved(batch, device)
        optimizer.zero_grad(set_to_none=True)
        steps.append(passes(batch) if replay is None else replay(batch, passes))
        ranks.average_gradients(model.parameters(), checked=len(steps) == 1)
        if clip:
            scaler.unscale_(optimizer)
            clip_grad_norm_(model.parameters(), **clip)
        scaler.step(optimizer)
        scaler.update()
    # As large as the parameters, and nothing that an evaluation needs.
    optimizer.zero_grad(set_to_none=True)
    return ranks.mean(torch.stack(steps)).double().cpu()


def _moved(batch: Any, device: torch.device) -> Any:
    """Return a batch on the device; a GPU is not waited for, which ``to`` would do."""
    if device.type != "cuda":
        return batch.to(device)
    there = (v.pin_memory() if v.device.type == "cpu" else v for v in batch.interaction.values())
    moved = (v.to(device, non_blocking=True) for v in there)
    return type(batch)(dict(zip(batch.interaction, moved)))


def _grad_scaler(device: torch.device, enabled: bool) -> Any:
    if hasattr(torch, "amp") and hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(device.type, enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)
