"""Known warnings of RecBole's stay off the terminal; no others do."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from conftest import RunCli

from recbole_darec.recbole_compat.noise import quiet_recbole

IN_RECBOLE = "recbole.data.dataset.dataset"


def shown(message: str, category: type[Warning], module: str) -> bool:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quiet_recbole()
        warnings.warn_explicit(message, category, f"{module}.py", 1, module)
    return bool(caught)


CHAINED = "A value is being set on a copy of a DataFrame or Series through chained assignment"
INPLACE = "The inplace keyword in DataFrame.drop is deprecated and will be removed"
AMP = "`torch.cuda.amp.GradScaler(args...)` is deprecated. Please use `torch.amp.GradScaler`"
BETA = "Sparse CSR tensor support is in beta state. If you miss a functionality"


@pytest.mark.parametrize(
    ("message", "category"),
    [
        (CHAINED, UserWarning),
        (INPLACE, DeprecationWarning),
        (AMP, FutureWarning),
        ("using <built-in function len> in Series.agg cannot aggregate", FutureWarning),
        ("torch.sparse.SparseTensor(indices, values, *, device=) is deprecated.", UserWarning),
    ],
)
def test_a_known_warning_is_quiet_where_recbole_raises_it(
    message: str, category: type[Warning]
) -> None:
    assert not shown(message, category, IN_RECBOLE)
    assert shown(message, category, "recbole_darec.data.atomic")
    assert shown(message, category, "shop.features")


def test_other_warnings_of_recboles_are_shown() -> None:
    for category in (UserWarning, FutureWarning, DeprecationWarning, RuntimeWarning):
        assert shown("the loss is not what it was", category, IN_RECBOLE)
    assert shown(AMP, UserWarning, IN_RECBOLE)


def test_pytorchs_word_on_its_matrices_is_quiet_in_the_backbones() -> None:
    assert not shown(BETA, UserWarning, "recbole_darec.backbones.propagation")
    assert shown(BETA, UserWarning, "shop.features")


@pytest.mark.parametrize("strict", [False, True])
def test_a_run_prints_no_warning(strict: bool, tmp_path: Path, run_cli: RunCli) -> None:
    """Neither as users run it, nor where each deprecation would end it."""
    done = run_cli(
        ["train", "--model=NCL", "--dataset=ml-100k", "--epochs=1", "--show_progress=False"],
        tmp_path,
        {"PYTHONWARNINGS": "error::DeprecationWarning,error::FutureWarning" if strict else ""},
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr + done.stdout
    assert "recall@20" in done.stdout
