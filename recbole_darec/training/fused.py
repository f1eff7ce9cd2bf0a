"""Adam in one pass over its numbers, where torch takes one for each term of its equation."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["FusesAdam", "fuse_adam"]


class FusesAdam:
    """Mixin over a trainer of RecBole's, whose Adam steps at once what is on a CPU."""

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = super()._build_optimizer(**kwargs)  # type: ignore[misc]
        fuse_adam(optimizer)
        return optimizer


def fuse_adam(optimizer: torch.optim.Optimizer) -> None:
    """Have Adam or AdamW step parameters on a CPU in one pass, where torch can (from 2.4 on).

    The steps are the same but for rounding.  An optimiser of another kind or device stays.
    """
    adam = (torch.optim.Adam, torch.optim.AdamW)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    on_cpu = all(p.device.type == "cpu" and p.is_floating_point() for p in parameters)
    if isinstance(optimizer, adam) and on_cpu and _is_there():
        for group in optimizer.param_groups:
            group["fused"] = True


def _is_there() -> bool:
    try:
        torch.optim.Adam([torch.zeros(1, requires_grad=True)], fused=True)
    except RuntimeError:  # torch knows the word, and the device is none that it is for
        return False
    return True
