"""What tells two runs apart."""

from __future__ import annotations

from typing import Any

import pytest

from recbole_darec.settings.options import Options, option
from recbole_darec.training.identity import RunIdentity


def identity(**settings: Any) -> RunIdentity:
    return RunIdentity(
        "LightGCN", "none", "tiny", None, settings, {}, later_defaults={"warmth": 0.0}
    )


def test_an_option_that_older_files_lack_tells_no_run_apart_at_its_default() -> None:
    older = identity(reg_weight=0.1)
    assert identity(reg_weight=0.1, warmth=0.0).fingerprint == older.fingerprint
    assert identity(reg_weight=0.1, warmth=0.0).same_options(older.entries())
    assert older.same_options(identity(reg_weight=0.1, warmth=0.0).entries())


@pytest.mark.parametrize("changed", [{"warmth": 0.5}, {"reg_weight": 0.2}, {"other": 1}])
def test_another_value_does(changed: dict[str, Any]) -> None:
    older = identity(reg_weight=0.1)
    newer = identity(**{"reg_weight": 0.1, "warmth": 0.0, **changed})
    assert newer.fingerprint != older.fingerprint
    assert not newer.same_options(older.entries())


def test_settings_know_which_options_are_later() -> None:
    class Grown(Options):
        old: int = option(1, "There from the start.")
        new: list[int] = option([2], "Came later.", since="0.2")

    from recbole_darec.resolve import resolve

    settings = resolve("LightGCN", "ml-100k", None, {"align": "none"})
    grown = settings.__class__(**{**settings.__dict__, "aligner": Grown(new=[3])})
    assert settings.later_defaults.items() <= grown.later_defaults.items()
    assert grown.later_defaults["new"] == [2]
    assert "old" not in grown.later_defaults
