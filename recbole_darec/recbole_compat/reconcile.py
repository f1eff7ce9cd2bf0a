"""RecBole reconciled with today's SciPy, pandas and PyTorch, before anything of it is used."""

from __future__ import annotations

from recbole_darec.recbole_compat import pandas3
from recbole_darec.recbole_compat.anomaly import leave_anomaly_detection
from recbole_darec.recbole_compat.checkpoints import save_plain_configurations
from recbole_darec.recbole_compat.noise import quiet_recbole
from recbole_darec.recbole_compat.scipy_names import restore_dok_update

__all__ = ["reconcile"]


def reconcile() -> None:
    """Let RecBole 1.2.1 run on today's SciPy and pandas, without its known warnings.

    The whole process is changed, so that RecBole's own functions profit too. Called wherever this
    package makes a configuration or loads data; again changes nothing.
    """
    leave_anomaly_detection()
    save_plain_configurations()
    restore_dok_update()
    pandas3.count_cells()
    pandas3.read_empty_cells()
    pandas3.fill_missing_values()
    pandas3.hand_over_writable_arrays()
    quiet_recbole()
