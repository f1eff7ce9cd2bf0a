"""AutoCF's attention and contrast, against loops and finite differences."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from alignment.equations import naive
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.naive import Edges, edges_of
from backbones.test_graph import graph_of, graphs
from recbole_darec.backbones import autocf
from recbole_darec.backbones.autocf import graph_attention, mean_log_sum_exp
from recbole_darec.backbones.edges import EdgePattern

# ---- attention ---------------------------------------------------------------------------------


def naive_attention(edges: Edges, q: Any, k: Any, v: Any, n_heads: int) -> torch.Tensor:
    n_nodes, width = v.shape
    share = width // n_heads
    out = torch.zeros_like(v)
    for node in range(n_nodes):
        for head in range(n_heads):
            own = slice(head * share, (head + 1) * share)
            weights = {}
            for i, j in edges:
                if i == node:
                    score = naive.dot(q[node, own].tolist(), k[j, own].tolist())
                    weights[j] = math.exp(max(-10.0, min(10.0, score)))
            total = math.fsum(weights.values()) + 1e-8
            for j, weight in weights.items():
                out[node, own] += weight / total * v[j, own]
    return out


@settings(max_examples=40)
@given(graphs(), st.sampled_from([1, 2, 4]), st.sampled_from([0.5, 5.0]), st.integers(0, 99))
def test_attention_is_the_loop_over_the_pairs(
    graph: tuple, n_heads: int, scale: float, seed: int
) -> None:
    pattern = EdgePattern.of(graph_of(*graph))
    source = torch.Generator().manual_seed(seed)
    shape = (pattern.n_nodes, 4)
    # With the larger scale many scores are cut off.
    q, k, v = (scale * torch.randn(shape, generator=source).double() for _ in range(3))
    expected = naive_attention(edges_of(pattern), q, k, v, n_heads)
    torch.testing.assert_close(graph_attention(pattern, q, k, v, n_heads), expected)
    single = graph_attention(pattern, q.float(), k.float(), v.float(), n_heads)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-3, atol=1e-4)


def test_attentions_gradient_is_that_of_finite_differences() -> None:
    # A pattern that is not symmetric, and a node without pairs.
    rows, columns = torch.tensor([[0, 0, 1, 2, 2, 4], [1, 3, 0, 2, 4, 0]])
    pattern = EdgePattern.from_edges(rows, columns, 5)
    inputs = [torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda q, k, v: graph_attention(pattern, q, k, v, 2), inputs)


def test_a_score_that_is_cut_off_passes_no_gradient() -> None:
    pattern = EdgePattern.from_edges(torch.tensor([0, 0]), torch.tensor([0, 1]), 2)
    query = torch.tensor([[4.0], [1.0]], requires_grad=True)
    key, value = torch.tensor([[9.0], [1.0]], requires_grad=True), torch.tensor([[1.0], [2.0]])
    graph_attention(pattern, query, key, value, 1).sum().backward()
    assert float(key.grad[0]) == 0.0
    assert float(key.grad[1]) != 0.0
    assert float(query.grad[0]) != 0.0


# ---- contrast ----------------------------------------------------------------------------------


def naive_mean_log_sum_exp(rows: Any, candidates: Any, ids: list[int]) -> float:
    terms = [
        math.log(math.fsum(math.exp(naive.dot(rows[n].tolist(), c.tolist())) for c in candidates))
        for n in ids
    ]
    return math.fsum(terms) / len(terms)


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("distinct", [True, False])
def test_the_contrast_is_the_loop_over_the_batch(
    distinct: bool, merged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not merged:  # as on an accelerator
        monkeypatch.setattr(autocf, "unique_with_counts", lambda ids: (ids, None))
    rows, candidates = torch.randn(6, 3), torch.randn(9, 3)
    ids = torch.tensor([4, 1, 4, 5, 4])
    found = mean_log_sum_exp(rows, candidates, ids, distinct=distinct)
    wanted = naive_mean_log_sum_exp(
        rows.double(), candidates.double(), [1, 4, 5] if distinct else ids.tolist()
    )
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    assert float(mean_log_sum_exp(rows, candidates, ids[:0], distinct=distinct)) == 0.0


def test_large_embeddings_do_not_overflow() -> None:
    rows = torch.full((2, 4), 50.0, requires_grad=True)
    found = mean_log_sum_exp(rows, rows, torch.tensor([0, 1]), distinct=True)
    found.backward()
    assert float(found.detach()) == pytest.approx(1e4 + math.log(2.0))
    assert bool(rows.grad.isfinite().all())
