"""Warnings of RecBole's own making, kept from users' terminals by name."""

from __future__ import annotations

import warnings

__all__ = ["quiet_recbole"]

# Message (from its start), category and module.  They ask the authors of RecBole and PyTorch for a
# change; where a result is at stake, another module of this folder sees to it.
_KNOWN: tuple[tuple[str, type[Warning], str], ...] = (
    # Chained assignment in Dataset._load_feat and _fill_nan, pandas 3 and 2 (see pandas3).
    ("A value is being set on a copy of a DataFrame or Series", Warning, r"recbole\."),
    ("A value is trying to be set on a copy of a DataFrame or Series", FutureWarning, r"recbole\."),
    # feat.drop(..., inplace=True) and the like, pandas 3.1.
    ("The inplace keyword in .* is deprecated", DeprecationWarning, r"recbole\."),
    # Series.agg(len), pandas 2 (see pandas3).
    (r"using .* in Series\.agg cannot aggregate", FutureWarning, r"recbole\."),
    # Interaction.sort gives a tensor to numpy.argsort, which PyTorch then wraps the old way.
    ("__array_wrap__ must accept context and return_scalar", DeprecationWarning, r"numpy\."),
    # LINE makes an array of tensors.
    ("__array__ implementation doesn't accept a copy keyword", DeprecationWarning, r"recbole\."),
    # NGCF, GCMC and others make their tensors by the old constructors.
    (r"torch\.sparse\.SparseTensor\(.*\) is deprecated", UserWarning, r"recbole\."),
    ("Creating a tensor from a list of numpy.ndarrays", UserWarning, r"recbole\."),
    # The trainer's mixed precision, under its name of before.
    (
        r"`torch\.cuda\.amp\.(GradScaler|autocast)\(args\.\.\.\)` is deprecated",
        FutureWarning,
        r"recbole\.",
    ),
    # PyTorch has called its CSR matrices beta since 2021; the graph backbones multiply by them.
    ("Sparse CSR tensor support is in beta state", UserWarning, r"recbole"),
    ("Sparse invariant checks are implicitly disabled", UserWarning, r"recbole"),
)


def quiet_recbole() -> None:
    """Ignore the warnings of RecBole's that are known, and no others."""
    for message, category, module in _KNOWN:
        warnings.filterwarnings("ignore", message, category, module)
