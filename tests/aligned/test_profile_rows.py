"""Profiles made from one split must not be aligned on another."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from recbole_darec.aligned.profile_rows import check_split
from recbole_darec.errors import DataError

SPLIT = {"ratios": [3, 1, 1], "group_by": "user", "seed": 2020, "interactions": 100}


def check(made_from: object, run_split: object, **options: str) -> None:
    meta = {"user": {"file": "x.useremb.npy", "split": made_from}}
    check_split(options, SimpleNamespace(fixed_split=run_split), meta)


@pytest.mark.parametrize("ratios", [[3, 1, 1], [0.6, 0.2, 0.2]])
def test_the_same_split_is_accepted_however_its_ratios_are_written(ratios: list[float]) -> None:
    check(SPLIT, {**SPLIT, "ratios": ratios})


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"ratios": [8, 1, 1]}, {"group_by": "none"}, {"interactions": 99}],
)
def test_another_split_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"may tell test interactions.*profile_split=warn"):
        check(SPLIT, {**SPLIT, **change})


def test_a_split_that_nobody_fixed_is_another_one() -> None:
    with pytest.raises(DataError, match="another split"):
        check(SPLIT, None)


def test_files_that_do_not_say_how_they_were_made_are_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check(None, None)
    check(None, SPLIT)
    assert not caplog.records


def test_a_warning_can_be_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    check(SPLIT, None, profile_split="warn")
    assert "may tell test interactions" in caplog.text
