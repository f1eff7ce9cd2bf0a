"""The contracts hold a user's own, unregistered methods, in a folder that knows nothing of ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

METHODS = """\
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.init import xavier_normal_initialization
from recbole.model.loss import BPRLoss
from recbole.utils import InputType
from torch import nn

from recbole_darec.alignment.contract import Aligner


class MyAligner(Aligner):
    def __init__(self, options, widths):
        super().__init__(options, widths)
        self.modules = nn.Linear(widths.profile, widths.backbone)

    def losses(self, step):
        image = self.modules(step.profiles.float())
        return {"mse": ((step.collaborative - image) ** 2).mean()}


class NoUserIsReached(MyAligner):
    def losses(self, step):
        items = step.kinds["item"]
        image = self.modules(step.profiles[items].float())
        return {"mse": ((step.collaborative[items] - image) ** 2).mean()}


class MyBackbone(GeneralRecommender):
    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.user_embedding = nn.Embedding(self.n_users, config["embedding_size"])
        self.item_embedding = nn.Embedding(self.n_items, config["embedding_size"])
        self.loss = BPRLoss()
        self.apply(xavier_normal_initialization)

    def forward(self):
        return self.user_embedding.weight, self.item_embedding.weight

    def calculate_loss(self, interaction):
        users, items = self.forward()
        user = users[interaction[self.USER_ID]]
        wanted, other = (items[interaction[f]] for f in (self.ITEM_ID, self.NEG_ITEM_ID))
        return self.loss((user * wanted).sum(-1), (user * other).sum(-1))

    def full_sort_predict(self, interaction):
        users, items = self.forward()
        return users[interaction[self.USER_ID]] @ items.T


class OneParameterIdles(MyBackbone):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.idle = nn.Parameter(torch.zeros(2))
"""


def documented_test() -> str:
    text = (REPOSITORY / "docs" / "architecture.md").read_text("utf-8")
    found = re.search(r"<!-- test: contracts -->\n```python\n(.*?)^```$", text, re.M | re.S)
    assert found is not None
    return found[1]


def run_pytest(folder: Path, test: str, *args: str) -> subprocess.CompletedProcess[str]:
    (folder / "my_methods.py").write_text(METHODS, encoding="utf-8")
    (folder / "test_my_methods.py").write_text(test, encoding="utf-8")
    # The package and nothing of its tests; no plugin but pytest's own.
    env = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_documented_test_passes(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, documented_test())
    assert done.returncode == 0, done.stdout + done.stderr
    # Each of the contracts' tests ran: 9 of an aligner, 12 of a backbone.
    assert re.search(r"\b21 passed\b", done.stdout), done.stdout
    left = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert left == {"my_methods.py", "test_my_methods.py"}


def test_what_breaks_a_contract_fails_and_says_where(tmp_path: Path) -> None:
    test = (
        documented_test()
        .replace("import MyAligner, MyBackbone", "import NoUserIsReached, OneParameterIdles")
        .replace("= MyAligner", "= NoUserIsReached")
        .replace("= MyBackbone", "= OneParameterIdles")
    )
    done = run_pytest(tmp_path, test, "-k", "reach_both_sides or every_parameter")
    assert done.returncode == 1, done.stdout + done.stderr
    failed = set(re.findall(r"^FAILED \S+::(\w+::\w+)", done.stdout, re.M))
    assert failed == {
        "TestMyAligner::test_gradients_are_finite_and_reach_both_sides",
        "TestMyBackbone::test_losses_are_finite_and_every_parameter_learns",
    }
    # The assertion shows its values, as in a test's own file.
    assert "AssertionError: idle" in done.stdout


def test_an_aligners_contract_needs_no_recbole() -> None:
    code = (
        "import sys; from recbole_darec.testing import AlignerContract, write_tiny;"
        "sys.exit('recbole' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0


@pytest.mark.parametrize("name", ["AlignerContract", "TinyDataset"])
def test_without_pytest_the_error_names_the_extra(name: str, tmp_path: Path) -> None:
    (tmp_path / "pytest.py").write_text("raise ModuleNotFoundError('pytest')\n")
    code = f"from recbole_darec.testing import {name}"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("recbole_darec.errors.MissingExtraError")
    assert "pip install 'recbole-darec[test]'" in last
