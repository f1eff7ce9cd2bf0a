"""Bound on the memory of the uniformity term, measured by its benchmark in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "uniformity_memory.py"


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak is measured through /proc"
)
@pytest.mark.parametrize(
    ("form", "rows", "bounds"),
    [
        ("blocked", 20_000, (0, 300e6)),
        # The same measurement must see the N × N matrices of the whole form where they are.
        ("matrix", 4096, (2 * 4096**2 * 4, 1e9)),
    ],
)
def test_peak_extra_memory(form: str, rows: int, bounds: tuple[float, float]) -> None:
    command = [sys.executable, str(BENCHMARK), "--worker", form, "--rows", str(rows)]
    done = subprocess.run(
        [*command, "--width", "64", "--threads", "1", "--repeats", "1"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    figures = json.loads(done.stdout)
    assert bounds[0] < figures["peak_extra"] < bounds[1]
    # Random directions in 64 dimensions: mean squared distance 2, hence a little above -4.
    assert -4.0 < figures["value"] < -3.8
    assert figures["gradient_norm"] > 0.0
