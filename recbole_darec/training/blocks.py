"""A step of an optimiser over very large tables: a block of rows at a time, to the same numbers.

An optimiser of torch works on whole parameters.  Over a table of half a million rows its step makes
two more of that size, beside a gradient that is one again, of which a batch fills a few rows.  Here
the table is handed to it as blocks of rows that share its memory, and each block gets its part of
the gradient when its turn comes.  Optimisers treat each number by itself, so nothing else changes.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["give_back_memory", "in_blocks", "is_large"]

# A table from this size on is stepped in blocks of this many numbers.
_LARGE_BYTES = 128 << 20
_BLOCK_NUMBERS = 1 << 20


def is_large(table: Tensor) -> bool:
    """Tell whether a table of embeddings is to be stepped in blocks, which is done on a CPU."""
    return table.device.type == "cpu" and table.nbytes >= _LARGE_BYTES


def give_back_memory() -> None:
    """Give what was freed back to the system, where the C library (glibc) does not by itself.

    It keeps freed blocks for later ones, and what is allocated between them is of another size.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def in_blocks(
    build: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
    groups: Sequence[Mapping[str, Any]],
    tables: Sequence[Tensor],
) -> Any:
    """Return an optimiser that steps some tables in blocks, and everything else as it is.

    Args:
        build: makes an optimiser of groups of parameters.
        groups: of parameters, the tables among them.
        tables: float ``[n, d]`` each; their gradients may be sparse.
    """
    if not tables:
        return build([dict(group) for group in groups])
    blocks = {id(table): (table, list(_blocks(table))) for table in tables}
    changed = [{**group, "params": []} for group in groups]
    for group, before in zip(changed, groups):
        for parameter in before["params"]:
            group["params"] += blocks[id(parameter)][1] if id(parameter) in blocks else [parameter]
    optimizer = build(changed)
    base = type(optimizer)
    made: Any = optimizer
    made.__class__ = type(f"Blocked{base.__name__}", (_Blocked, base), {})
    made.tables = list(blocks.values())
    return made


def _blocks(table: Tensor) -> Iterator[Tensor]:
    n_rows = max(1, _BLOCK_NUMBERS // table.shape[1])
    for rows in torch.split(table.detach(), n_rows):
        yield rows.requires_grad_()


class _Blocked(torch.optim.Optimizer):
    """Mixin over an optimiser of torch.

    Attributes:
        tables: each with its blocks.
    """

    tables: list[tuple[Tensor, list[Tensor]]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, those of the tables too."""
        super().zero_grad(set_to_none)
        for table, _ in self.tables:
            table.grad = None

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step what is no table, then the tables, one block after the other.

        Raises:
            ValueError: there is a closure, which would be computed for each block.
        """
        if closure is not None:
            raise ValueError("an optimiser in blocks takes no closure")
        super().step()
        others = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        kept = [p.grad for p in others]
        for parameter in others:
            parameter.grad = None
        for table, blocks in self.tables:
            if table.grad is not None:
                for block, gradient in zip(blocks, _parts(table.grad, blocks)):
                    begins = block not in self.state
                    block.grad = gradient
                    super().step()
                    block.grad = None
                    if begins:  # what it keeps from now on lies between what the step needed
                        give_back_memory()
        for parameter, gradient in zip(others, kept):
            parameter.grad = gradient


def _parts(gradient: Tensor, blocks: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield each block's part of a table's gradient, dense."""
    if not gradient.is_sparse:
        yield from torch.split(gradient, [len(block) for block in blocks])
        return
    gradient = gradient.coalesce()
    numbers, values = gradient.indices()[0], gradient.values()
    first = 0
    for block in blocks:
        start, stop = torch.searchsorted(numbers, torch.tensor([first, first + len(block)]))
        rows = numbers[start:stop] - first
        first += len(block)
        yield torch.zeros_like(block).index_copy_(0, rows, values[start:stop])
