from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.embeddings import apply_control


@given(st.integers(2, 60), st.integers(0, 2**32), st.data())
@settings(max_examples=150, deadline=None)
def test_shuffle_moves_every_row_and_only_those_asked_for(n: int, seed: int, data) -> None:
    matrix = np.repeat(np.arange(n, dtype=np.float32)[:, None], 3, axis=1)
    rows = data.draw(st.lists(st.integers(0, n - 1), unique=True))
    acted = [r for r in sorted(rows) if r != 0]
    out = apply_control(matrix, "shuffle", seed, np.array(rows, dtype=np.int64))
    others = np.setdiff1d(np.arange(n), acted)
    np.testing.assert_array_equal(out[others], matrix[others])
    assert sorted(out[acted, 0]) == acted  # the same rows, in another order
    if len(acted) > 1:
        assert all(out[r, 0] != r for r in acted)


def test_shuffle_depends_on_the_seed_alone() -> None:
    matrix = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float16)
    np.random.seed(1)  # noqa: NPY002
    a = apply_control(matrix, "shuffle", 3)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    b = apply_control(matrix, "shuffle", 3)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.testing.assert_array_equal(a, b)
    assert a.dtype == np.float16
    assert (apply_control(matrix, "shuffle", 4) != a).any()
    np.testing.assert_array_equal(a[0], matrix[0])


def test_shuffle_reaches_different_cycles() -> None:
    # 4 rows have 3! = 6 single cycles; all of them come up.
    matrix = np.arange(5, dtype=np.float32)[:, None]
    seen = {tuple(apply_control(matrix, "shuffle", s)[1:, 0]) for s in range(200)}
    assert len(seen) == 6


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_random_keeps_column_moments_and_nothing_else(dtype) -> None:
    rng = np.random.default_rng(0)
    scale, shift = np.array([0.1, 1.0, 5.0]), np.array([3.0, 0.0, -2.0])
    matrix = (rng.standard_normal((5001, 3)) * scale + shift).astype(dtype)
    matrix[0] = 0
    out = apply_control(matrix, "random", 7)
    assert out.dtype == dtype
    assert not out[0].any()
    real, noise = matrix[1:].astype(np.float64), out[1:].astype(np.float64)
    np.testing.assert_allclose(noise.mean(axis=0), real.mean(axis=0), atol=0.25)
    np.testing.assert_allclose(noise.std(axis=0), real.std(axis=0), rtol=0.05)
    for j in range(3):
        assert abs(np.corrcoef(real[:, j], noise[:, j])[0, 1]) < 0.06
    np.testing.assert_array_equal(out, apply_control(matrix, "random", 7))


def test_none_and_edge_cases() -> None:
    matrix = np.ones((2, 3), np.float32)
    assert apply_control(matrix, "none", 0) is matrix
    np.testing.assert_array_equal(apply_control(matrix, "shuffle", 0), matrix)
    np.testing.assert_array_equal(apply_control(matrix[:1], "random", 0), matrix[:1])
    with pytest.raises(ValueError, match="control must be"):
        apply_control(matrix, "reverse", 0)
