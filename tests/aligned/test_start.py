"""Tables that start from profiles, wherever the two are."""

from __future__ import annotations

import torch

from recbole_darec.aligned.start import start_from_profiles
from recbole_darec.numerics.principal import whitened_rows


def test_rows_with_a_profile_are_whitened_ones_and_the_rest_as_drawn() -> None:
    torch.manual_seed(1)
    profiles, table = torch.randn(9, 5), torch.randn(10, 7)
    profiles[4] = 0.0
    before, has = table.clone(), [n for n in range(9) if n != 4]
    start_from_profiles({"item": table}, profiles, {"item": slice(0, 9)})
    found = whitened_rows(profiles[has], 7)
    rows = [n + 1 for n in has]
    torch.testing.assert_close(table[rows, : found.shape[1]], found * before[1:].std())
    torch.testing.assert_close(table[rows, found.shape[1] :], before[rows, found.shape[1] :])
    torch.testing.assert_close(table[[0, 5]], before[[0, 5]], rtol=0, atol=0)


def test_the_model_may_be_on_another_device_than_the_profiles() -> None:
    # What has no numbers tells devices apart as a GPU does.
    table = torch.empty(10, 3, device="meta")
    start_from_profiles({"item": table}, torch.randn(9, 5), {"item": slice(0, 9)})
    assert table.device.type == "meta"
