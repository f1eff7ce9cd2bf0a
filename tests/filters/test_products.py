"""A filter's scores by products with columns, and those that are kept, against its pieces."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_darec.filters.equations import row_blocks, standardised
from recbole_darec.filters.fitted import FittedFilter, dense
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.kept import KeptScores
from recbole_darec.filters.weights import FilterWeights

USERS, ITEMS, WIDTH = 50, 40, 6
CPU = torch.device("cpu")
ONE_STEP = FilterWeights(text=0.3, popularity=0.2)
WHOLE = FilterWeights(0.5, 0.3, 0.2, 0.2, 0.25, 0.3, 0.5, 4.0)


def fitted(weights: FilterWeights, seed: int = 0) -> FittedFilter:
    rng = np.random.RandomState(seed)
    x = (rng.random_sample((USERS, ITEMS)) < 0.2).astype(float)
    x[3] = 0
    x[:, 5] = 0
    rows = [torch.from_numpy(rng.standard_normal((n, WIDTH))).float() for n in (ITEMS, USERS)]
    return FittedFilter(FilterInputs.of(sp.csr_matrix(x), *rows, width=3, n_neighbours=3), weights)


def graph_of_pieces(one: FittedFilter, rows: object) -> np.ndarray:
    w, deviation = one.weights, one.deviations
    weights = {"once": 1.0, "twice": w.two_hops, "text": w.text}
    pieces = {name: dense(piece).astype(float) for name, piece in one.pieces(rows).items()}
    total = sum(weights[name] / deviation[name] * piece for name, piece in pieces.items())
    return np.asarray(total) * one.popularity


def of_pieces(one: FittedFilter, users: np.ndarray) -> np.ndarray:
    """F, by SciPy's products of sparse matrices, a piece at a time."""
    w, deviation = one.weights, one.deviations
    found = graph_of_pieces(one, one.rows(users)) / deviation["graph"]
    if w.user_text:
        found += w.user_text / deviation["users"] * graph_of_pieces(one, one.neighbours(users))
    if w.match:
        found += w.match / deviation["match"] * one.matches(users)
    if one.low_pass is not None:
        low = one.low_pass.scores(users)
        found = found / deviation["sum"] + w.low_pass / deviation["low"] * low
    return found


@pytest.mark.parametrize("mkl", [True, False], ids=["MKL", "no MKL"])
@pytest.mark.parametrize("cost", [0, 1 << 30], ids=["sparse", "columns"])
@pytest.mark.parametrize("kept", [0, 1 << 20], ids=["through users", "kept"])
@pytest.mark.parametrize("weights", [FilterWeights(), ONE_STEP, WHOLE])
def test_every_way_gives_the_scores_of_the_pieces(
    weights: FilterWeights, kept: int, cost: int, mkl: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_darec.filters.cooccurrence._KEPT_ENTRIES", kept)
    monkeypatch.setattr("recbole_darec.filters.cooccurrence._SPARSE_COST", cost)
    monkeypatch.setattr("recbole_darec.filters.cooccurrence._WRITTEN_COST", cost)
    if not mkl:
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    one, users = fitted(weights), np.array([7, 3, 49, 0])
    assert (one.cooccurrence.of_sparse(one.rows(users)) is None) == bool(cost)
    np.testing.assert_allclose(one.scores(users), of_pieces(one, users), rtol=1e-5, atol=1e-5)
    nobody = np.array([3])  # without an interaction
    np.testing.assert_allclose(one.scores(nobody), of_pieces(one, nobody), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("most", [0, 4 * USERS * ITEMS])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_scores_are_mixed_whether_they_are_kept_or_not(
    most: int, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_darec.filters.kept.KEPT_BYTES", most)
    monkeypatch.setattr("recbole_darec.filters.products._CPU_ELEMENTS", 3 * ITEMS)
    one = fitted(WHOLE)
    kept = KeptScores(one, CPU)
    filtered = standardised(torch.from_numpy(one.scores(np.arange(USERS))))
    asked = []
    products = one.on(CPU)
    scores_of = products.scores

    def noted(users: np.ndarray, out: torch.Tensor) -> torch.Tensor:
        asked.extend(users.tolist())
        return scores_of(users, out)

    monkeypatch.setattr(products, "scores", noted)
    generator = torch.Generator().manual_seed(1)
    batches = [[4, 9, 2, 30, 7], [9, 7, 41, 41], [49]]
    for batch in batches:
        users = torch.tensor(batch)
        # Beside a padding column, as a backbone's are.
        scores = torch.randn(len(batch), ITEMS + 1, generator=generator)[:, 1:]
        wanted = (1 - weight) * standardised(scores) + weight * filtered[users]
        kept.mix_into(scores, users, weight)
        torch.testing.assert_close(scores, wanted, rtol=1e-5, atol=1e-5)
    if most:
        assert sorted(asked) == sorted({user for batch in batches for user in batch})
    else:
        assert asked == [user for batch in batches for user in batch]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_scores_of_another_type_keep_it(dtype: torch.dtype) -> None:
    one, users = fitted(WHOLE), torch.tensor([1, 0])
    scores = torch.randn(2, ITEMS, generator=torch.Generator().manual_seed(2)).to(dtype)
    wanted = 0.5 * standardised(scores.double())
    wanted += 0.5 * standardised(torch.from_numpy(one.scores(users.numpy()))).double()
    KeptScores(one, CPU).mix_into(scores, users, 0.5)
    assert scores.dtype == dtype
    tolerance = 2e-3 if dtype == torch.float16 else 1e-5
    torch.testing.assert_close(scores.double(), wanted, rtol=tolerance, atol=tolerance)


def test_blocks_of_rows() -> None:
    tall = list(row_blocks(1000, 1 << 14))
    assert tall == [slice(n, min(n + 32, 1000)) for n in range(0, 1000, 32)]
    assert list(row_blocks(1000, 1 << 14, torch.device("cuda"))) == [slice(0, 1000)]
    assert list(row_blocks(0, 5, torch.device("cuda"))) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("most", [0, 4 * USERS * ITEMS])
@pytest.mark.parametrize("weights", [FilterWeights(), ONE_STEP, WHOLE])
def test_a_gpu_gives_the_scores_of_the_cpu(
    weights: FilterWeights, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_darec.filters.kept.KEPT_BYTES", most)
    one, users = fitted(weights), torch.tensor([7, 3, 49, 0])
    scores = torch.randn(4, ITEMS)
    on_gpu = scores.cuda()
    KeptScores(one, CPU).mix_into(scores, users, 0.4)
    KeptScores(one, on_gpu.device).mix_into(on_gpu, users.cuda(), 0.4)
    torch.testing.assert_close(on_gpu.cpu(), scores, rtol=1e-5, atol=1e-5)
