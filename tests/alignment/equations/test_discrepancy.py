"""PAD's discrepancy against loops in float64 and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_darec.alignment.equations import KERNELS, discrepancy, mean_discrepancy


def naive(x: np.ndarray, y: np.ndarray, kernel: str) -> float:
    """Return the discrepancy by loops over pairs, as the paper writes it."""
    z, n = np.concatenate([x, y]), len(x)
    squared = [[float(((a - b) ** 2).sum()) for b in z] for a in z]
    plain = [[float(np.abs(a - b).sum()) for b in z] for a in z]
    mean_squared, mean_plain = float(np.mean(squared)), float(np.mean(plain))

    def value(i: int, j: int) -> float:
        if kernel == "gaussian":
            return sum(
                math.exp(-squared[i][j] / (2.0 * 2.0**u * mean_squared)) for u in range(-3, 2)
            )
        if kernel == "laplace":
            return math.exp(-plain[i][j] / mean_plain)
        product = float(z[i] @ z[j])
        if kernel == "linear":
            return product
        return product / float(np.linalg.norm(z[i]) * np.linalg.norm(z[j]))

    total = 2.0 / (n - 1)
    for i in range(n):
        for j in range(n):
            if i != j:
                total += (value(i, j) + value(n + i, n + j)) / (n * (n - 1))
            total -= 2.0 * value(i, n + j) / n**2
    return total


def rows(n: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("kernel", list(KERNELS))
@pytest.mark.parametrize("n", [2, 7])
def test_it_is_the_papers_sum_over_pairs(kernel: str, n: int) -> None:
    x, y = rows(n, 0), rows(n, 1) + 0.5
    found = float(mean_discrepancy(x, y, kernel=kernel))
    assert found == pytest.approx(naive(x.numpy(), y.numpy(), kernel), rel=1e-10)
    single = float(mean_discrepancy(x.float(), y.float(), kernel=kernel))
    assert single == pytest.approx(found, rel=1e-5, abs=1e-5)


def test_rows_that_lie_far_from_the_origin_keep_their_distances() -> None:
    """As those of P do, whose GELU lets little below 0: in float32, with a gradient."""
    x, y = rows(7, 0), rows(7, 1) + 0.5
    near = x.clone().requires_grad_()
    mean_discrepancy(near, y).backward()
    far = (x + 100.0).float().requires_grad_()
    value = mean_discrepancy(far, (y + 100.0).float())
    value.backward()
    expected = naive(x.numpy(), y.numpy(), "gaussian")
    assert float(value.detach()) == pytest.approx(expected, abs=1e-5)
    assert near.grad is not None
    assert far.grad is not None
    assert torch.allclose(far.grad.double(), near.grad, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("kernel", list(KERNELS))
def test_a_count_is_a_repeated_row(kernel: str) -> None:
    x, y, counts = rows(4, 2), rows(4, 3), torch.tensor([1, 3, 1, 2])
    found = float(mean_discrepancy(x, y, counts, kernel))
    repeated = (t.repeat_interleave(counts, 0).numpy() for t in (x, y))
    assert found == pytest.approx(naive(*repeated, kernel), rel=1e-10)


@pytest.mark.parametrize(("at_once", "n_groups"), [(0, 1), (7, 1), (6, 2), (3, 3), (2, 4)])
def test_many_rows_are_dealt_out_to_groups(at_once: int, n_groups: int) -> None:
    x, y = rows(7, 6), rows(7, 7)
    found = float(mean_discrepancy(x, y, at_once=at_once))
    parts = [(x[k::n_groups].numpy(), y[k::n_groups].numpy()) for k in range(n_groups)]
    each = [naive(*part, "gaussian") if len(part[0]) > 1 else 0.0 for part in parts]
    assert found == pytest.approx(np.mean(each), rel=1e-10)


def test_tiles_of_pairs_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, counts = rows(6, 8), rows(6, 9), torch.tensor([1, 3, 1, 2, 1, 1])
    results = []
    for numbers in (1, 30, 1 << 18):  # a row, two and a half, all
        monkeypatch.setattr(discrepancy, "_TILE_NUMBERS", numbers)
        first, second = x.clone().requires_grad_(), y.clone().requires_grad_()
        value = mean_discrepancy(first, second, counts)
        value.backward()
        results.append((value.detach(), first.grad, second.grad))
    for found in results[:2]:
        for part, whole in zip(found, results[2]):
            assert part is not None
            assert whole is not None
            assert torch.allclose(part, whole, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kernel", list(KERNELS))
def test_the_gradient_is_that_of_finite_differences(kernel: str) -> None:
    """The bandwidth takes no gradient: it is held where it was while a row moves."""
    x, y = rows(4, 4).requires_grad_(), rows(4, 5).requires_grad_()
    counts = torch.tensor([2.0, 1.0, 1.0, 3.0], dtype=torch.float64)
    z, weight = torch.cat([x, y]).detach(), torch.cat([counts, counts])
    pairs = weight[:, None] * weight
    held = {
        "gaussian": float((torch.cdist(z, z).square() * pairs).sum() / pairs.sum()),
        "laplace": float((torch.cdist(z, z, p=1.0) * pairs).sum() / pairs.sum()),
    }

    def direct(first: Tensor, second: Tensor) -> Tensor:
        one = torch.cat([t.repeat_interleave(counts.long(), 0) for t in (first, second)])
        n = len(one) // 2
        difference = one[:, None] - one
        if kernel == "gaussian":
            square = difference.square().sum(-1)
            k = sum(
                (torch.exp(-square / (2.0 * 2.0**u * held[kernel])) for u in range(-3, 2)),
                torch.zeros(()),
            )
        elif kernel == "laplace":
            k = torch.exp(-difference.abs().sum(-1) / held[kernel])
        else:
            unit = torch.nn.functional.normalize(one) if kernel == "cosine" else one
            k = unit @ unit.t()
        own = [
            (part.sum() - part.diagonal().sum()) / (n * (n - 1)) for part in (k[:n, :n], k[n:, n:])
        ]
        return own[0] + own[1] - 2.0 * k[:n, n:].mean() + 2.0 / (n - 1)

    mean_discrepancy(x, y, counts, kernel).backward()
    for parameter in (x, y):
        assert parameter.grad is not None
        for place in ((0, 0), (1, 3), (3, 4)):
            values = []
            for change in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter[place] += change
                    values.append(float(direct(x, y)))
                    parameter[place] -= change
            slope = (values[0] - values[1]) / 2e-5
            assert float(parameter.grad[place]) == pytest.approx(slope, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("kernel", list(KERNELS))
def test_rows_that_are_all_one_have_a_finite_gradient(kernel: str) -> None:
    x = torch.ones(3, 2, requires_grad=True)
    mean_discrepancy(x, x.detach().clone(), kernel=kernel).backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


def test_one_row_has_no_discrepancy() -> None:
    assert float(mean_discrepancy(rows(1, 0), rows(1, 1))) == 0.0
