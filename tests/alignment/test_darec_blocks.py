"""DaRec on very many rows, in blocks, against the same rows at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recbole_darec.alignment import darec
from recbole_darec.alignment.contract import TrainingStep, Widths
from recbole_darec.alignment.darec import DaRec, DaRecOptions


def found(dtype: torch.dtype, **changed: Any) -> tuple[dict[str, float], list[torch.Tensor]]:
    torch.manual_seed(2)
    options = DaRecOptions(align_sample="all", **{"uniformity_sample": 20, **changed})
    method = DaRec(options, Widths(6, 6, 9, ("user", "item")))
    rows = torch.randn(50, 6).requires_grad_()
    profiles = torch.randn(50, 9).to(dtype)
    kinds = {"user": slice(0, 30), "item": slice(30, 50)}
    losses = method.losses(TrainingStep(rows, profiles, kinds, {}))
    torch.stack(list(losses.values())).sum().backward()
    assert rows.grad is not None
    gradients = [rows.grad, *(p.grad for p in method.modules.parameters() if p.grad is not None)]
    return {name: value.item() for name, value in losses.items()}, gradients


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    "changed",
    [{}, {"uniformity_sample": "all"}, {"normalize_shared": False, "global_scale": "none"},
     {"weight_or": 0.0, "weight_loc": 0.0}, {"weight_uni": 0.0, "weight_glo": 0.0}],
)  # fmt: skip
def test_losses_and_gradients_are_those_of_all_rows_at_once(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, changed: dict[str, Any]
) -> None:
    losses, gradients = found(dtype, **changed)
    monkeypatch.setattr(darec, "_BLOCK", 16)
    in_blocks, of_blocks = found(dtype, **changed)
    assert in_blocks == pytest.approx(losses, rel=1e-5, abs=1e-6)
    assert len(of_blocks) == len(gradients)
    for one, other in zip(of_blocks, gradients):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
