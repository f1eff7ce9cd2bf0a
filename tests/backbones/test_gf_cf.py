"""GF-CF as a model: fitted without epochs, from interactions alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import prepared, scores

from recbole_darec import run_recbole_darec
from recbole_darec.errors import OptionError
from recbole_darec.filters.gf_cf import GraphFilter
from recbole_darec.testing.tiny_runs import options


def test_it_ranks_by_the_filter_and_reads_no_profiles(tiny_dataset: Any) -> None:
    for path in tiny_dataset.folder.glob("tiny.*emb.*"):
        path.unlink()
    given = {"low_pass_weight": 0.4, "low_pass_width": 9}
    run = prepared(tiny_dataset.data_path, "GFCF", align="none", **given)
    found = GraphFilter(run.model.interactions, weight=0.4, width=9).scores(np.arange(60))
    np.testing.assert_allclose(scores(run)[:, 1:], found, rtol=1e-5, atol=1e-6)


def test_it_finds_what_is_planted(
    tiny_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = options(tiny_dataset.data_path, align="none")
    given.pop("epochs")
    result = run_recbole_darec("GFCF", "tiny", None, given)
    assert result["test_result"]["recall@10"] > 0.6


def test_a_negative_weight_is_one_line(tiny_dataset: Any) -> None:
    with pytest.raises(OptionError, match=r"low_pass_weight=-1\.0 must be at least 0"):
        prepared(tiny_dataset.data_path, "GFCF", align="none", low_pass_weight=-1.0)
