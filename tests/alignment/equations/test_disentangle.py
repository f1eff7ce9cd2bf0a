from __future__ import annotations

import torch
from torch import nn

from recbole_darec.alignment.equations import disentangle


def test_each_part_comes_from_its_own_projection_of_the_same_rows() -> None:
    rows = torch.randn(6, 5)
    to_shared, to_specific = nn.Linear(5, 3), nn.Linear(5, 3)
    shared, specific = disentangle(rows, to_shared, to_specific)
    torch.testing.assert_close(shared, rows @ to_shared.weight.T + to_shared.bias)
    torch.testing.assert_close(specific, rows @ to_specific.weight.T + to_specific.bias)
    shared.sum().backward()
    assert to_shared.weight.grad is not None
    assert to_specific.weight.grad is None
