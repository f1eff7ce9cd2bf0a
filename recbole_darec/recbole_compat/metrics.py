"""RecBole's metrics, and what they are computed from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
import numpy as np
import torch
from recbole.evaluator import Collector, Evaluator
from recbole.evaluator import metrics as recbole_metrics

from recbole_darec.recbole_compat.best_items import BestItems, best_items, hits

__all__ = ["MetricCollector", "MetricEvaluator"]

# RecBole rounds every metric to four digits; ours keep what a double holds.
_ALL_DIGITS = 15

# In a list of recommended items: no item.  RecBole's padding has this id, and is never recommended.
_NONE = 0


class MetricCollector(Collector):
    """RecBole's collector, from which every metric that RecBole documents can be computed.

    RecBole moves all that it has collected to the CPU, the number of items and the item counts
    among it, which are no tensors: item coverage, Gini index, average popularity and tail
    percentage end in a traceback.  It counts the padding as an item, which no list can hold.  And
    where a user has fewer than k items left to rank, masked ones fill the list up.

    Speed: RecBole forms a dense matrix of the users and items of a batch to look the k best items
    up in, and selects them once per kind of metric.

    Attributes:
        kept: users, best items, and rows and ids of the items to be found, of each batch that
            ranks; None unless somebody asks for them with an empty list.
    """

    # Collected anew in each evaluation; what was collected of the training part stays.
    of_one_evaluation = ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label")
    kept: list[tuple[torch.Tensor, ...]] | None = None

    @property
    def reads_lists_alone(self) -> bool:
        """Whether the k best items of each user are all that the run's metrics need of scores."""
        return not any(self.register.need(key) for key in ("rec.meanrank", "rec.score"))

    def data_collect(self, train_data: Any) -> None:
        """Collect what the metrics need of the training part."""
        super().data_collect(train_data)
        for name, field in (("items", "ITEM_ID_FIELD"), ("users", "USER_ID_FIELD")):
            if self.register.need(f"data.num_{name}"):
                count = train_data._dataset.num(self.config[field]) - 1
                self.data_struct.set(f"data.num_{name}", count)

    def eval_batch_collect(
        self,
        scores_tensor: torch.Tensor | BestItems,
        interaction: Any,
        positive_u: Any,
        positive_i: Any,
    ) -> None:
        """Collect a batch; masked items count as none in the lists of recommended items.

        Args:
            scores_tensor: ``[n_users, n_items]``, minus infinity where an item is masked; or the
                best of them, if :attr:`reads_lists_alone`.
            interaction: the batch.
            positive_u: row of each item to be found.
            positive_i: id of each item to be found.
        """
        wanted: Any = self.register
        keeps = self.kept is not None and positive_u is not None
        if keeps or wanted.need("rec.items") or wanted.need("rec.topk"):
            best = best_items(scores_tensor, max(self.topk))
            values, listed = best.values, best.items
            if wanted.need("rec.items"):
                items = listed.masked_fill(torch.isneginf(values), _NONE)
                self.data_struct.update_tensor("rec.items", items)
            if wanted.need("rec.topk"):
                to_be_found = hits(listed, best.n_items, positive_u, positive_i)
                self.data_struct.update_tensor("rec.topk", to_be_found)
            if self.kept is not None and keeps:
                users = interaction[self.config["USER_ID_FIELD"]]
                if len(users) != len(listed):  # sampled candidates: a row a pair, user after user
                    users = torch.unique_consecutive(users)
                ranked = listed.masked_fill(torch.isneginf(values), _NONE)
                found = (users, ranked, torch.as_tensor(positive_u), torch.as_tensor(positive_i))
                self.kept.append(tuple(part.cpu() for part in found))
        if isinstance(scores_tensor, BestItems):
            return
        self.register: Any = _WithoutLists(wanted)  # RecBole's collector asks it for the rest
        try:
            super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
        finally:
            self.register = wanted

    def get_data_struct(self) -> Any:
        """Return what was collected, on the CPU, and forget what belongs to one evaluation."""
        collected = self.data_struct
        for key, value in collected._data_dict.items():
            if isinstance(value, torch.Tensor):
                collected._data_dict[key] = value.cpu()
        returned = copy.deepcopy(collected)
        for key in self.of_one_evaluation:
            if key in collected:
                del collected[key]
        return returned


class _WithoutLists:
    """What the metrics need, less what is computed from the k best items."""

    def __init__(self, register: Any) -> None:
        self.register = register

    def need(self, key: str) -> bool:
        return key not in {"rec.items", "rec.topk"} and self.register.need(key)


