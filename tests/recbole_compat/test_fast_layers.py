"""One step of GELU is the five of RecBole, and takes their place in its layers."""

from __future__ import annotations

import pytest
import torch
from recbole.model.layers import FeedForward, TransformerEncoder

from recbole_darec.recbole_compat.fast_layers import fuse_gelu


def test_every_layer_has_the_same_function_in_one_step() -> None:
    encoder = TransformerEncoder(2, 2, 8, 16, 0.0, 0.0, "gelu", 1e-12).double()
    rows, mask = torch.randn(3, 5, 8, dtype=torch.float64), torch.zeros(3, 1, 5, 5)
    weights = torch.randn(3, 5, 8, dtype=torch.float64)
    found = []
    for _ in range(2):
        encoder.zero_grad()
        out = encoder(rows, mask)[-1]
        (out * weights).sum().backward()
        found.append([out.detach(), *(p.grad.clone() for p in encoder.parameters())])
        fuse_gelu(encoder)
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)
    layers = [one for one in encoder.modules() if isinstance(one, FeedForward)]
    assert {one.intermediate_act_fn for one in layers} == {torch.nn.functional.gelu}


@pytest.mark.parametrize("name", ["relu", "swish", "tanh"])
def test_another_function_stays(name: str) -> None:
    layer = FeedForward(4, 8, 0.0, name, 1e-12)
    before = layer.intermediate_act_fn
    fuse_gelu(layer)
    assert layer.intermediate_act_fn == before
