"""DaRec's equations (1) to (11), one small pure function each, on tensors alone.

======== =============================================================================
equation function
======== =============================================================================
(1)      :class:`recbole_darec.alignment.projection.TwinProjection`
(2)      :func:`orthogonality`
(3)      :func:`uniformity`
(4), (5) :func:`global_structure`
(6)      :func:`kmeans`, :func:`centers_of`
(7)      :func:`center_distances`
(8)      :func:`greedy_matching`, or :func:`hungarian_matching` in its place
(9)      :func:`center_similarity`
(10)     :func:`local_structure`; :func:`matched_structure` is (7) to (10)
(11)     :func:`weighted_terms`
======== =============================================================================

PAD (SIGIR 2025): (2), (3) and (5) are :func:`mean_discrepancy`, the ranking loss
of (1) and (6) :func:`recbole_darec.numerics.bce_loss`, the gate of (11) :func:`frequency_buckets`
and :func:`gate_weights`, (16) :func:`info_nce`; :func:`folded` makes one table of several experts'.

Beside them stand :func:`principal_rows` and :func:`relation_matching`, which no paper has, and
:func:`decorrelation`, our reading of DisCo's disentanglement.

Equations (2) and (3) are sums over the CF side and the LLM side; the functions give one side.
Nothing here imports more than PyTorch (and, for the Hungarian matching, SciPy).
"""

from __future__ import annotations

from recbole_darec.numerics.folding import folded
from recbole_darec.numerics.frequency import frequency_buckets
from recbole_darec.numerics.kmeans import centers_of, kmeans
from recbole_darec.numerics.principal import principal_rows
from recbole_darec.numerics.rows import unit_rows

from .contrast import info_nce
from .decorrelation import decorrelation
from .discrepancy import KERNELS, mean_discrepancy
from .gate import gate_weights
from .global_structure import global_structure
from .local_structure import center_similarity, local_structure, matched_structure
from .matching import center_distances, greedy_matching, hungarian_matching
from .orthogonality import orthogonality
from .relations import relation_matching
from .total import weighted_terms
from .uniformity import uniformity

__all__ = [
    "KERNELS",
    "center_distances",
    "center_similarity",
    "centers_of",
    "decorrelation",
    "folded",
    "frequency_buckets",
    "gate_weights",
    "global_structure",
    "greedy_matching",
    "hungarian_matching",
    "info_nce",
    "kmeans",
    "local_structure",
    "matched_structure",
    "mean_discrepancy",
    "orthogonality",
    "principal_rows",
    "relation_matching",
    "uniformity",
    "unit_rows",
    "weighted_terms",
]
