"""Scores of users who are known by what they took."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from filters import naive
from recbole_darec.filters.equations import standardised
from recbole_darec.filters.fitted import FittedFilter
from recbole_darec.filters.histories import HistoryParts, HistoryScores
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.new_items import NewItemScores
from recbole_darec.filters.weights import FilterWeights

USERS, ITEMS, WIDTH, NEAREST = 30, 17, 6, 4
WEIGHTS = [
    FilterWeights(),
    FilterWeights(two_hops=0.3, text=0.5, popularity=0.4, match=0.6, item_exponent=0.2),
    FilterWeights(text=0.7, match=0.2, low_pass=0.5, low_pass_width=5.0),
    FilterWeights(two_hops=0.2, text=0.7, match=0.3, low_pass=0.5, low_pass_width=5.0, recency=0.3),
]
CPU = torch.device("cpu")


def made(weights: FilterWeights, with_users: bool = False) -> tuple[FittedFilter, np.ndarray]:
    """A filter and the profiles of its items; the last item was never taken."""
    rng = np.random.RandomState(1)
    x = (rng.random_sample((USERS, ITEMS)) < 0.3).astype(float)
    x[:, -1] = 0.0
    items = rng.standard_normal((ITEMS, WIDTH)) + 0.5
    users = torch.from_numpy(rng.standard_normal((USERS, WIDTH))) if with_users else None
    # As they are numbered, users take items in the order in which they are numbered.
    order = csr_matrix(x * x.cumsum(1))
    inputs = FilterInputs.of(
        x, torch.from_numpy(items), users, order=order, width=WIDTH, n_neighbours=NEAREST
    )
    return FittedFilter(inputs, weights), items


def histories_of(x: np.ndarray, width: int = ITEMS + 2) -> torch.Tensor:
    found = torch.full((len(x), width), -1)
    for row, taken in enumerate(x):
        numbers = np.flatnonzero(taken)
        found[row, : len(numbers)] = torch.from_numpy(numbers)
    return found


@pytest.mark.parametrize("weights", WEIGHTS)
def test_who_took_what_a_trained_user_took_has_the_scores_of_that_user(
    weights: FilterWeights,
) -> None:
    fitted, _ = made(weights)
    histories = histories_of(fitted.inputs.interactions.toarray())
    found = HistoryScores(fitted, CPU).scores(histories)
    np.testing.assert_array_equal(found.numpy(), fitted.scores(np.arange(USERS)))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_new_history_passes_through_the_formulas(weights: FilterWeights) -> None:
    fitted, items = made(weights)
    faded = 1.0 - weights.recency
    x, d, w = fitted.inputs.interactions.toarray().astype(float), fitted.deviations, fitted.weights
    asked = (np.random.RandomState(5).random_sample((9, ITEMS)) < 0.4).astype(float)
    y = naive.interactions(x, 0.5, w.item_exponent)
    gram = y.T @ y
    power = gram / np.linalg.eigvalsh(gram)[-1]
    graph = naive.graph(items, WIDTH, NEAREST)
    _, _, right = np.linalg.svd(naive.interactions(x, 0.5, 0.5), full_matrices=False)
    directions = naive.centred(items)
    degrees = x.sum(0)
    for history, found in zip(asked, HistoryScores(fitted, CPU).scores(histories_of(asked))):
        row, smooth = np.zeros(ITEMS), np.zeros(ITEMS)
        taken = np.flatnonzero(history)
        counts = np.zeros(ITEMS)
        for later, i in enumerate(reversed(taken)):
            counts[i] = faded**later
            if degrees[i]:
                row[i] = counts[i] * len(taken) ** -0.5 * degrees[i] ** -w.item_exponent
                smooth[i] = counts[i] * len(taken) ** -0.5 * degrees[i] ** -0.5
        expected = row @ power / d["once"]
        expected += w.two_hops * row @ power @ power / d["twice"] + w.text * row @ graph / d["text"]
        expected *= np.maximum(degrees, 1.0) ** w.popularity / d["graph"]
        mean = naive.unit((counts @ directions)[None])[0]
        expected += w.match * directions @ mean / d["match"]
        if w.low_pass:
            kept = right[: int(w.low_pass_width)]
            low = (smooth @ kept.T) @ kept * degrees**0.5
            expected = expected / d["sum"] + w.low_pass * low / d["low"]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_order_and_repeats_change_nothing_and_nothing_taken_is_no_row() -> None:
    scorer = HistoryScores(made(WEIGHTS[1])[0], CPU)
    found = scorer.scores(torch.tensor([[3, 5, 8, -1], [8, 3, 5, 3], [-1, -1, -1, -1]]))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert not found[2].any()


def test_with_recency_the_last_place_of_an_item_counts() -> None:
    scorer = HistoryScores(made(WEIGHTS[3])[0], CPU)
    found = scorer.scores(
        torch.tensor([[3, 5, 8, -1], [-1, 3, 5, 8], [8, 3, 5, 8], [3, 8, 5, 8], [8, 5, 3, -1]])
    )
    for row in (1, 2):
        torch.testing.assert_close(found[0], found[row], rtol=0, atol=0)
    for row in (3, 4):
        assert not torch.allclose(found[0], found[row])


def test_scores_are_mixed_in_place_whatever_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, _ = made(WEIGHTS[1])
    scores = torch.randn(USERS, ITEMS)
    histories = histories_of(fitted.inputs.interactions.toarray())
    own = torch.from_numpy(fitted.scores(np.arange(USERS)))
    expected = 0.3 * standardised(scores) + 0.7 * standardised(own)
    monkeypatch.setattr("recbole_darec.filters.products._CPU_ELEMENTS", 4 * ITEMS)
    HistoryScores(fitted, CPU).mix_into(scores, histories, 0.7)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("room", "times"), [(1 << 29, 2), (4 * 10 * ITEMS, 3), (0, 4)])
def test_what_is_asked_again_is_made_once_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch, room: int, times: int
) -> None:
    """Of two batches of ten users both are kept, one, or none."""
    monkeypatch.setattr("recbole_darec.filters.histories.KEPT_BYTES", room)
    fitted, _ = made(WEIGHTS[1])
    batches = histories_of(fitted.inputs.interactions.toarray())[:20].split(10)
    scorer, asked = HistoryScores(fitted, CPU), []
    make = scorer.scores
    monkeypatch.setattr(scorer, "scores", lambda rows: asked.append(len(rows)) or make(rows))
    found = []
    for _ in range(2):
        scores = [torch.ones(10, ITEMS).cumsum(1) for _ in batches]
        for one, histories in zip(scores, batches):
            scorer.mix_into(one, histories, 0.5)
        found.append(torch.cat(scores))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert len(asked) == times


def test_of_users_with_profiles_a_history_has_the_mean_of_its_items() -> None:
    fitted, _ = made(FilterWeights(text=0.5, match=0.6, user_text=0.4), with_users=True)
    parts = HistoryParts(fitted)
    history = fitted.inputs.interactions[:3]
    users = parts.ask(history)
    assert parts.inputs.user_texts is None
    directions = fitted.inputs.item_rows.numpy()
    expected = naive.unit(history.toarray() @ directions)
    np.testing.assert_allclose(parts.inputs.user_rows.numpy()[users], expected, atol=1e-6)


def test_new_items_have_their_scores_for_histories_too() -> None:
    fitted, items = made(WEIGHTS[2])
    new = NewItemScores(fitted, torch.from_numpy(items), torch.randn(3, WIDTH).double())
    scorer = HistoryScores(fitted, CPU)
    scorer.scores(histories_of(fitted.inputs.interactions.toarray()))
    users = np.arange(USERS)
    np.testing.assert_allclose(new.scores(users, scorer.parts), new.scores(users), atol=1e-6)
