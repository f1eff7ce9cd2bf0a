"""Importing RecBole's models leaves autograd's anomaly detection as the user had it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import environment

SEQUENTIAL = "import recbole.model.sequential_recommender\n"
NAMES = "import recbole_darec.recbole_compat.numpy_names\n"
RECONCILE = "from recbole_darec.recbole_compat.reconcile import reconcile; reconcile()\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (NAMES + SEQUENTIAL, True),  # what RecBole does
        (RECONCILE + SEQUENTIAL, False),
        (NAMES + SEQUENTIAL + RECONCILE, False),
        (RECONCILE + "torch.autograd.set_detect_anomaly(True)\n" + SEQUENTIAL + RECONCILE, True),
    ],
)
def test_it_is_on_where_the_user_wants_it(code: str, expected: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import torch\n{code}print(torch.is_anomaly_enabled())"],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split()[-1] == str(expected)
