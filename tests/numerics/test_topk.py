"""The k largest, chunk by chunk, against torch's own selection."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.numerics import topk
from recbole_darec.numerics.topk import top_k


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(0, 5),
    columns=st.integers(500, 2200),
    k=st.integers(1, 6),
    levels=st.sampled_from([0, 2, 30, 1000]),
    masked=st.sampled_from([0.0, 0.3, 0.999, 1.0]),
)
def test_is_what_torch_selects(
    seed: int, rows: int, columns: int, k: int, levels: int, masked: float
) -> None:
    gen = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, columns, generator=gen)
    if levels:  # few different values: ties inside the k, and at their end
        scores = (scores * levels).round()
    scores[torch.rand(rows, columns, generator=gen) < masked] = -torch.inf
    values, indices = top_k(scores, k)
    expected = scores.topk(k)
    assert torch.equal(values, expected.values)
    assert torch.equal(indices, expected.indices)


@pytest.mark.parametrize("n_nan", [1, 3, 9])
def test_not_a_number_is_the_largest_as_in_torch(n_nan: int) -> None:
    scores = torch.randn(4, 2000, generator=torch.Generator().manual_seed(1))
    scores[1, torch.randperm(2000, generator=torch.Generator().manual_seed(2))[:n_nan]] = torch.nan
    values, indices = top_k(scores, 5)
    expected = scores.topk(5)
    assert torch.equal(indices, expected.indices)
    assert torch.equal(values.isnan(), expected.values.isnan())


def test_the_chunks_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row is selected in whole where its largest entries differ."""
    scores = torch.randperm(4096, generator=torch.Generator().manual_seed(0)).float()[None]
    widths = []
    whole = torch.Tensor.topk

    def noted(self: torch.Tensor, *args: int, **kwargs: bool) -> object:
        widths.append(self.shape[1])
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "topk", noted)
    values, _ = topk.top_k(scores, 3)
    assert values.tolist() == [[4095.0, 4094.0, 4093.0]]
    assert max(widths) == 4 * 64


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(1, 5),
    columns=st.integers(6, 80),
    k=st.integers(1, 6),
    width=st.integers(1, 90),
)
def test_blocks_have_the_whole_rows_best(
    seed: int, rows: int, columns: int, k: int, width: int
) -> None:
    gen = torch.Generator().manual_seed(seed)
    scores = torch.randperm(rows * columns, generator=gen).float().view(rows, columns)
    hidden = (torch.rand(rows, columns, generator=gen) < 0.2).nonzero(as_tuple=True)
    masked = scores.clone()
    masked[hidden] = -torch.inf
    values, indices = topk.top_k_in_blocks(
        lambda start, end: scores[:, start:end].clone(), columns, k, width, hidden
    )
    expected = masked.topk(k)
    assert torch.equal(values, expected.values)
    there = expected.values.isfinite()
    assert torch.equal(indices[there], expected.indices[there])
