"""A part of a step on a stream of its own; on a CPU, and where nothing is recorded, as ever.

That a recorded step with such a part is the step, to the bit, test_gpu.py tells of DaRec.
"""

from __future__ import annotations

import pytest
import torch

from recbole_darec.numerics import Beside


def test_where_nothing_is_recorded_the_part_is_of_the_step() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    part = Beside(rows.device)
    part.takes(rows, None)
    with part.inside():
        found = rows.square().sum()
    part.gives(found, None)
    found.backward()
    torch.testing.assert_close(rows.grad, 2 * rows.detach())


def test_what_goes_wrong_inside_is_told() -> None:
    with pytest.raises(ValueError, match="rows"), Beside(torch.device("cpu")).inside():
        raise ValueError("rows")
