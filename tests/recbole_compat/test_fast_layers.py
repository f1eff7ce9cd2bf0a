"""The faster forms of RecBole's layers are the same functions, gradients included."""

from __future__ import annotations

import pytest
import torch
from recbole.model.layers import FeedForward, TransformerEncoder
from torch import Tensor, nn

from recbole_darec.recbole_compat.fast_layers import SingleChannelConv2d, use_fast_layers


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
        use_fast_layers(encoder)
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)
    layers = [one for one in encoder.modules() if isinstance(one, FeedForward)]
    assert {one.intermediate_act_fn for one in layers} == {torch.nn.functional.gelu}


@pytest.mark.parametrize("name", ["relu", "swish", "tanh"])
def test_another_function_stays(name: str) -> None:
    layer = FeedForward(4, 8, 0.0, name, 1e-12)
    before = layer.intermediate_act_fn
    use_fast_layers(layer)
    assert layer.intermediate_act_fn == before


def convolved(layer: nn.Conv2d, rows: Tensor) -> list[Tensor]:
    """The layer's output and its gradients, to its input and to each of its parameters."""
    rows = rows.clone().requires_grad_()
    out = layer(rows)
    assert out.is_contiguous()
    weights = torch.arange(out.numel(), dtype=out.dtype).view_as(out).cos()
    wanted = (rows, *layer.parameters())
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), wanted)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [(1, 4), (3, 4), (6, 4), (6, 1), (6, 2), (2, 3), (1, 1)])
def test_a_convolution_of_one_channel_is_that_of_pytorch(
    kernel: tuple[int, int], bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 3, kernel, bias=bias).double()
    rows = torch.randn(5, 1, 6, 4, dtype=torch.float64)
    before, names = convolved(layer, rows), list(layer.state_dict())
    use_fast_layers(layer)
    assert isinstance(layer, SingleChannelConv2d)
    assert list(layer.state_dict()) == names
    torch.testing.assert_close(convolved(layer, rows), before, rtol=1e-12, atol=1e-12)
    # Rows that stand apart in memory, and fewer rows than the kernel has.
    torch.testing.assert_close(
        convolved(layer, rows.transpose(2, 3).contiguous().transpose(2, 3)), before
    )
    if kernel[0] > 1:
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            layer(rows[:, :, :1])


@pytest.mark.parametrize(
    "given", [{"stride": 2}, {"padding": 1}, {"dilation": 2}, {"in_channels": 2}]
)
def test_another_convolution_stays(given: dict[str, int]) -> None:
    layer = nn.Conv2d(**{"in_channels": 1, "out_channels": 2, "kernel_size": 2, **given})
    use_fast_layers(layer)
    assert type(layer) is nn.Conv2d


def test_a_convolution_asks_an_older_pytorch_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(1, 3, (2, 4))
    rows = torch.randn(5, 1, 6, 4)
    before = layer(rows)
    use_fast_layers(layer)
    asked = []
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda: False)
    monkeypatch.setattr(torch, "is_autocast_cpu_enabled", lambda: asked.append(1))
    torch.testing.assert_close(layer(rows), before)
    assert asked == [1]


def test_a_convolution_in_half_precision_is_pytorchs() -> None:
    layer = nn.Conv2d(1, 3, (2, 4))
    rows = torch.randn(5, 1, 6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        before = layer(rows)
        use_fast_layers(layer)
        assert layer(rows).dtype == before.dtype == torch.bfloat16
        assert torch.equal(layer(rows), before)
