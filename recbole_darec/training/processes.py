"""Starting the processes that train one model on this machine, and seeing to how they end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from torch import distributed as dist

from recbole_darec.errors import (
    EXIT_BAD_INPUT,
    EXIT_INTERRUPTED,
    OptionError,
    UserError,
    first_line,
)
from recbole_darec.settings.processes import THIS_MACHINE, Place

__all__ = ["Machine", "train_together"]

# Seconds: for the others to tell why they ended when one has, and to end when they are told to.
_LAST_WORDS, _GRACE = 2.0, 15.0
_BEGUN, _TOLD = "begun", "told"


@dataclass(frozen=True)
class Machine:
    """The processes that one machine has in a run.

    Attributes:
        nproc: how many.
        first: rank of the first one.
        size: processes of all machines.
        address: of the machine that has rank 0.
        port: on which they meet; None: any that is free.
    """

    nproc: int
    first: int = 0
    size: int = 0
    address: str = "localhost"
    port: int | None = None

    @property
    def ranks(self) -> range:
        """The ranks of this machine."""
        return range(self.first, self.first + self.nproc)


@dataclass
class _Rank:
    number: int
    process: Any
    connection: Connection
    begun: bool = False
    told: bool = False
    outcome: Any = None  # an exception, or what the target returned


class _TracebackThere(Exception):
    """The traceback of an error that another process has raised."""

    def __init__(self, text: str) -> None:
        super().__init__(f"\n{text}")


def train_together(machine: Machine, target: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Run ``target(place, *arguments)`` in processes that train one model.

    Args:
        machine: how many, and which.
        target: a function that can be imported by its name.
        arguments: what can be pickled.

    Returns:
        the result of the first one on this machine.

    Raises:
        UserError: a port is in use, a process was killed, or what one of them has raised.
    """
    store = _meeting_place(machine)
    size = max(machine.size, machine.nproc)
    port = machine.port if store is None else store.port
    spawn = multiprocessing.get_context("spawn")
    ranks: list[_Rank] = []
    try:
        for local, number in enumerate(machine.ranks):
            place = Place(number, size, local, machine.nproc, machine.address, int(port or 0))
            here, there = spawn.Pipe()
            given = (there, place, target, tuple(arguments))
            process = spawn.Process(target=_be_rank, args=given, name=f"rank {number}")
            try:
                process.start()
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise OptionError(
                    f"nproc={machine.nproc}: a class of your own must be importable by its name "
                    f"({first_line(error)})"
                ) from error
            there.close()
            ranks.append(_Rank(number, process, here))
        return _result(ranks, size)
    except KeyboardInterrupt:
        _end(ranks, signal.SIGINT)
        raise
    finally:
        _end(ranks, signal.SIGTERM)


def _meeting_place(machine: Machine) -> Any:
    """Return the store in which the processes meet, on the machine that has rank 0."""
    if machine.first:
        return None
    try:
        return dist.TCPStore(
            "localhost" if machine.address in THIS_MACHINE else machine.address,
            machine.port or 0,
            is_master=True,
            wait_for_workers=False,
        )
    except (RuntimeError, ValueError) as error:
        raise OptionError(
            f"port={machine.port}: processes cannot meet on it at ip={machine.address}, it is in "
            f"use or not this machine's; give another, or leave it out for a free one "
            f"({first_line(error)[:80]})"
        ) from error


# ---- the one who watches -----------------------------------------------------------------------


def _result(ranks: list[_Rank], size: int) -> Any:
    """Wait for all, and return what the first has returned; raise what has ended the run."""
    deadline: float | None = None
    while True:
        running = [rank for rank in ranks if _hear(rank)]
        failed = [rank for rank in ranks if rank not in running and _has_failed(rank)]
        if not running or (deadline is not None and time.monotonic() > deadline):
            break
        if failed and deadline is None:
            deadline = time.monotonic() + _LAST_WORDS
        sources: list[Any] = [rank.process.sentinel for rank in running]
        sources += [rank.connection for rank in running if not rank.told]
        wait(sources, None if deadline is None else 0.1)
    if failed:
        raise _cause(failed, size)
    first = ranks[0]
    if not first.told:
        raise UserError(f"rank {first.number} of {size} has ended without a word")
    return first.outcome


def _hear(rank: _Rank) -> bool:
    """Take what a rank has told; tell whether its process still runs."""
    alive = bool(rank.process.is_alive())  # asked first: what it told stays to be read
    if not rank.told:
        with contextlib.suppress(EOFError, OSError):
            while not rank.told and rank.connection.poll():
                what, rank.outcome, text = rank.connection.recv()
                rank.begun, rank.told = True, what == _TOLD
                if text is not None:
                    rank.outcome.__cause__ = _TracebackThere(text)
    return alive


def _has_failed(rank: _Rank) -> bool:
    return bool(rank.process.exitcode) or isinstance(rank.outcome, BaseException)


def _cause(failed: list[_Rank], size: int) -> BaseException:
    """Return what has ended the run: an error that was told, a process that was killed, another.

    Where one process is gone, the others' errors are that they miss it.
    """
    for kind in (UserError, MemoryError):
        for rank in failed:
            if isinstance(rank.outcome, kind):
                return rank.outcome
    for rank in failed:
        if not rank.begun:
            return UserError(
                f"rank {rank.number} of {size} did not begin: a script that trains by several "
                "processes starts under if __name__ == '__main__':"
            )
        if not rank.told and rank.process.exitcode not in (EXIT_BAD_INPUT, EXIT_INTERRUPTED):
            return UserError(
                f"rank {rank.number} of {size} {_how_ended(rank.process.exitcode)}: give the same "
                "command with --resume to go on from the last snapshot, on any number of processes"
            )
    for rank in failed:
        if isinstance(rank.outcome, BaseException):
            return rank.outcome
    if any(rank.process.exitcode == EXIT_INTERRUPTED for rank in failed):
        return KeyboardInterrupt()
    return UserError(f"rank {failed[0].number} of {size} has ended without a word")


def _how_ended(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by signal {-code} ({signal.Signals(-code).name})"
        return f"was ended by signal {-code}"
    return f"ended with exit code {code}"


def _end(ranks: list[_Rank], how: signal.Signals) -> None:
    """End the processes that still run, by force where they do not in time."""
    for rank in ranks:
        if rank.process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank.process.pid, how)
    until = time.monotonic() + _GRACE
    for rank in ranks:
        rank.process.join(max(0.0, until - time.monotonic()))
        if rank.process.is_alive():
            rank.process.kill()
            rank.process.join()


# ---- one of the processes ----------------------------------------------------------------------


def _be_rank(
    connection: Connection, place: Place, target: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    # Ctrl-C is for the one who watches to answer.
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_watcher, args=(connection,), daemon=True).start()
    connection.send((_BEGUN, None, None))
    try:
        result = target(place, *arguments)
    except KeyboardInterrupt:
        os._exit(EXIT_INTERRUPTED)
    except Exception as error:
        _tell(connection, error, traceback.format_exc())
        raise SystemExit(EXIT_BAD_INPUT) from None
    _tell(connection, result if place.local_rank == 0 else None, None)


def _tell(connection: Connection, outcome: Any, text: str | None) -> None:
    try:
        connection.send((_TOLD, outcome, text))
    except Exception:  # it cannot be pickled
        connection.send((_TOLD, RuntimeError(f"{type(outcome).__name__}: {outcome}"), text))


def _end_with_watcher(connection: Connection) -> None:
    """Wait for the end of the pipe, which is that of the process that watches."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)
