"""The devices of this machine, which RecBole chooses among by number alone."""

from __future__ import annotations

import torch

__all__ = ["gpu_count"]


def gpu_count() -> int:
    """Return how many CUDA devices this process may use."""
    return int(torch.cuda.device_count())
