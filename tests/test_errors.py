"""Errors that a user can mend: one line each, the same after the way from another process."""

from __future__ import annotations

import pickle

import pytest

from recbole_darec import errors


@pytest.mark.parametrize(
    "error",
    [
        *(
            kind("two\nlines  of text")
            for kind in (
                errors.UserError,
                errors.OptionError,
                errors.DataError,
                errors.EmbeddingError,
                errors.CheckpointError,
            )
        ),
        errors.MissingExtraError("ray", "ray"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_worker_process_can_send_it(error: errors.UserError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert "\n" not in str(again)
