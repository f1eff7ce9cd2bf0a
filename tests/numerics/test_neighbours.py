from __future__ import annotations

import pytest
import torch
from alignment.equations import naive
from alignment.equations.samples import matrices
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.numerics import NeighbourMean, nearest_among, nearest_rows


@given(matrices, st.integers(1, 12), st.sampled_from([1, 20, None]))
def test_the_nearest_rows_are_those_of_the_loop(
    rows: torch.Tensor, n_nearest: int, max_elements: int | None
) -> None:
    numbers, cosines = nearest_rows(rows, n_nearest, max_elements=max_elements)
    table = rows.tolist()
    assert numbers.shape == cosines.shape == (len(table), min(n_nearest, len(table) - 1))
    for i, row in enumerate(table):
        others = [naive.cosine(row, other) for j, other in enumerate(table) if j != i]
        found = [naive.cosine(row, table[j]) for j in numbers[i].tolist()]
        assert i not in numbers[i]
        assert len(set(numbers[i].tolist())) == numbers.shape[1]
        # Which of several equally near rows is taken is left open.
        assert found == pytest.approx(sorted(others, reverse=True)[: len(found)], abs=1e-12)
        assert cosines[i].tolist() == pytest.approx(found, abs=1e-12)


def test_columns_are_searched_a_block_at_a_time() -> None:
    rows = torch.randn(203, 5, dtype=torch.float64)
    whole = nearest_rows(rows, 7, max_elements=203 * 203)
    parts = nearest_rows(rows, 7, max_elements=64 * 9)  # 64 rows by 9 columns
    assert torch.equal(parts[0], whole[0])
    torch.testing.assert_close(parts[1], whole[1])


def test_the_index_finds_what_the_products_do(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(90, 6)
    rows[40:80] = rows[7]  # more equals than are asked for
    wanted = nearest_rows(rows, 5)[1]
    monkeypatch.setattr("recbole_darec.numerics.neighbours.INDEXED_ROWS", 1)
    monkeypatch.setattr("recbole_darec.numerics.neighbours._INDEXED_BLOCK", 32)
    numbers, cosines = nearest_rows(rows, 5)
    torch.testing.assert_close(cosines, wanted, rtol=0, atol=1e-5)
    unit = rows / rows.norm(dim=1, keepdim=True)
    of_found = (unit.unsqueeze(1) * unit[numbers]).sum(2)
    torch.testing.assert_close(of_found, cosines, rtol=0, atol=1e-5)
    for n, near in enumerate(numbers.tolist()):
        assert n not in near
        assert len(set(near)) == 5
    monkeypatch.setattr("recbole_darec.numerics.neighbours._faiss", lambda: None)
    torch.testing.assert_close(nearest_rows(rows, 5)[1], wanted)


def test_a_mean_is_that_of_the_neighbours_of_the_same_kind() -> None:
    profiles = torch.randn(30, 6, dtype=torch.float64)
    kinds = [slice(0, 18), slice(18, 30)]
    rows = torch.randn(30, 4)
    found = NeighbourMean.of(profiles, kinds, 3)(rows)
    for kind in kinds:
        numbers, cosines = nearest_rows(profiles[kind], 3)
        for i in range(kind.stop - kind.start):
            near = [int(j) + kind.start for j, c in zip(numbers[i], cosines[i]) if c > 0]
            expected = rows[near].mean(0)
            torch.testing.assert_close(found[kind.start + i], expected, rtol=0, atol=1e-6)


def test_the_gradient_is_that_of_the_dense_matrix() -> None:
    profiles = torch.randn(15, 4)
    mean = NeighbourMean.of(profiles, [slice(0, 15)], 4)
    rows = torch.randn(15, 3, requires_grad=True)
    wanted = torch.randn(15, 3)
    (found,) = torch.autograd.grad((mean(rows) * wanted).sum(), rows)
    dense = mean.matrix.to_dense()
    torch.testing.assert_close(found, dense.T @ wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(dense.T, mean.transpose.to_dense())
    assert sorted(set(dense.sum(1).tolist())) == pytest.approx([1.0])


def test_a_row_without_a_neighbour_has_the_mean_zero() -> None:
    away = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    mean = NeighbourMean.of(away, [slice(0, 3)], 2)
    assert mean(torch.ones(3, 2)).tolist() == [[0.0, 0.0]] * 3
    alone = NeighbourMean.of(away[:1], [slice(0, 1)], 2)
    assert alone(torch.ones(1, 2)).tolist() == [[0.0, 0.0]]


@given(matrices, st.integers(1, 12), st.sampled_from([1, 20, None]))
def test_the_nearest_of_another_table_are_those_of_the_loop(
    rows: torch.Tensor, n_nearest: int, max_elements: int | None
) -> None:
    asked = rows.flip(0)[:3] + 0.5
    numbers, cosines = nearest_among(asked, rows, n_nearest, max_elements=max_elements)
    assert numbers.shape == cosines.shape == (len(asked), min(n_nearest, len(rows)))
    for row, near, values in zip(asked.tolist(), numbers.tolist(), cosines.tolist()):
        found = [naive.cosine(row, other) for other in rows.tolist()]
        assert values == pytest.approx([found[n] for n in near], abs=1e-5)
        assert values == pytest.approx(sorted(found, reverse=True)[:n_nearest], abs=1e-5)
