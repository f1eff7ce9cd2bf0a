"""Embedding tables that start from the profiles (LLMInit's idea, 2025)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from recbole_darec.numerics.principal import whitened_rows

__all__ = ["start_from_profiles"]


def start_from_profiles(
    tables: Mapping[str, Tensor], profiles: Tensor, kinds: Mapping[str, slice]
) -> None:
    """Write the whitened profiles of each kind into its table, at the table's own deviation.

    What has no profile (a zero row), and columns beyond the directions of the profiles, keep their
    random numbers.

    Args:
        tables: by kind, ``[size, d]``, the padding first; changed in place.
        profiles: float ``[N, w]``.
        kinds: which rows of ``profiles`` belong to which kind.
    """
    with torch.no_grad():
        for kind, table in tables.items():
            rows = profiles[kinds[kind]]
            present = torch.nonzero((rows != 0).any(1)).flatten()
            if len(present) < 2:
                continue
            found = whitened_rows(rows[present], table.shape[1])
            # The model may be on a GPU already, where the profiles never come.
            scaled = (found.to(table.device) * table[1:].float().std()).to(table)
            table[(present + 1).to(table.device), : found.shape[1]] = scaled
