from __future__ import annotations

import math

import pytest
import torch

from recbole_darec.alignment.equations import weighted_terms


def parts_and_base() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    names = ("or", "uni", "glo", "loc")
    parts = {n: torch.tensor(float(i + 1), requires_grad=True) for i, n in enumerate(names)}
    return parts, torch.tensor(0.5, requires_grad=True)


def total(base, parts, weights, lam):
    return base + sum(weighted_terms(parts, weights, lam).values())


def test_is_the_printed_sum_when_all_weights_are_one() -> None:
    parts, base = parts_and_base()
    for weights in ({}, dict.fromkeys(parts, 1.0)):
        assert total(base, parts, weights, 0.1).item() == pytest.approx(0.5 + 0.1 * (1 + 2 + 3 + 4))


def test_weights_scale_values_and_gradients() -> None:
    parts, base = parts_and_base()
    loss = total(base, parts, {"or": 2.0, "uni": 0.5, "not there": 7.0}, 0.1)
    assert loss.item() == pytest.approx(0.5 + 0.1 * (2.0 * 1 + 0.5 * 2 + 3 + 4))
    gradients = torch.autograd.grad(loss, [base, *parts.values()])
    assert [g.item() for g in gradients] == pytest.approx([1.0, 0.2, 0.05, 0.1, 0.1])


def test_without_lambda_no_term_is_left() -> None:
    parts, _ = parts_and_base()
    assert weighted_terms(parts, {}, 0.0) == {}


def test_a_term_of_weight_zero_cannot_spoil_the_sum() -> None:
    parts, base = parts_and_base()
    parts["glo"] = torch.tensor(math.nan, requires_grad=True)
    loss = total(base, parts, {"glo": 0.0}, 0.1)
    assert loss.item() == pytest.approx(0.5 + 0.1 * (1 + 2 + 4))
    assert torch.autograd.grad(loss, parts["glo"], allow_unused=True) == (None,)
