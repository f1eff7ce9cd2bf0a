"""Sparse times dense, against PyTorch's own product."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.numerics import csr_product


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    n=st.integers(1, 30),
    m=st.integers(1, 30),
    width=st.integers(1, 40),
    kept=st.sampled_from([0.0, 0.1, 0.7]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_is_the_dense_product(
    seed: int, n: int, m: int, width: int, kept: float, dtype: torch.dtype
) -> None:
    gen = torch.Generator().manual_seed(seed)
    dense = torch.randn(n, m, generator=gen, dtype=dtype)
    dense *= torch.rand(n, m, generator=gen) < kept  # rows without an entry among them
    rows = torch.randn(width, m, generator=gen, dtype=dtype).t()  # not contiguous
    product = csr_product(dense.to_sparse_csr(), rows)
    assert product.dtype == dtype
    torch.testing.assert_close(product, dense @ rows)
    torch.testing.assert_close(product, dense.to_sparse_csr() @ rows)


@pytest.mark.parametrize("shape", [(3, 0), (0, 3)])
def test_an_empty_side_is_no_rows(shape: tuple[int, int]) -> None:
    product = csr_product(torch.zeros(2, shape[0]).to_sparse_csr(), torch.zeros(shape))
    assert torch.equal(product, torch.zeros(2, shape[1]))
