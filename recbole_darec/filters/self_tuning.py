"""A filter that finds its own weights, once, and keeps them in a checkpoint."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_darec.errors import OptionError
from recbole_darec.filters.equations import present_rows
from recbole_darec.filters.fitted import FittedFilter
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.options import FilterOptions
from recbole_darec.filters.tuning import FEWEST, GRID, SEARCH, tuned_weights
from recbole_darec.filters.weights import TEXT_PIECES, FilterWeights

__all__ = ["SelfTuningFilter"]

# Whose profiles a weight's piece cannot do without; users without one have their items'.
_READS = {"text": "item", "match": "item", "user_text": "user"}
_DIGESTED_ROWS = 1 << 16
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
        self.register_buffer("weights", torch.zeros(len(vars(FilterWeights()))))
        self.register_buffer("weights_known", torch.zeros((), dtype=torch.bool))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Load a checkpoint; one from before the low pass has none."""
        name = prefix + "weights"
        missing = len(self.weights) - len(state_dict.get(name, self.weights))
        if missing > 0:
            state_dict[name] = nn.functional.pad(state_dict[name], (0, missing))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def check(self, interactions: Any, items: Tensor, users: Tensor) -> None:
        """Refuse what the weights cannot be found for.

        Args:
            interactions: X, scipy CSR ``[n_users, n_items]``.
            items: item profiles, float ``[n_items, w]``; zero rows are none.
            users: user profiles, float ``[n_users, w]``.

        Raises:
            OptionError: a weight of a text is given and there are no profiles, no user has three
                training items to hold one out of, or there are too few rows to be neighbours.
        """
        given = self._options.fixed_weights()
        there = {"item": len(present_rows(items)), "user": len(present_rows(users))}
        for name, kind in _READS.items():
            if given.get(name) and not there[kind]:
                what = f"{kind} profiles" if any(there.values()) else "profiles"
                raise OptionError(
                    f"filter_{name}={given[name]:g} is a weight of {what}, and there are none: "
                    "leave it out, or bring profiles in"
                )
        sought = [
            name
            for name in GRID
            if name not in given and (name not in _READS or there[_READS[name]])
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
        self, interactions: Any, items: Tensor, users: Tensor, found_before: Any = None
    ) -> FittedFilter:
        """Return the filter of a training part, made once.

        Args:
            interactions, items, users: as :meth:`check` takes them.
            found_before: weights that were found on the same data by the same search, by
                ``get(key)`` and ``keep(key, numbers)``; None keeps none.
        """
        if self._fitted is None:
            # A piece whose weight is known to be 0 is not made.
            known = self.found() or self._options.fixed_weights()
            inputs = FilterInputs.of(
                interactions,
                items,
                users,
                pieces=[name for name in TEXT_PIECES if known.get(name) != 0.0],
                width=self._options.filter_width,
                n_neighbours=self._options.filter_neighbours,
                search=self._options.filter_search,
                device=self.weights.device,
            )
            if not bool(self.weights_known):
                key = self._key(interactions, items, users) if found_before is not None else ""
                numbers = found_before.get(key) if found_before is not None else None
                if numbers is None or len(numbers) != len(self.weights):
                    self._keep(tuned_weights(inputs, self._options.fixed_weights()))
                    if found_before is not None:
                        found_before.keep(key, self.weights.tolist())
                else:
                    self.weights.copy_(self.weights.new_tensor(numbers))
                self.weights_known.fill_(True)
            # Through float32 in either case, so that a checkpoint ranks to the bit.
            self._fitted = FittedFilter(inputs, FilterWeights(*self.weights.tolist()))
        return self._fitted

    def _key(self, interactions: Any, items: Tensor, users: Tensor) -> str:
        """Return a digest of all that the weights depend on."""
        options = self._options
        search = options.filter_width, options.filter_neighbours, options.filter_search
        asked = SEARCH, sorted(GRID.items()), sorted(options.fixed_weights().items()), search
        whole = hashlib.sha256(repr((asked, interactions.shape)).encode())
        for array in (interactions.indptr, interactions.indices):
            whole.update(np.ascontiguousarray(array, dtype=np.int64))
        for rows in (items, users):
            whole.update(repr((rows.dtype, tuple(rows.shape))).encode())
            for block in torch.split(rows, _DIGESTED_ROWS):
                whole.update(block.cpu().contiguous().numpy())
        return whole.hexdigest()[:32]

    def refit(self, **changed: float) -> FittedFilter:
        """Give weights of the filter other values, once it was fitted; return the one of before."""
        before = self._fitted
        assert before is not None
        self._keep(replace(before.weights, **changed))
        self._fitted = FittedFilter(before.inputs, FilterWeights(*self.weights.tolist()))
        return before

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
