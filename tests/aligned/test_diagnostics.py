"""The diagnostics say what they say they do, and change nothing."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import one_batch, options, outcome, prepared

from recbole_darec import run_recbole_darec
from recbole_darec.aligned.diagnostics import (
    effective_rank,
    gradient_norms,
    mean_direction,
    shape_of_rows,
)
from recbole_darec.errors import OptionError


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 9))
@settings(deadline=None)
def test_effective_rank_is_that_of_the_singular_values(n: int, d: int, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((n, d))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    shares = np.linalg.svd(unit, compute_uv=False)
    shares = shares / shares.sum()
    entropy = -sum(p * math.log(p) for p in shares if p > 0)
    assert float(effective_rank(torch.from_numpy(rows))) == pytest.approx(
        math.exp(entropy), rel=1e-6
    )


def test_the_extremes_are_one_direction_and_all_of_them() -> None:
    alike, spread = torch.ones(5, 3), torch.eye(4)
    assert float(effective_rank(alike)) == pytest.approx(1.0, abs=1e-6)
    assert float(mean_direction(alike)) == pytest.approx(1.0)
    assert float(effective_rank(spread)) == pytest.approx(4.0)
    assert float(mean_direction(spread)) == pytest.approx(0.25)
    assert float(mean_direction(torch.cat([spread, -spread]))) == pytest.approx(0.0, abs=1e-12)


def test_zero_rows_have_no_shape() -> None:
    found = shape_of_rows(torch.zeros(3, 2))
    assert {name: float(value) for name, value in found.items()} == {"rank": 0.0, "direction": 0.0}


def test_gradient_norms_are_those_of_each_part_alone() -> None:
    users, items = (torch.randn(4, 3, requires_grad=True) for _ in range(2))
    parts = {
        "both": (users @ items.T).square().sum(),
        "users": users.sum() * 2.0,
        "neither": torch.ones((), requires_grad=True) * 3.0,
        "constant": torch.ones(()),
    }
    found = gradient_norms(parts, (users, items))
    product = users @ items.T
    both = (2 * product @ items).square().sum() + (2 * product.T @ users).square().sum()
    assert float(found["both"].detach()) == pytest.approx(float(both.detach().sqrt()), rel=1e-5)
    assert float(found["users"]) == pytest.approx(2.0 * math.sqrt(12))
    assert float(found["neither"]) == float(found["constant"]) == 0.0
    parts["both"].backward()  # the graph is still there


# ---- in a run ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_tiny(tmp_path / "dataset").data_path


@pytest.mark.parametrize("model", ["LightGCN", "BPR"])
@pytest.mark.parametrize("align", ["none", "darec"])
def test_a_diagnosed_run_is_the_same_run(model: str, align: str, data_path: Path) -> None:
    given = options(data_path, align=align)
    plain, diagnosed = (
        run_recbole_darec(model, "tiny", config_dict={**given, "diagnostics": on})
        for on in (False, True)
    )
    assert outcome(plain) == outcome(diagnosed)


def test_a_step_tells_the_shape_of_each_part_and_the_gradient_of_each_term(
    data_path: Path,
) -> None:
    run = prepared(data_path, diagnostics=True)
    model: Any = run.model
    model.train()
    model.diagnose_next = True
    model.calculate_loss(one_batch(run))
    assert not model.diagnose_next
    rows = ("collaborative", "shared_c", "specific_c", "shared_l", "specific_l")
    expected = {f"grad_{name}" for name in ("or", "uni", "glo", "loc", "base")}
    expected |= {f"{what}_{name}" for what in ("rank", "direction") for name in rows}
    assert set(model.diagnostics) == expected
    assert all(math.isfinite(value) for value in model.diagnostics.values())
    assert all(model.diagnostics[name] > 0 for name in expected if name.startswith("grad_"))
    step = model._training_step(one_batch(run), dict(zip(("user", "item"), model.forward())))
    assert model.diagnostics["rank_collaborative"] == pytest.approx(
        float(effective_rank(step.collaborative.detach())), rel=1e-6
    )


def test_each_epoch_is_logged(data_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, diagnostics=True))
    lines = [r.getMessage() for r in caplog.records if "diagnostics" in r.getMessage()]
    lines = [line for line in lines if "grad_uni" in line]
    assert len(lines) == 2
    assert "rank_shared_c: " in lines[0]


def test_without_embeddings_there_is_nothing_to_diagnose(data_path: Path) -> None:
    with pytest.raises(OptionError, match="'EASE' does not yield"):
        prepared(data_path, "EASE", align="none", diagnostics=True)
