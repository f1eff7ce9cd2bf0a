"""The processes that train one model together: what they tell each other, by torch.distributed.

Every process draws the whole of each batch, and computes its share of the loss
(:mod:`recbole_darec.numerics.shares`); the gradients are averaged, and the same step is taken by
all.  So all of them have the same parameters and the same random numbers as one process alone has,
and a run may go on with another number of them.  One process alone tells nobody anything.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from recbole_darec.errors import EXIT_BAD_INPUT, UserError, first_line
from recbole_darec.numerics.shares import Share
from recbole_darec.settings.processes import THIS_MACHINE, Place
from recbole_darec.training.columns import columns_of_all

__all__ = ["Ranks", "current_ranks", "digest", "joined"]

# A rank may wait for the first one, which reads, writes and logs; a dead one is noticed elsewhere.
_PATIENCE = datetime.timedelta(hours=6)
_ARRIVAL = datetime.timedelta(minutes=10)

_TYPES = (torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8, torch.bool)
_DIMENSIONS = 3


class Ranks:
    """The processes that train one model, as one of them sees it; by default it is alone.

    Args:
        rank: number of this process, from 0.
        size: how many there are.
        gpu: number of the one GPU that this one sees; None on a CPU.

    Attributes:
        is_first: whether this one writes files and logs.
        share: of each training step.
    """

    def __init__(self, rank: int = 0, size: int = 1, gpu: str | None = None) -> None:
        self.rank, self.size, self.gpu = rank, size, gpu
        self.is_first = rank == 0
        self.share = Share(rank, size, columns_of_all if size > 1 else None)
        self._device = torch.device("cpu" if gpu is None else "cuda")

    # ---- a training step -------------------------------------------------------------------

    def average_gradients(self, parameters: Iterable[Tensor], *, checked: bool = False) -> None:
        """Make each gradient the mean over the processes: that of the whole step.

        Args:
            parameters: in the same order on each.
            checked: whether to make sure first that they have gradients of the same ones.

        Raises:
            UserError: they have not.
        """
        if self.size == 1:
            return
        parameters = list(parameters)
        for one in parameters:
            if one.grad is not None and one.grad.is_sparse:  # other rows on each
                one.grad = one.grad.to_dense()
        found = [p.grad for p in parameters if p.grad is not None]
        if checked:
            which = "".join("01"[p.grad is not None] for p in parameters)
            self.agree({"gradients": which}, "the model's loss reaches other parameters")
        for waiting in [dist.all_reduce(gradient, async_op=True) for gradient in found]:
            waiting.wait()
        if found:
            torch._foreach_div_(found, self.size)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes of a tensor that has the same shape on each."""
        if self.size == 1:
            return values
        total = values.to(self._device, copy=True)
        dist.all_reduce(total)
        return (total / self.size).to(values.device)

    # ---- what all of them have -------------------------------------------------------------

    def take_first(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the values that the first one has."""
        if self.size == 1:
            return
        for tensor in tensors:
            sent = tensor.detach().to(self._device, copy=True).contiguous()
            dist.broadcast(sent, 0)
            with torch.no_grad():
                tensor.copy_(sent)

    def gather(self, rows: Tensor | None) -> Tensor | None:
        """Return the rows of all processes in their order, on each of them.

        Args:
            rows: of this one, at most three dimensions, of any number; None where it has none, and
                knows no shape.
        """
        if self.size == 1:
            return rows
        told = torch.zeros(2 + _DIMENSIONS, dtype=torch.int64)
        if rows is not None:
            shape = [*rows.shape, *[0] * (_DIMENSIONS - rows.dim())]
            told = torch.tensor([1 + _TYPES.index(rows.dtype), rows.dim(), *shape])
        of_all = [line.tolist() for line in self._gathered(told)]
        known = [line for line in of_all if line[0]]
        if not known:
            return None
        dtype, dimensions = _TYPES[known[0][0] - 1], known[0][1]
        width = known[0][3 : 2 + dimensions]
        counts = [line[2] for line in of_all]
        padded = torch.zeros(max(counts), *width, dtype=dtype)
        if rows is not None:
            padded[: len(rows)] = rows.cpu()
        found = self._gathered(padded)
        return torch.cat([part[:count] for part, count in zip(found, counts)])

    def texts(self, text: str) -> list[str]:
        """Return the text of each process, on each of them."""
        if self.size == 1:
            return [text]
        sent = torch.tensor([*text.encode(), 0], dtype=torch.uint8)  # a text of nothing has a shape
        sizes = [int(n) for n in self._gathered(torch.tensor([len(sent)]))]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(sent)] = sent
        found = self._gathered(padded)
        return [bytes(t[: n - 1].tolist()).decode() for t, n in zip(found, sizes)]

    def text_of_first(self, text: str) -> str:
        """Return the first process's text."""
        return self.texts(text)[0]

    def log_processes(self) -> None:
        """Log how many there are, and which."""
        if self.size > 1:
            pids = ", ".join(self.texts(str(os.getpid())))
            by = "Gloo" if self.gpu is None else "NCCL"
            logging.getLogger().info(f"{self.size} processes train together, by {by}: {pids}")

    def wait(self) -> None:
        """Wait until all have come here: what the first has written is there."""
        self.texts("")

    def rows(self, n: int, step: int) -> slice:
        """Return which of ``n`` rows, that are read ``step`` at a time, this process reads.

        Batches are those of one process, where there are as many as processes.
        """
        n_batches = -(-n // step)
        if n_batches < self.size:
            return self.share.of(n)
        own = self.share.of(n_batches)
        return slice(own.start * step, min(own.stop * step, n))

    def _gathered(self, values: Tensor) -> list[Tensor]:
        sent = values.to(self._device).contiguous()
        found = [torch.empty_like(sent) for _ in range(self.size)]
        dist.all_gather(found, sent)
        return [one.cpu() for one in found]

    # ---- what must be the same -------------------------------------------------------------

    def agree(self, told: Mapping[str, str], otherwise: str) -> None:
        """Make sure that all processes have the same to tell.

        Args:
            told: what must be the same, by what it is called.
            otherwise: what is said of a process that has another.

        Raises:
            UserError: one has not; the others leave with the code of bad input and no word.
        """
        line = "\n".join(f"{name}: {value}" for name, value in told.items())
        found = self.texts(line)
        for rank, other in enumerate(found):
            if other != found[0]:
                pairs = zip(found[0].split("\n"), other.split("\n"))
                here, there = next(pair for pair in pairs if pair[0] != pair[1])
                if not self.is_first:
                    raise SystemExit(EXIT_BAD_INPUT)
                raise UserError(
                    f"{otherwise} on rank {rank} than on rank 0: {_cut(there)}, and {_cut(here)}"
                )

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Have a fault of one process be one of all, so that none waits for it.

        Raises:
            UserError: the fault of the first of those that have one; the others, where the fault is
                told by it, leave with the code of bad input and no word.
        """
        fault: BaseException | None = None
        try:
            yield
        except Exception as error:
            fault = error
        if self.size == 1:
            if fault is not None:
                raise fault
            return
        found = self.texts("" if fault is None else first_line(fault))
        if not any(found):
            return
        rank, text = next((rank, text) for rank, text in enumerate(found) if text)
        if fault is not None and (rank == self.rank or not isinstance(fault, UserError)):
            raise fault
        if self.is_first:
            raise UserError(f"rank {rank} of {self.size}: {text}")
        raise SystemExit(EXIT_BAD_INPUT)


_ALONE = Ranks()
_ranks = _ALONE


def current_ranks() -> Ranks:
    """Return the processes that train one model with this one."""
    return _ranks


@contextlib.contextmanager
def joined(place: Place, *, gpu: str | None = None) -> Iterator[Ranks]:
    """Be one of the processes that train one model, until the end of the block.

    Args:
        place: where this one stands.
        gpu: the one GPU that this one sees: they speak by NCCL, on a CPU by Gloo.

    Raises:
        UserError: the others are not there.
    """
    global _ranks
    if gpu is None and place.address in THIS_MACHINE and Path("/sys/class/net/lo").exists():
        # Gloo looks for an address of the machine's name, which a container may not have.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    try:
        store = _store(place)
        dist.init_process_group(
            "gloo" if gpu is None else "nccl",
            store=dist.PrefixStore("recbole_darec", store),
            rank=place.rank,
            world_size=place.size,
            timeout=_PATIENCE,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"rank {place.rank} of {place.size} does not reach the others at "
            f"{place.address}:{place.port} ({first_line(error)[:120]}); check ip, port and "
            "world_size on each machine"
        ) from error
    _ranks = Ranks(place.rank, place.size, gpu)
    if not _ranks.is_first:
        # One log, and one warning, are enough.
        warnings.simplefilter("ignore")
        logging.getLogger().addHandler(logging.NullHandler())
    try:
        yield _ranks
    finally:
        _ranks = _ALONE
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


def _store(place: Place) -> Any:
    if place.by_torchrun:
        found, _, _ = next(iter(dist.rendezvous("env://", timeout=_ARRIVAL)))
        return found
    return dist.TCPStore(place.address, place.port, is_master=False, timeout=_ARRIVAL)


def digest(*values: Any) -> str:
    """Return a short digest of plain values, tensors and lists of them."""
    found = hashlib.sha256()
    for value in values:
        if isinstance(value, (list, tuple)):
            value = digest(*value)
        if isinstance(value, Tensor):
            value = value.detach().cpu().contiguous().numpy().tobytes()
        found.update(value if isinstance(value, bytes) else repr(value).encode())
    return found.hexdigest()[:16]


def _cut(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
