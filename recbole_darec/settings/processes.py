"""Where a process stands among those that train one model: by ``nproc``, or by torchrun."""

from __future__ import annotations

import os
from dataclasses import dataclass

from recbole_darec.errors import OptionError
from recbole_darec.settings.run_options import RunOptions

__all__ = ["THIS_MACHINE", "Place", "check_processes", "place_of_torchrun", "speaks"]

THIS_MACHINE = ("localhost", "127.0.0.1")
"""Addresses by which a machine reaches itself alone."""

# What torchrun tells each process that it starts.
_TOLD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """One process among those that train one model.

    Attributes:
        rank: its number, from 0; 0 writes the files.
        size: how many there are.
        local_rank: its number on this machine, from 0.
        local_size: how many there are on this machine.
        address, port: of the store in which they meet.
        by_torchrun: whether torchrun has started them, which has the store, too.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int
    by_torchrun: bool = False


def place_of_torchrun() -> Place | None:
    """Return the place that torchrun has given this process; None where it was not torchrun.

    Raises:
        OptionError: its variables are no numbers.
    """
    if any(name not in os.environ for name in _TOLD):
        return None
    rank, local_rank, size, local_size, address, port = (os.environ[name] for name in _TOLD)
    try:
        return Place(
            int(rank), int(size), int(local_rank), int(local_size), address, int(port), True
        )
    except ValueError:
        told = ", ".join(f"{name}={os.environ[name]}" for name in _TOLD)
        raise OptionError(f"torchrun's variables are no numbers: {told}; unset them") from None


def speaks(run: RunOptions) -> bool:
    """Tell whether this process, of all that were started by hand or by torchrun, prints results.

    Args:
        run: the options.
    """
    place = place_of_torchrun()
    return run.group_offset == 0 if place is None else place.rank == 0


def check_processes(run: RunOptions) -> Place | None:
    """Refuse numbers of processes that do not go together.

    Args:
        run: the options.

    Returns:
        what :func:`place_of_torchrun` returns.

    Raises:
        OptionError: torchrun has started others than the options say, or the machines' numbers do
            not go together.
    """
    place = place_of_torchrun()
    if place is not None:
        if run.nproc not in (1, place.local_size) or run.world_size not in (-1, 0, place.size):
            raise OptionError(
                f"nproc={run.nproc}, world_size={run.world_size}: torchrun has started "
                f"{place.local_size} processes here and {place.size} in all; leave both out"
            )
        return place
    if run.world_size < 1:
        if run.group_offset:
            raise OptionError(
                f"group_offset={run.group_offset} goes with world_size, the processes on all "
                "machines together: give it, too"
            )
        return None
    if run.world_size < run.group_offset + run.nproc:
        raise OptionError(
            f"world_size={run.world_size} is less than group_offset={run.group_offset} and "
            f"nproc={run.nproc} together: it counts the processes on all machines"
        )
    if run.world_size > run.nproc and run.port is None:
        raise OptionError(
            f"world_size={run.world_size} with nproc={run.nproc} needs the port on which the "
            "machines meet at ip: give port=29500, the same on each"
        )
    return None
