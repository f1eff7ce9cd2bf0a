"""How a trained model ranks the items that ``cold_items`` held out, next to what knows less."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_darec.aligned.new_rows import NewRows, WithNewItems, find_new_rows
from recbole_darec.aligned.profile_rows import rows_of
from recbole_darec.aligned.vectors import backbone_vectors
from recbole_darec.errors import DataError, OptionError
from recbole_darec.evaluation.all_rank import AllRankLoader, UserItems
from recbole_darec.evaluation.cold import list_metrics
from recbole_darec.evaluation.report import metrics_table
from recbole_darec.loaded import LoadedRun, load_run
from recbole_darec.numerics.rows import unit_rows

__all__ = ["RANKERS", "ColdResults", "cold_table", "evaluate_cold_items", "held_out_results"]

RANKERS = ("model", "profile_knn", "content", "popularity", "random")

Scores = Callable[[np.ndarray], Tensor]


@dataclass(frozen=True)
class ColdResults:
    """What was measured of the held-out items.

    Attributes:
        how: the way by which the model ranked them.
        items: held-out items.
        users: users who are to find one.
        metrics: by ranker and by what was ranked: ``cold``, held-out items among themselves;
            ``cold_all``, held-out items among all; ``warm_all``, the test items among all.
    """

    how: str
    items: int
    users: int
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]


def evaluate_cold_items(
    model_file: str | Path,
    options: Mapping[str, Any] | None = None,
    model: type | None = None,
) -> ColdResults:
    """Rank the items that a run held out with ``cold_items``.

    Args:
        model_file: a checkpoint that a run wrote.
        options: evaluation options that replace the checkpoint's.
        model: the recommender class, where the run was given a class and not a name.

    Raises:
        OptionError: the run held no items out.
        EmbeddingError: a held-out item has no profile.
    """
    return held_out_results(load_run(Path(model_file), options or {}, model))


def held_out_results(run: LoadedRun) -> ColdResults:
    """Return :func:`evaluate_cold_items` of a loaded run.

    ``profile_knn`` is the same model with the mean of the nearest trained items by profile in the
    place of the aligner's way; ``content`` reads no model: cosines with the mean profile of a
    user's training items; ``popularity`` counts training interactions, of which a held-out item has
    none, and ties are broken at random; ``random`` draws a score for each pair.
    """
    held, test = run.dataset.held_out, run.test_data
    if held is None:
        raise OptionError("the run held no items out: train it with --cold_items=0.1")
    if not isinstance(test, AllRankLoader):
        raise OptionError(
            "held-out items are ranked among all: set eval_args' mode to full, and take a general "
            "model"
        )
    return _Measured(run, held, test).results()


def cold_table(results: ColdResults) -> str:
    """Return the results as text, one table for each choice of what is ranked."""
    said = {
        "cold": "held-out items, ranked among themselves",
        "cold_all": "held-out items, ranked among all",
        "warm_all": "test items, ranked among all",
    }
    parts = [
        f"{results.items:,} items held out, ranked by {results.how} for {results.users:,} users"
    ]
    for kind, title in said.items():
        of_kind = {ranker: found[kind] for ranker, found in results.metrics.items()}
        parts.append(f"{title}\n{metrics_table(of_kind)}")
    return "\n\n".join(parts)


class _Measured:
    """The held-out items of one run, and those who are to find them."""

    def __init__(self, run: LoadedRun, held: Any, test: AllRankLoader) -> None:
        self.run, self.test, self.model = run, test, run.model
        self.n_items = int(run.dataset.item_num)
        tokens, numbers = np.unique(held.items, return_inverse=True)
        self.n_new = len(tokens)
        self.positive = self._positive(held.users, numbers.reshape(-1))
        part = run.train_data._dataset
        self.pairs = UserItems(
            part.inter_feat[part.uid_field].numpy(),
            part.inter_feat[part.iid_field].numpy(),
            int(run.dataset.user_num),
            self.n_items,
        )
        self.counts = np.bincount(self.pairs.items, minlength=self.n_items)
        ids = run.dataset.field2id_token[run.dataset.iid_field]
        known = rows_of(run.config, "item", ids).items
        new = rows_of(run.config, "item", [ids[0], *tokens]).items
        assert known is not None
        assert new is not None
        self.known, self.new = (torch.from_numpy(rows[1:]) for rows in (known, new))
        self.vectors = backbone_vectors(self.model, run.config)

    def results(self) -> ColdResults:
        way = self._new_rows(content_only=False)
        rankers: dict[str, Scores] = {
            "model": self._by(way),
            "profile_knn": self._by(self._new_rows(content_only=True)),
            "content": self._content(),
            "popularity": self._popularity(),
            "random": self._random(),
        }
        metrics = {name: self._metrics(rankers[name]) for name in RANKERS}
        return ColdResults(way.how, self.n_new, len(self.positive.users()), metrics)

    def _positive(self, users: np.ndarray, numbers: np.ndarray) -> UserItems:
        row_of = self.run.dataset.field2token_id[self.run.dataset.uid_field]
        rows = np.asarray([row_of.get(user, 0) for user in users], dtype=np.int64)
        there = rows > 0
        if not there.any():
            raise DataError("no user of a held-out item is left in the model's data")
        if not there.all():
            getLogger().warning(
                f"{int((~there).sum()):,} interactions of held-out items are of users who have no "
                "others, and are not ranked for"
            )
        n_users = int(self.run.dataset.user_num)
        total = self.n_items + self.n_new
        return UserItems(rows[there], numbers[there] + self.n_items, n_users, total)

    def _metrics(self, scores: Scores) -> dict[str, dict[str, float]]:
        every = torch.ones(self.n_items + self.n_new, dtype=torch.bool)
        every[0] = False
        cold = every.clone()
        cold[: self.n_items] = False
        hidden = self.test.history
        batch = self.run.config.settings.evaluation.users_per_batch(len(every))
        return {
            name: list_metrics(self.run.config, scores, positive, left_out, candidates, batch)
            for name, positive, left_out, candidates in (
                ("cold", self.positive, None, cold),
                ("cold_all", self.positive, hidden, every),
                ("warm_all", self.test.positive, hidden, every),
            )
        }

    # ---- who ranks -------------------------------------------------------------------------------

    def _new_rows(self, *, content_only: bool) -> NewRows:
        return find_new_rows(
            self.model,
            "item",
            self.new,
            self.known,
            torch.from_numpy(self.counts[1:] > 0),
            self.vectors,
            n_nearest=self.run.config.settings.evaluation.cold_neighbours,
            content_only=content_only,
        )

    def _by(self, new: NewRows) -> Scores:
        ranked = WithNewItems(self.model, new, self.vectors)
        field, device = self.run.dataset.uid_field, self.run.config["device"]
        return lambda users: ranked(Interaction({field: torch.from_numpy(users)}).to(device))

    def _content(self) -> Scores:
        known = unit_rows(self.known.float())
        mean = known.mean(0)  # the direction that all texts share says nothing
        rows = unit_rows(torch.cat([known, unit_rows(self.new.float())]) - mean)
        rows = torch.cat([rows.new_zeros(1, rows.shape[1]), rows])

        def scores(users: np.ndarray) -> Tensor:
            places, items = self.pairs.of(users)
            sums = torch.zeros(len(users), rows.shape[1]).index_add_(0, places, rows[items])
            return unit_rows(sums) @ rows.T

        return scores

    def _popularity(self) -> Scores:
        generator = torch.Generator().manual_seed(0)
        counts = torch.cat([torch.from_numpy(self.counts), torch.zeros(self.n_new)])
        ranked = counts.float() + torch.rand(len(counts), generator=generator)
        return lambda users: ranked.expand(len(users), -1)

    def _random(self) -> Scores:
        generator = torch.Generator().manual_seed(0)
        total = self.n_items + self.n_new
        return lambda users: torch.rand(len(users), total, generator=generator)
