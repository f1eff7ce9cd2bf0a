"""Encoding on an existing Ray cluster: Ray Data carries the batches to the workers and back."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from logging import WARNING, getLogger
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_darec.encoders.base import Batches, Encoded, EncodedBatches
from recbole_darec.encoders.ray_compat import mend_ray_data
from recbole_darec.errors import (
    EmbeddingError,
    MissingExtraError,
    OptionError,
    UserError,
    first_line,
)

if TYPE_CHECKING:
    from recbole_darec.encoders.sentence_transformers_encoder import LoadedModel, Loading

__all__ = ["encode_on_ray", "require_ray"]

_MOST_BLOCKS = 1000  # a block is what comes back, and is kept, at once
_PATIENCE = 10.0  # seconds until an address counts as nobody's


# Here, so that a worker that imports this module has it done before it touches its first block.
if all(importlib.util.find_spec(package) for package in ("ray", "pyarrow")):
    mend_ray_data()


def require_ray() -> None:
    """Raise :class:`MissingExtraError` unless Ray Data can be imported."""
    for package in ("ray", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "ray")


def encode_on_ray(loading: Loading, batches: Batches, address: str, workers: int) -> EncodedBatches:
    """Encode batches with ``workers`` actors of a cluster; yield them as they come back.

    The batches are those of a run without Ray, whole, whoever encodes them: the number of workers
    changes no row.  Each actor has one GPU where ``loading.device`` is one, else one core.

    Args:
        loading: the model; on a machine of the cluster it is found by name and commit, or in the
            same folder.
        batches: texts.
        address: of the cluster: ``host:port``, ``ray://host:port``, ``auto`` or ``local``.
        workers: how many actors.

    Raises:
        OptionError: there is no such cluster, or a worker cannot load the model.
        EmbeddingError: the work failed there.
    """
    require_ray()
    import ray

    started = _connect(address)
    try:
        with _quiet():
            yield from _encode(loading, batches, workers)
    except ray.exceptions.RayError as error:
        raise _explained(error) from None
    finally:
        if started:
            ray.shutdown()


def _connect(address: str) -> bool:
    """Join the cluster unless this process has; return whether it was done here."""
    import ray

    if ray.is_initialized():
        return False
    _knock(address)
    try:
        ray.init(address=address, logging_level="error", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise _no_cluster(address, error) from None
    return True


def _knock(address: str) -> None:
    """Try the address, where it is one: Ray itself would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), _PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, error) from None


def _no_cluster(address: str, error: Exception) -> OptionError:
    return OptionError(
        f"no Ray cluster at '{address}' ({first_line(error)}): start one with 'ray start "
        "--head', or leave --ray-address out to work on this machine"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's plan of each run from standing between our lines."""
    levels = {handler: handler.level for handler in getLogger("ray").handlers}
    for handler in levels:
        handler.setLevel(WARNING)
    try:
        yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)


def _require_room(workers: int, on_gpu: bool) -> None:
    """Refuse what Ray Data would refuse, or wait for without end."""
    import ray

    has = ray.cluster_resources()
    cores, gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0))
    # Ray Data keeps one core for itself, and gives none to a worker with a GPU.
    if (gpus < workers or cores < 1) if on_gpu else cores < workers + 1:
        raise OptionError(
            f"the Ray cluster has {cores} cores and {gpus} GPUs, too few for {workers} workers "
            "with one each, and a core for Ray Data itself: give fewer --ray-workers"
        )


def _encode(loading: Loading, batches: Batches, workers: int) -> EncodedBatches:
    import ray.data

    on_gpu = loading.device is not None and loading.device.startswith("cuda")
    if on_gpu:  # Ray shows each actor its own GPU alone, as the first
        loading = replace(loading, device="cuda")
    _require_room(workers, on_gpu)
    context = ray.data.DataContext.get_current()
    shown, context.enable_progress_bars = getattr(context, "enable_progress_bars", True), False
    try:
        table = ray.data.from_items(
            [{"number": n, "texts": list(batch)} for n, batch in enumerate(batches)],
            parallelism=min(len(batches), _MOST_BLOCKS),
        )
        done = table.map_batches(
            _Worker,
            fn_constructor_args=(loading,),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_gpus=1 if on_gpu else None,
        )
        for row in done.iter_rows():
            pieces = np.frombuffer(row["pieces"], dtype="<i8")
            rows = np.frombuffer(row["rows"], dtype="<f4").reshape(len(pieces), -1)
            yield int(row["number"]), Encoded(rows, pieces)
    finally:
        context.enable_progress_bars = shown


class _Worker:
    """An actor: loads the model once."""

    def __init__(self, loading: Loading) -> None:
        self._model: LoadedModel = loading.load()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Encode a block of one batch; as bytes, since blocks differ in shape."""
        (texts,) = batch["texts"]
        rows, pieces = self._model.encode([str(text) for text in texts])
        return {
            "number": batch["number"],
            "rows": [rows.astype("<f4").tobytes()],
            "pieces": [pieces.astype("<i8").tobytes()],
        }


def _explained(error: Exception) -> UserError:
    """Return the error of a worker in one line; a ``UserError`` of ours as it was."""
    cause: Any = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return EmbeddingError(
        f"the Ray cluster gave up ({lines[-1].strip() if lines else type(error).__name__}): see "
        "its logs; what was encoded is kept"
    )
