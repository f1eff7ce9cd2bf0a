"""Tensor functions that backbones and aligners share; nothing of ours is known here."""

from __future__ import annotations

from recbole_darec.numerics.contrast import info_nce, log_sum_exp
from recbole_darec.numerics.folding import folded
from recbole_darec.numerics.frequency import frequency_buckets
from recbole_darec.numerics.kmeans import centers_of, kmeans
from recbole_darec.numerics.neighbours import NeighbourMean, nearest_among, nearest_rows
from recbole_darec.numerics.places import last_places
from recbole_darec.numerics.principal import PrincipalDirections, principal_rows
from recbole_darec.numerics.ranking import (
    RANK_LOSSES,
    bce_loss,
    bpr_loss,
    softmax_loss,
    softmax_loss_of_rows,
)
from recbole_darec.numerics.rows import (
    at_least_float32,
    distinct_with_weights,
    mean_of_units,
    no_autocast,
    unique_with_counts,
    unit_rows,
)
from recbole_darec.numerics.shares import by_columns, by_rows, current_share, own_rows, sharing
from recbole_darec.numerics.sparse import csr_product, write_sparse_product
from recbole_darec.numerics.streams import Beside, step_begins

__all__ = [
    "RANK_LOSSES",
    "Beside",
    "NeighbourMean",
    "PrincipalDirections",
    "at_least_float32",
    "bce_loss",
    "bpr_loss",
    "by_columns",
    "by_rows",
    "centers_of",
    "csr_product",
    "current_share",
    "distinct_with_weights",
    "folded",
    "frequency_buckets",
    "info_nce",
    "kmeans",
    "last_places",
    "log_sum_exp",
    "mean_of_units",
    "nearest_among",
    "nearest_rows",
    "no_autocast",
    "own_rows",
    "principal_rows",
    "sharing",
    "softmax_loss",
    "softmax_loss_of_rows",
    "step_begins",
    "unique_with_counts",
    "unit_rows",
    "write_sparse_product",
]
