"""Autograd's anomaly detection, which importing one of RecBole's models turns on."""

from __future__ import annotations

import importlib
import sys
from functools import cache

import torch

__all__ = ["leave_anomaly_detection"]


@cache
def leave_anomaly_detection() -> None:
    """Import RecBole's sequential models, and leave anomaly detection as it was; once a process.

    SINE's module turns it on for the whole process while it is imported, and whatever imports one
    of the sequential models imports them all: every later training pays for the checks.
    """
    package = "recbole.model.sequential_recommender"
    wanted = torch.is_anomaly_enabled() and f"{package}.sine" not in sys.modules
    importlib.import_module(package)
    torch.autograd.set_detect_anomaly(wanted)
