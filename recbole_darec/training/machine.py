"""What a machine has for the processes that train one model: GPUs, or the threads of its CPU."""

from __future__ import annotations

import os

import torch

from recbole_darec.errors import OptionError
from recbole_darec.recbole_compat import gpu_count
from recbole_darec.settings.processes import Place
from recbole_darec.settings.run_settings import Settings
from recbole_darec.training.processes import Machine

__all__ = ["gpu_of", "machine_of", "threads_of"]


def machine_of(settings: Settings) -> Machine | None:
    """Return the processes that a run is to start here; None where it is one alone.

    Raises:
        OptionError: there are fewer GPUs.
    """
    run = settings.run
    if run.nproc == 1 and run.world_size <= 1:
        return None
    _gpus(settings, run.nproc)
    return Machine(run.nproc, run.group_offset, run.world_size, run.ip, run.port)


def gpu_of(place: Place, settings: Settings) -> str | None:
    """Return the one GPU of this process, which sees no other from now on; None on a CPU.

    Raises:
        OptionError: there are fewer GPUs than processes.
    """
    gpus = _gpus(settings, place.local_size)
    if not gpus:
        return None
    gpu = gpus[place.local_rank]
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when CUDA is first asked
    return gpu


def threads_of(place: Place, settings: Settings) -> None:
    """Give this process its part of the machine's threads, where nobody has said how many."""
    if not settings.run.num_threads and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // place.local_size))


def _gpus(settings: Settings, nproc: int) -> list[str]:
    """Return the GPUs of the machine's processes by number; none on a CPU."""
    values = settings.values
    there = gpu_count()
    if values.get("use_gpu") is False or not there:
        return []
    # RecBole's own gpu_id is 0, which is no choice of one.
    given = values.get("gpu_id", os.environ.get("CUDA_VISIBLE_DEVICES") or None)
    named = range(there) if given is None else str(given).split(",")
    gpus = [str(gpu).strip() for gpu in named if str(gpu).strip()]
    if given is not None and not gpus:
        return []  # gpu_id="" is RecBole's word for a CPU
    if nproc > len(gpus):
        raise OptionError(
            f"nproc={nproc} is more than the GPUs there are ({', '.join(gpus)}): lower it, name "
            "more with gpu_id, or set use_gpu=False"
        )
    return gpus
