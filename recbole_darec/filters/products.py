"""The products that make a filter's scores, on the device where they are wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_darec.filters.cooccurrence import csr_tensor
from recbole_darec.filters.equations import row_blocks
from recbole_darec.filters.parts import FilterParts
from recbole_darec.numerics import csr_product, no_autocast, write_sparse_product

__all__ = ["ScoreProducts"]

# Elements of the scores of users that are made at a time, on a CPU 16 MiB: the profiles of so many
# meet those of the items in one product.  On a GPU 256 MiB, of which a few are there at once.
_CPU_ELEMENTS, _GPU_ELEMENTS = 1 << 22, 1 << 26


class ScoreProducts:
    """The rows F of a fitted filter, by products of sparse matrices with dense columns.

    The few entries of users' rows come from the host; what is made of them stays on the device.

    Args:
        parts: of the filter, whose deviations are read with every product.
        device: of the products.
    """

    def __init__(self, parts: FilterParts, device: torch.device) -> None:
        self._parts, self._device = parts, device
        inputs, weights = parts.inputs, parts.weights
        self._texts = self._items = self._low_pass = None
        if weights.text and inputs.item_texts is not None:
            self._texts = csr_tensor(inputs.item_texts.matrix, device)
        if weights.match and inputs.user_rows is not None:
            assert inputs.item_rows is not None
            self._items = inputs.item_rows.to(device)
        if parts.low_pass is not None:
            self._low_pass = torch.from_numpy(parts.low_pass.after).to(device)
        self._graph: Any = None
        self._popularity = torch.from_numpy(parts.popularity).to(device).unsqueeze(1)

    @property
    def height(self) -> int:
        """Users whose scores are made at a time."""
        if self._device.type == "cpu":
            return max(1, _CPU_ELEMENTS // max(1, self._parts.n_items))
        return max(1, _GPU_ELEMENTS // max(1, self._parts.n_users + self._parts.n_items))

    def scores(self, users: np.ndarray, out: Tensor | None = None) -> Tensor:
        """Return the rows F of some users, float32 ``[b, n_items]``.

        Args:
            users: row numbers, int ``[b]``.
            out: where to write them.
        """
        if out is None:
            out = torch.empty(len(users), self._parts.n_items, device=self._device)
        for start in range(0, len(users), self.height):
            block = slice(start, start + self.height)
            self._write(users[block], out[block])
        return out

    def sums(self, users: np.ndarray) -> Tensor:
        """Return F0 + h J + g S F0, each by its deviation, which F is without a low pass."""
        found = torch.empty(len(users), self._parts.n_items, device=self._device)
        self._write_sums(users, found)
        return found

    def graph(self, rows: Any) -> Tensor:
        """Return F0, float32 ``[b, n_items]``, for rows of Y or of S Y: it is linear in them.

        Args:
            rows: scipy CSR ``[b, n_items]``.
        """
        found = torch.empty(rows.shape, device=self._device)
        self._write_graph(rows, found)
        return found

    def _write(self, users: np.ndarray, out: Tensor) -> None:
        self._write_sums(users, out)
        low_pass, deviation = self._parts.low_pass, self._parts.deviations
        if low_pass is not None:
            assert self._low_pass is not None
            factors = torch.from_numpy(low_pass.factors(users)).to(self._device)
            with no_autocast(out):
                out.addmm_(
                    factors,
                    self._low_pass,
                    beta=1.0 / deviation["sum"],
                    alpha=self._parts.weights.low_pass / deviation["low"],
                )

    def _write_sums(self, users: np.ndarray, out: Tensor) -> None:
        parts, w, deviation = self._parts, self._parts.weights, self._parts.deviations
        rows = parts.rows(users) * np.float32(1.0 / deviation["graph"])
        if w.user_text and parts.inputs.user_texts is not None:
            # F0 is linear in the rows: those of Y and of S Y pass through it together.
            rows = rows + parts.neighbours(users) * np.float32(w.user_text / deviation["users"])
        self._write_graph(rows, out)
        if self._items is not None:
            assert parts.inputs.user_rows is not None
            chosen = torch.from_numpy(np.asarray(users, dtype=np.int64))
            profiles = parts.inputs.user_rows[chosen].to(self._device)
            with no_autocast(out):
                out.addmm_(profiles, self._items.T, alpha=w.match / deviation["match"])

    def _write_graph(self, rows: Any, out: Tensor) -> None:
        if self._wrote_sparse(rows, out):
            return
        for block in row_blocks(len(out), out.shape[1], self._device):
            out[block] = self._graph_columns(rows[block]).T

    def _wrote_sparse(self, rows: Any, out: Tensor) -> bool:
        """Write F0 by products of sparse matrices where that is less work; tell whether it was."""
        cooccurrence = self._parts.cooccurrence
        if self._device.type != "cpu" or self._parts.weights.two_hops:
            return False
        if cooccurrence.kept is None:
            found = cooccurrence.of_sparse(rows)
            if found is None:
                return False
            self._scaled(found, rows).toarray(out=out.numpy())
            return True
        if not cooccurrence.writes_less(rows):
            return False
        graph, tensor = self._items_graph()
        for block in row_blocks(len(out), out.shape[1]):
            if not write_sparse_product(csr_tensor(rows[block], self._device), tensor, out[block]):
                (rows[block] @ graph).toarray(out=out[block].numpy())
        return True

    def _items_graph(self) -> tuple[Any, Tensor]:
        """Return ``(P + t T) d_i^p``, each by its deviation, as one sparse matrix, made once."""
        key = (self._parts.deviations["once"], self._parts.deviations["text"])
        if self._graph is None or self._graph[0] != key:
            graph = self._scaled(self._parts.cooccurrence.kept, None)
            self._graph = key, graph, csr_tensor(graph, self._device)
        return self._graph[1:]

    def _scaled(self, once: Any, rows: Any) -> Any:
        """Return ``rows P`` with ``t rows T`` added, each by its deviation, times ``d_i^p``.

        Args:
            once: ``rows P``, scipy CSR.
            rows: scipy CSR; None is the unit matrix.
        """
        parts, w, deviation = self._parts, self._parts.weights, self._parts.deviations
        found = once * np.float32(1.0 / deviation["once"])
        if self._texts is not None:
            assert parts.inputs.item_texts is not None
            texts = parts.inputs.item_texts.matrix
            texts = texts if rows is None else rows @ texts
            found = found + texts * np.float32(w.text / deviation["text"])
        if w.popularity:
            found.data *= parts.popularity[found.indices]
        return found

    def _graph_columns(self, rows: Any) -> Tensor:
        """Return F0 as columns ``[n_items, b]``."""
        parts, w, deviation = self._parts, self._parts.weights, self._parts.deviations
        columns = _columns(rows, self._device)
        found = parts.cooccurrence.of_columns(columns)
        twice = parts.cooccurrence.of_columns(found) if w.two_hops else None
        found /= deviation["once"]
        if twice is not None:
            found.add_(twice, alpha=w.two_hops / deviation["twice"])
        if self._texts is not None:  # T is symmetric, as P is
            found.add_(csr_product(self._texts, columns), alpha=w.text / deviation["text"])
        if w.popularity:
            found *= self._popularity
        return found


def _columns(rows: Any, device: torch.device) -> Tensor:
    """Return sparse rows as dense columns ``[n_items, b]``; scipy CSR, each entry there once."""
    numbers = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    found = torch.zeros(rows.shape[1], rows.shape[0], device=device)
    at = tuple(torch.from_numpy(n.astype(np.int64)).to(device) for n in (rows.indices, numbers))
    found[at] = torch.from_numpy(rows.data).to(device)
    return found
