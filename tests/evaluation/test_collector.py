"""What is collected from the k best items gives RecBole's metrics, to the last digits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.evaluator import Collector, Evaluator
from recbole.evaluator import metrics as stock

from recbole_darec.recbole_compat.metrics import MetricCollector, MetricEvaluator

TOPK = ["Recall", "NDCG", "MAP", "MRR", "Hit", "Precision"]


@pytest.fixture(scope="module", autouse=True)
def former_names() -> Iterator[None]:
    """NumPy's former names, which RecBole's metrics use and its configuration puts back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "float", float, raising=False)
        yield


def config_for(topk: list[int]) -> dict[str, Any]:
    return {
        "metrics": [*TOPK, "GAUC"],
        "topk": topk,
        "eval_args": {"mode": "full"},
        "device": torch.device("cpu"),
        "metric_decimal_place": 15,
        "LABEL_FIELD": "label",
    }


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    n_users=st.integers(1, 6),
    n_items=st.sampled_from([8, 40, 3000]),
    topk=st.sampled_from([[1], [2, 5], [7]]),
    levels=st.sampled_from([0, 3]),
    positives=st.floats(0.01, 0.9),
)
def test_metrics_are_those_of_recbole(
    seed: int, n_users: int, n_items: int, topk: list[int], levels: int, positives: float
) -> None:
    gen = torch.Generator().manual_seed(seed)
    ours = MetricCollector(config_for(topk)), MetricEvaluator(config_for(topk))
    theirs = Collector(config_for(topk)), Evaluator(config_for(topk))
    for _ in range(2):  # two batches
        scores = torch.randn(n_users, n_items, generator=gen)
        if levels:
            scores = (scores * levels).round()
        wanted = torch.rand(n_users, n_items, generator=gen) < positives
        wanted[:, 0] = wanted[:, -1] = False  # GAUC needs an item that is not to be found
        wanted[torch.arange(n_users), 1 + torch.arange(n_users) % (n_items - 2)] = True
        scores[:, 0] = -torch.inf
        masked = torch.rand(n_users, n_items, generator=gen) < 0.3
        masked[:, -1] = False
        scores[masked & ~wanted] = -torch.inf
        rows, items = wanted.nonzero(as_tuple=True)
        for collector, _ in (ours, theirs):
            collector.eval_batch_collect(scores.clone(), {}, rows, items)
    found = ours[1].evaluate(ours[0].get_data_struct())
    expected = theirs[1].evaluate(theirs[0].get_data_struct())
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["map", "ndcg"])
def test_a_user_without_an_item_to_be_found_counts_as_in_recbole(name: str) -> None:
    config = config_for([4])
    ours = MetricEvaluator(config | {"metrics": [name]}).metric_class[name]
    theirs = getattr(stock, name.upper())(config)
    hits = np.array([[False] * 4, [True, False, True, False]])
    counts = np.array([0, 9])
    np.testing.assert_allclose(
        ours.metric_info(hits, counts), theirs.metric_info(hits, counts), rtol=0, atol=1e-15
    )
