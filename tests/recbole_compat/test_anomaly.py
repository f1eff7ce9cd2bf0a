"""Importing RecBole's models leaves autograd's anomaly detection as the user had it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import environment

SEQUENTIAL = "import recbole.model.sequential_recommender\n"
NAMES = "import recbole_darec.recbole_compat.numpy_names\n"
RECONCILE = "from recbole_darec.recbole_compat.reconcile import reconcile; reconcile()\n"
CASES = [
    (NAMES + SEQUENTIAL, True),  # what RecBole does
    (RECONCILE + SEQUENTIAL, False),
    (NAMES + SEQUENTIAL + RECONCILE, False),
    (RECONCILE + "torch.autograd.set_detect_anomaly(True)\n" + SEQUENTIAL + RECONCILE, True),
]
# Each in a process that has imported what RecBole needs, and nothing of RecBole.
FORKED = """
import os, sys, pandas, scipy.stats, sklearn.metrics, torch
for code in {codes!r}:
    if not os.fork():
        exec(code)
        print("answer", torch.is_anomaly_enabled(), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, code
"""


@pytest.fixture(scope="module")
def answers() -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", FORKED.format(codes=[code for code, _ in CASES])],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("answer")]
    return [answer for _, answer in lines]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_it_is_on_where_the_user_wants_it(number: int, answers: list[str]) -> None:
    assert len(answers) == len(CASES)
    assert answers[number] == str(CASES[number][1])
