"""A method of SciPy's that RecBole calls and newer versions lack."""

from __future__ import annotations

from typing import Any

from scipy.sparse import dok_matrix

__all__ = ["restore_dok_update"]


def restore_dok_update() -> None:
    """Give ``dok_matrix`` the method ``_update`` where it has none.

    Works around: SciPy has dropped it, and RecBole fills the adjacency matrix of LightGCN, NGCF,
    NCL, GCMC, SpectralCF, KGIN and MCCLK with it.
    """
    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = _update


def _update(self: Any, data: dict[tuple[int, int], float]) -> None:
    # As SciPy did it until 1.12: entries are stored as they come, unchecked.
    self._dict.update(data)
