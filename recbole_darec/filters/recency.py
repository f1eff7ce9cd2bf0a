"""What a user took long ago counts less than what was taken lately."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

__all__ = ["faded"]


def faded(rows: Any, order: Any, recency: float) -> Any:
    """Return each entry times ``(1 - r)^a``, a the places from it to the user's last item.

    Args:
        rows: of users, scipy sparse ``[b, n_items]``.
        order: the place of each of these items in its user's sequence, scipy CSR ``[b, n_items]``;
            None: the rows as they are.
        recency: r, at least 0 and below 1.

    Returns:
        scipy CSR float32 of the same shape.
    """
    if not recency or order is None:
        return rows
    factors = sp.csr_matrix(order, dtype=np.float32, copy=True)
    last = factors.max(axis=1).toarray().ravel()
    ages = np.repeat(last, np.diff(factors.indptr)) - factors.data
    factors.data = np.power(np.float32(1.0 - recency), ages, dtype=np.float32)
    return sp.csr_matrix(rows.multiply(factors), dtype=np.float32)
