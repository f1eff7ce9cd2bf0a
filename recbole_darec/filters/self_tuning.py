"""A filter that finds its own weights, once, and keeps them in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_darec.errors import OptionError
from recbole_darec.filters.equations import present_rows
from recbole_darec.filters.fitted import FittedFilter
from recbole_darec.filters.held_out import FEWEST
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.options import OF_USER_PROFILES, FilterOptions
from recbole_darec.filters.searched import SearchedWeights
from recbole_darec.filters.tuning import GRID
from recbole_darec.filters.weights import TEXT_PIECES, FilterWeights

__all__ = ["SelfTuningFilter"]

# Whose profiles a weight's piece cannot do without; users without one have their items'.
_READS = {"text": "item", "match": "item", "user_text": "user"}
# Found when the weights of user profiles are known.
_FOUND_LAST = ("low_pass", "low_pass_width")
_GRAPHS = {"item": "text", "user": "user_text"}


class SelfTuningFilter(nn.Module):
    """The weights as buffers, so that a checkpoint ranks as the run did without finding them again.

    Args:
        options: of the filter; a weight that is given is not searched.
    """

    weights: Tensor
    weights_known: Tensor

    def __init__(self, options: FilterOptions) -> None:
        super().__init__()
        self._options = options
        self._fitted: FittedFilter | None = None
        self._search: SearchedWeights | None = None
        self.register_buffer("weights", torch.zeros(len(vars(FilterWeights()))))
        self.register_buffer("weights_known", torch.zeros((), dtype=torch.bool))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Load a checkpoint; one from before the low pass has none."""
        name = prefix + "weights"
        missing = len(self.weights) - len(state_dict.get(name, self.weights))
        if missing > 0:
            state_dict[name] = nn.functional.pad(state_dict[name], (0, missing))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def check(self, interactions: Any, items: Tensor, users: Tensor, order: Any = None) -> None:
        """Refuse what the weights cannot be found for.

        Args:
            interactions: X, scipy CSR ``[n_users, n_items]``.
            items: item profiles, float ``[n_items, w]``; zero rows are none.
            users: user profiles, float ``[n_users, w]``.
            order: as :meth:`fitted` takes it.

        Raises:
            OptionError: a recency is given without an order, a weight of a text is given and there
                are no profiles, no user has three training items to hold one out of, or there are
                too few rows to be neighbours.
        """
        given = self._options.fixed_weights()
        if given.get("recency") and order is None:
            raise OptionError(
                f"filter_recency={given['recency']:g} goes by the order of a sequential model's "
                "items, and this model has none: leave it out"
            )
        there = {"item": len(present_rows(items)), "user": len(present_rows(users))}
        for name, kind in _READS.items():
            if given.get(name) and not there[kind]:
                if kind == "user" and order is not None:
                    raise OptionError(
                        f"filter_{name}={given[name]:g} is a weight of user profiles, and a "
                        "sequential model knows users by their items alone: leave it out"
                    )
                what = f"{kind} profiles" if any(there.values()) else "profiles"
                raise OptionError(
                    f"filter_{name}={given[name]:g} is a weight of {what}, and there are none: "
                    "leave it out, or bring profiles in"
                )
        sought = [
            name
            for name in GRID
            if name not in given
            and (name not in _READS or there[_READS[name]])
            and (name != "recency" or order is not None)
        ]
        if given.get("low_pass") == 0.0 and "low_pass_width" in sought:
            sought.remove("low_pass_width")
        if sought and not (np.diff(interactions.indptr) >= FEWEST).any():
            raise OptionError(
                f"the filter's weights are found on users with {FEWEST} training items or more, "
                "and there are none: give " + ", ".join(f"filter_{name}" for name in sought)
            )
        asked = self._options.filter_neighbours
        for kind, count in there.items():
            # A graph of profiles whose weight is 0 is not made.
            if count and asked > count and given.get(_GRAPHS[kind]) != 0.0:
                raise OptionError(
                    f"filter_neighbours={asked}: only {count:,} {kind}s have a profile; give fewer"
                )

    def fitted(
        self,
        interactions: Any,
        items: Tensor,
        users: Tensor,
        found_before: Any = None,
        order: Any = None,
    ) -> FittedFilter:
        """Return the filter of a training part, made once.

        Args:
            interactions, items, users: as :meth:`check` takes them.
            found_before: weights that were found on the same data by the same search, by
                ``get(key)`` and ``keep(key, numbers)``; None keeps none.
            order: where in the user's sequence an item was last taken, scipy CSR of the entries of
                X, for weights that find what comes next; None where the order does not count.
        """
        if self._fitted is None:
            # A piece whose weight is known to be 0 is not made.
            known = self.found() or self._options.fixed_weights()
            inputs = FilterInputs.of(
                interactions,
                items,
                users,
                order=order,
                pieces=[name for name in TEXT_PIECES if known.get(name) != 0.0],
                width=self._options.filter_width,
                n_neighbours=self._options.filter_neighbours,
                search=self._options.filter_search,
                device=self.weights.device,
            )
            asked = self._options, interactions, items, users, found_before, order
            self._search = SearchedWeights(*asked)
            if not bool(self.weights_known):
                self._keep(self._search(inputs, self._options.fixed_weights()))
                self.weights_known.fill_(True)
            # Through float32 in either case, so that a checkpoint ranks to the bit.
            self._fitted = FittedFilter(inputs, FilterWeights(*self.weights.tolist()))
        return self._fitted

    def refit(self, **changed: float) -> FittedFilter:
        """Give weights of the filter other values, once it was fitted; return the one of before."""
        before = self._fitted
        assert before is not None
        self._keep(replace(before.weights, **changed))
        self._fitted = FittedFilter(before.inputs, FilterWeights(*self.weights.tolist()))
        return before

    def leave_out(
        self, doubted: Sequence[Sequence[str]], judge: Callable[[], tuple[float, ...]]
    ) -> tuple[float, ...]:
        """Leave out pieces without which validation is no worse, once the filter was fitted.

        Where what reads user profiles is left out, the low pass is found anew without it.

        Args:
            doubted: weights that go together, one group after the other; given ones stay.
            judge: the score of the filter as it is, greater is better, and what belongs to it.

        Returns:
            what ``judge`` said of the filter that stays.
        """
        best, given = judge(), self._options.fixed_weights()
        for names in doubted:
            found = self.found()
            there = [name for name in names if name not in given and found[name]]
            if not there:
                continue
            whole = self.refit(**self._without(there))
            without = judge()
            if without[0] >= best[0]:
                best = without
            else:
                self.put_back(whole)
        return best

    def _without(self, names: Sequence[str]) -> dict[str, float]:
        """Return all weights without some, and what was found in their presence found anew."""
        assert self._fitted is not None
        assert self._search is not None
        weights = {**self.found(), **dict.fromkeys(names, 0.0)}
        if not set(names) & set(OF_USER_PROFILES):
            return weights
        given = self._options.fixed_weights()
        fixed = {n: w for n, w in weights.items() if n in given or n not in _FOUND_LAST}
        return dict(vars(self._search(self._fitted.inputs, fixed)))

    def put_back(self, fitted: FittedFilter) -> None:
        """Take a filter that :meth:`refit` has returned."""
        self._keep(fitted.weights)
        self._fitted = fitted

    def _keep(self, weights: FilterWeights) -> None:
        self.weights.copy_(self.weights.new_tensor(list(vars(weights).values())))

    def found(self) -> dict[str, float]:
        """Return the weights by name; none before they are known."""
        if not bool(self.weights_known):
            return {}
        return dict(zip(vars(FilterWeights()), map(float, self.weights.tolist())))

    def describe(self) -> str:
        """Return the weights in one line."""
        return ", ".join(f"{name}={value:g}" for name, value in self.found().items())
