"""Shares of a step: their mean is the whole, whatever the rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from recbole_darec.numerics import by_columns, by_rows, info_nce, own_rows, sharing
from recbole_darec.numerics.shares import Share, whole_dropout

SIZES = st.integers(1, 5)


@given(n=st.integers(0, 20), size=SIZES)
def test_shares_are_all_rows_once(n: int, size: int) -> None:
    rows = [row for rank in range(size) for row in range(n)[Share(rank, size).of(n)]]
    assert rows == list(range(n))


@given(n=st.integers(1, 20), size=SIZES)
def test_the_mean_of_the_parts_is_the_whole(n: int, size: int) -> None:
    values = torch.randn(n, dtype=torch.float64)
    sums, means = [], []
    for rank in range(size):
        with sharing(Share(rank, size)):
            own = own_rows(n)
        sums.append(own.of_sum * values[own.rows].sum())
        means.append(own.of_mean * values[own.rows].mean())
    torch.testing.assert_close(torch.stack(sums).mean(), values.sum())
    torch.testing.assert_close(torch.stack(means).mean(), values.mean())
    assert own_rows(n) == (slice(0, n), 1.0, 1.0)  # alone again


@pytest.mark.parametrize(("n", "size"), [(9, 2), (2, 3), (1, 2), (7, 7)])
def test_a_contrast_is_shared_by_its_anchors(n: int, size: int) -> None:
    generator = torch.Generator().manual_seed(n)
    anchors, positives, candidates = (
        torch.randn(rows, 4, generator=generator, dtype=torch.float64, requires_grad=True)
        for rows in (n, n, 12)
    )
    weights = torch.rand(n, generator=generator, dtype=torch.float64)

    def found() -> list[Tensor]:
        loss = info_nce(anchors, positives, candidates, 0.3, weights=weights)
        return [loss, *torch.autograd.grad(loss, (anchors, positives, candidates))]

    whole, parts = found(), []
    for rank in range(size):
        with sharing(Share(rank, size)):
            parts.append(found())
    for expected, several in zip(whole, zip(*parts)):
        torch.testing.assert_close(torch.stack(several).mean(0), expected)
    assert size > n or not torch.allclose(parts[0][0], whole[0])


@pytest.mark.parametrize("rows", [slice(0, 3), slice(3, 7), slice(0, 1)])
def test_dropout_is_drawn_for_the_whole_batch(rows: slice) -> None:
    layers = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.2))
    values = torch.randn(7, 5, 3)
    torch.manual_seed(1)
    whole, after = layers(values), torch.get_rng_state()
    torch.manual_seed(1)
    with whole_dropout(rows, 7):
        part = layers(values[rows])
    torch.testing.assert_close(part, whole[rows])
    assert torch.equal(torch.get_rng_state(), after)
    layers.eval()
    with whole_dropout(rows, 7):
        assert torch.equal(layers(values[rows]), values[rows])


def test_where_nobody_is_asked_everything_is_computed() -> None:
    table = torch.randn(4, 6)
    with sharing(Share(1, 2)):
        assert torch.equal(by_columns(lambda x: 2 * x, table), 2 * table)
        assert torch.equal(by_rows(lambda x: 2 * x, table), 2 * table)


def test_what_is_put_together_again_is_in_order() -> None:
    table = torch.randn(5, 7)
    made: dict[int, Tensor] = {}
    for rank in range(3):  # what the last one is given is what the others have made
        with sharing(Share(rank, 3, lambda own, width, r=rank: _kept(made, r, own))):
            whole = by_columns(lambda x: torch.eye(5) @ x, table)
    assert torch.equal(whole, table)


def _kept(made: dict[int, Tensor], rank: int, own: Tensor) -> Tensor:
    made[rank] = own
    return torch.cat([made[r] for r in sorted(made)], 1)
