"""Layers of RecBole's sequential models in a form that takes less time, to the same numbers.

RecBole's transformer layers compute GELU in five steps, each with a tensor of its own, where
PyTorch has the same function in one.  Caser's convolutions of one channel are products of windows
with the kernel; as convolutions PyTorch takes ten times as long for their gradients on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.layers import FeedForward
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu

__all__ = ["use_fast_layers"]


def use_fast_layers(model: nn.Module) -> None:
    """Put the faster form of its layers into a model; parameters and their names stay."""
    for layer in model.modules():
        if isinstance(layer, FeedForward) and layer.intermediate_act_fn == layer.gelu:
            layer.intermediate_act_fn = gelu
        elif type(layer) is nn.Conv2d and _has_plain_windows(layer):
            layer.__class__ = SingleChannelConv2d


def _has_plain_windows(layer: nn.Conv2d) -> bool:
    plain = layer.stride == layer.dilation == (1, 1) and layer.padding in ((0, 0), "valid")
    return plain and layer.in_channels == 1


class SingleChannelConv2d(nn.Conv2d):
    """A convolution of one channel; on a CPU a product where the kernel spans the input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of ``[b, 1, l, d]``, ``[b, n, t, s]``."""
        height, width = input.shape[-2:]
        kernel = self.weight[:, 0]
        fits = input.dim() == 4 and input.device.type == "cpu" and input.dtype == kernel.dtype
        if not fits or height < kernel.shape[1] or _half_precision():
            return super().forward(input)
        if width == kernel.shape[2]:
            found = _whole_rows(input[:, 0], kernel).transpose(1, 2)[..., None]
        elif height == kernel.shape[1] and kernel.shape[2] == 1:
            found = torch.einsum("nl,bld->bnd", kernel[..., 0], input[:, 0])[:, :, None]
        else:
            return super().forward(input)
        if self.bias is not None:
            found = found + self.bias[:, None, None]
        return found.contiguous()  # as a convolution's is: RecBole takes views of it


def _half_precision() -> bool:
    try:
        return torch.is_autocast_enabled("cpu")
    except TypeError:  # PyTorch before 2.4
        return torch.is_autocast_cpu_enabled()


class _WholeRows(torch.autograd.Function):
    """Products of all windows of h rows, ``[b, l, d]``, with kernels, ``[n, h, d]``: ``[b, t, n]``.

    The windows that begin at one place are a part of the rows as they stand, and none is copied.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, kernel: Tensor) -> Tensor:
        n_windows = rows.shape[1] - kernel.shape[1] + 1
        flat, weights = rows.flatten(1), kernel.flatten(1)
        found = rows.new_empty(len(rows), n_windows, len(kernel))
        for start, part in enumerate(_parts(n_windows, rows, kernel)):
            torch.mm(flat[:, part], weights.t(), out=found[:, start])
        ctx.save_for_backward(rows, kernel)
        return found

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        rows, kernel = ctx.saved_tensors
        flat, weights = rows.flatten(1), kernel.flatten(1)
        of_rows, of_kernel = torch.zeros_like(flat), torch.zeros_like(weights)
        for start, part in enumerate(_parts(gradient.shape[1], rows, kernel)):
            of_rows[:, part].addmm_(gradient[:, start], weights)
            of_kernel.addmm_(gradient[:, start].t(), flat[:, part])
        return of_rows.view_as(rows), of_kernel.view_as(kernel)


def _whole_rows(rows: Tensor, kernel: Tensor) -> Tensor:
    found: Tensor = _WholeRows.apply(rows, kernel)  # type: ignore[no-untyped-call]
    return found


def _parts(n_windows: int, rows: Tensor, kernel: Tensor) -> list[slice]:
    """Return where each window stands in a flattened row."""
    width, length = rows.shape[2], kernel.shape[1] * kernel.shape[2]
    return [slice(start * width, start * width + length) for start in range(n_windows)]
