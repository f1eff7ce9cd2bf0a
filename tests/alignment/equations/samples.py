"""Matrices to try the equations on, degenerate ones among them."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

KINDS = ("random", "identical", "zero", "some zero", "two distinct", "opposite", "collapsed")


def rows_of(kind: str, n: int, d: int, seed: int, scale: float = 1.0) -> Tensor:
    """Make an (n, d) float64 matrix of a kind in ``KINDS``."""
    source = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, d, dtype=torch.float64, generator=source)
    if kind == "identical":
        rows = rows[:1].repeat(n, 1)
    elif kind == "zero":
        rows = torch.zeros_like(rows)
    elif kind == "some zero":
        rows[::2] = 0.0
    elif kind == "two distinct":
        rows = rows[:2][torch.arange(n) % min(n, 2)]
    elif kind == "opposite":
        rows = rows[:1] * (1 - 2 * (torch.arange(n) % 2)).unsqueeze(1)
    elif kind == "collapsed":
        rows = 1.0 + 1e-3 * rows
    return rows * scale


matrices = st.builds(
    rows_of,
    kind=st.sampled_from(KINDS),
    n=st.integers(1, 9),
    d=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([1.0, 1e-3, 1e3]),
)


def pairs_of_matrices(*, same_width: bool) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """Two matrices with the same number of rows."""

    def build(
        kinds: tuple[str, str], n: int, widths: tuple[int, int], seed: int
    ) -> tuple[Tensor, Tensor]:
        first, second = widths
        return (
            rows_of(kinds[0], n, first, seed),
            rows_of(kinds[1], n, first if same_width else second, seed + 1),
        )

    kind = st.sampled_from(KINDS)
    width = st.integers(1, 6)
    return st.builds(
        build,
        kinds=st.tuples(kind, kind),
        n=st.integers(1, 9),
        widths=st.tuples(width, width),
        seed=st.integers(0, 10_000),
    )


def assert_finite_with_gradient(value: Tensor, *inputs: Tensor) -> None:
    """Check that a scalar and its gradients are finite."""
    assert value.shape == ()
    assert value.isfinite()
    for gradient in torch.autograd.grad(value, inputs):
        assert gradient.isfinite().all()
