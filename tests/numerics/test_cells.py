"""Nearest rows that are looked for in near cells of the space."""

from __future__ import annotations

import pytest
import torch

from recbole_darec.numerics.cells import nearest_in_cells
from recbole_darec.numerics.neighbours import nearest_rows


def share_found(found: torch.Tensor, wanted: torch.Tensor) -> float:
    both = (found.unsqueeze(2) == wanted.unsqueeze(1)).any(2)
    return float(both.float().mean())


def test_all_cells_together_are_an_exact_search() -> None:
    rows = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    numbers, cosines = nearest_in_cells(rows, 9, probed=100, cell_rows=20)
    wanted, near = nearest_rows(rows, 9)
    assert torch.equal(numbers, wanted)
    torch.testing.assert_close(cosines, near)


def test_clusters_are_found_in_few_cells() -> None:
    generator = torch.Generator().manual_seed(1)
    centers = torch.randn(40, 16, generator=generator)
    which = torch.arange(2000) % 40
    rows = centers[which] + 0.2 * torch.randn(2000, 16, generator=generator)
    wanted, _ = nearest_rows(rows, 10)
    few, cosines = nearest_in_cells(rows, 10, probed=6, cell_rows=25)  # of 80 cells
    assert share_found(few, wanted) > 0.95
    assert torch.equal(few, nearest_in_cells(rows, 10, probed=6, cell_rows=25)[0])
    unit = rows / rows.norm(dim=1, keepdim=True)
    torch.testing.assert_close((unit.unsqueeze(1) * unit[few]).sum(2), cosines)
    assert bool((cosines[:, :-1] >= cosines[:, 1:]).all())
    assert not bool((few == torch.arange(2000).unsqueeze(1)).any())


@pytest.mark.parametrize("n", [1, 3, 30])
def test_a_row_that_meets_few_others_has_itself_in_the_last_places(n: int) -> None:
    rows = torch.eye(30)[:n]
    numbers, cosines = nearest_in_cells(rows, 29, probed=1, cell_rows=3)
    assert numbers.shape == cosines.shape == (n, n - 1)
    own = numbers == torch.arange(n).unsqueeze(1)
    assert torch.equal(own, cosines == -1.0)