class MetricEvaluator(Evaluator):
    """RecBole's evaluator; metrics are rounded only on request, and lists may end before k.

    Attributes:
        kept: the ranking metrics of each row by name, once :meth:`keep_rows` was called.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        # Rounded only where a run asks for it: RecBole's own default is 4 digits.
        settings = getattr(config, "settings", None)
        asked = None if settings is None else settings.values.get("metric_decimal_place")
        digits = _ALL_DIGITS if asked is None else asked
        for name, metric in self.metric_class.items():
            if name in _OURS:
                metric = self.metric_class[name] = _OURS[name](config)
            metric.decimal_place = digits
        self.kept: dict[str, np.ndarray] = {}

    def keep_rows(self) -> None:
        """Keep what each row of the next evaluations has; RecBole takes its mean and forgets it."""
        for metric in self.list_metrics:
            metric.topk_result = partial(self._kept_result, metric, metric.topk_result)

    @property
    def list_metrics(self) -> list[Any]:
        """The run's metrics that read the lists alone: Recall, NDCG, MRR, ..."""
        made = self.metric_class.values()
        return [metric for metric in made if isinstance(metric, recbole_metrics.TopkMetric)]

    def of_lists(self, found: torch.Tensor) -> dict[str, float]:
        """Return the metrics of lists by name, from what :func:`hits` returns of some users."""
        return self._of_lists(found)[0]

    def rows_of_lists(self, found: torch.Tensor) -> dict[str, np.ndarray]:
        """Return the metrics that :meth:`of_lists` has the means of, of each user, float32."""
        return self._of_lists(found)[1]

    def _of_lists(self, found: torch.Tensor) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return the metrics, and the rows that are kept of them; those of before stay."""
        results: dict[str, float] = {}
        before, self.kept = self.kept, {}
        try:
            for metric in self.list_metrics:
                results.update(metric.calculate_metric({"rec.topk": found}))
            return results, self.kept
        finally:
            self.kept = before

    def _kept_result(self, metric: Any, mean_of: Any, name: str, values: np.ndarray) -> Any:
        for k in metric.topk:
            self.kept[f"{name}@{k}"] = values[:, k - 1].astype(np.float32)
        return mean_of(name, values)


class _ItemCoverage(recbole_metrics.ItemCoverage):
    def get_coverage(self, item_matrix: np.ndarray, num_items: int) -> float:
        return float(super().get_coverage(_listed(item_matrix), num_items))


class _ShannonEntropy(recbole_metrics.ShannonEntropy):
    def get_entropy(self, item_matrix: np.ndarray) -> float:
        return float(super().get_entropy(_listed(item_matrix)))


class _GiniIndex(recbole_metrics.GiniIndex):
    def get_gini(self, item_matrix: np.ndarray, num_items: int) -> float:
        return float(super().get_gini(_listed(item_matrix), num_items))


class _MeanOverList:
    """A metric that is a mean over the items of a list."""

    def metric_info(self, values: np.ndarray) -> np.ndarray:
        """Return the means over the first 1 to k items; NaN in ``values`` is no item."""
        counts = (~np.isnan(values)).cumsum(axis=1)
        sums = np.nancumsum(values, axis=1)
        return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)


class _AveragePopularity(_MeanOverList, recbole_metrics.AveragePopularity):
    def get_pop(self, item_matrix: np.ndarray, item_count: Mapping[int, int]) -> np.ndarray:
        return _looked_up(item_matrix, item_count)


class _TailPercentage(_MeanOverList, recbole_metrics.TailPercentage):
    def get_tail(self, item_matrix: np.ndarray, count_items: Mapping[int, int]) -> np.ndarray:
        if self.tail > 1:
            tail = [item for item, count in count_items.items() if count <= self.tail]
        else:
            by_count = sorted(count_items, key=lambda item: (count_items[item], item))
            tail = by_count[: max(int(len(by_count) * self.tail), 1)]
        return _looked_up(item_matrix, dict.fromkeys(tail, 1))


class _MRR(recbole_metrics.MRR):
    def metric_info(self, pos_index: np.ndarray) -> np.ndarray:
        first = pos_index.argmax(axis=1)[:, None]
        found = np.maximum.accumulate(pos_index, axis=1)
        return np.where(found, 1.0 / (first + 1), 0.0)


class _MAP(recbole_metrics.MAP):
    def metric_info(self, pos_index: np.ndarray, pos_len: np.ndarray) -> np.ndarray:
        places = np.arange(1, pos_index.shape[1] + 1)
        precision = pos_index.cumsum(axis=1) / places
        sums = np.cumsum(precision * pos_index, axis=1)
        return sums / places[_last_place(pos_index, pos_len)]


class _NDCG(recbole_metrics.NDCG):
    def metric_info(self, pos_index: np.ndarray, pos_len: np.ndarray) -> np.ndarray:
        discounts = 1.0 / np.log2(np.arange(2, pos_index.shape[1] + 2, dtype=float))
        ideal = np.cumsum(discounts)[_last_place(pos_index, pos_len)]
        return np.where(pos_index, discounts, 0.0).cumsum(axis=1) / ideal


def _last_place(pos_index: np.ndarray, pos_len: np.ndarray) -> np.ndarray:
    """Return for each k the last place, from 0, that an item to be found can take.

    A user without one has RecBole's answer, the last place of all.
    """
    last = np.where(pos_len > 0, pos_len, pos_index.shape[1]) - 1
    return np.minimum(np.arange(pos_index.shape[1]), last[:, None])


_OURS = {
    "map": _MAP,  # RecBole's own has a Python loop over the users, as the next two have
    "mrr": _MRR,
    "ndcg": _NDCG,
    "itemcoverage": _ItemCoverage,
    "shannonentropy": _ShannonEntropy,
    "giniindex": _GiniIndex,
    "averagepopularity": _AveragePopularity,
    "tailpercentage": _TailPercentage,
}


def _listed(item_matrix: np.ndarray) -> np.ndarray:
    """Return the recommended items of all lists as one column."""
    return item_matrix[item_matrix != _NONE][:, None]


def _looked_up(item_matrix: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    """Return each item's value, 0 where it has none, NaN where there is no item."""
    table = np.zeros(max([int(item_matrix.max()), *map(int, values)], default=0) + 1)
    table[list(values)] = list(values.values())
    found = table[item_matrix]
    found[item_matrix == _NONE] = np.nan
    return found
