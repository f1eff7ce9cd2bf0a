"""PAD's buckets, its gate, and the fold of several experts into one table."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.alignment.equations import folded, frequency_buckets, gate_weights


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 10))
def test_buckets_go_from_frequent_to_rare_and_share_the_total(counts: list[int], n: int) -> None:
    found = frequency_buckets(torch.tensor(counts), n).tolist()
    total, before = sum(counts), 0
    for item in sorted(range(len(counts)), key=lambda i: (-counts[i], i)):
        if counts[item] == 0:
            assert found[item] == n
            continue
        middle = before + counts[item] / 2
        assert found[item] == min(math.floor(middle * n / total) + 1, n)
        before += counts[item]


def test_gate_weights_are_sigmoids_through_their_sum() -> None:
    logits = torch.tensor([[1.0, -4.0, 0.0], [-300.0, -300.0, -301.0]], requires_grad=True)
    found = gate_weights(logits)
    first = [1 / (1 + math.exp(-a)) for a in (1.0, -4.0, 0.0)]
    assert found[0].tolist() == pytest.approx([value / sum(first) for value in first])
    far = [1.0, 1.0, math.exp(-1.0)]
    assert found[1].tolist() == pytest.approx([value / sum(far) for value in far])
    double = logits.detach()[:1].double().requires_grad_()
    assert torch.autograd.gradcheck(gate_weights, (double,))


def test_one_product_with_the_fold_is_the_sum_of_weighted_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    tables = [torch.randn(6, 4, generator=generator) for _ in range(3)]
    users = [torch.randn(5, 4, generator=generator) for _ in range(3)]
    weights = gate_weights(torch.randn(6, 3, generator=generator))
    scores = torch.cat(users, dim=1) @ folded(tables, weights).t()
    for user in range(5):
        for item in range(6):
            one_by_one = sum(
                float(weights[item, k]) * float(users[k][user] @ tables[k][item]) for k in range(3)
            )
            assert float(scores[user, item]) == pytest.approx(one_by_one, rel=1e-4, abs=1e-5)
