from __future__ import annotations

import math

import pytest
import torch

from recbole_darec.alignment.equations import total_loss


def parts_and_base() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    names = ("or", "uni", "glo", "loc")
    parts = {n: torch.tensor(float(i + 1), requires_grad=True) for i, n in enumerate(names)}
    return parts, torch.tensor(0.5, requires_grad=True)


def test_is_the_printed_sum_when_all_weights_are_one() -> None:
    parts, base = parts_and_base()
    for weights in ({}, dict.fromkeys(parts, 1.0)):
        total = total_loss(base, parts, weights, 0.1)
        assert total.item() == pytest.approx(0.5 + 0.1 * (1 + 2 + 3 + 4))


def test_weights_scale_values_and_gradients() -> None:
    parts, base = parts_and_base()
    weights = {"or": 2.0, "uni": 0.5, "not there": 7.0}
    total = total_loss(base, parts, weights, 0.1)
    assert total.item() == pytest.approx(0.5 + 0.1 * (2.0 * 1 + 0.5 * 2 + 3 + 4))
    gradients = torch.autograd.grad(total, [base, *parts.values()])
    assert [g.item() for g in gradients] == pytest.approx([1.0, 0.2, 0.05, 0.1, 0.1])


def test_without_parts_or_lambda_it_is_the_base_itself() -> None:
    parts, base = parts_and_base()
    assert total_loss(base, {}, {}, 0.1) is base
    assert total_loss(base, parts, {}, 0.0) is base


def test_a_part_of_weight_zero_cannot_spoil_the_sum() -> None:
    parts, base = parts_and_base()
    parts["glo"] = torch.tensor(math.nan, requires_grad=True)
    total = total_loss(base, parts, {"glo": 0.0}, 0.1)
    assert total.item() == pytest.approx(0.5 + 0.1 * (1 + 2 + 4))
    assert torch.autograd.grad(total, parts["glo"], allow_unused=True) == (None,)
