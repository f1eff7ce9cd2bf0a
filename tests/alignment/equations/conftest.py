from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# The first call of a PyTorch operation loads libraries, which takes longer than any deadline.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    state = torch.get_rng_state()
    torch.manual_seed(20)
    yield
    torch.set_rng_state(state)
