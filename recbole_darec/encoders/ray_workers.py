"""The same model on a Ray cluster: an actor for each worker, batches for whichever is free.

Of Ray, the core alone is used (actors and the pool over them), so that the extra needs no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from logging import getLogger
from typing import Any

import numpy as np

from recbole_darec.encoders.base import Batches, Encoded, EncodedBatches
from recbole_darec.encoders.sentence_transformers_model import LoadedModel, Loading
from recbole_darec.errors import EmbeddingError, OptionError, UserError, first_line
from recbole_darec.ray_cluster import connect, import_ray

__all__ = ["encode_on_ray"]

_AHEAD = 2  # batches under way for each worker, so that none of them waits for us
_RETRIES = 3  # of a batch whose worker died
_RESTARTS = 10  # of a worker that died
_START = 60.0  # seconds until we say that we wait for workers


def encode_on_ray(loading: Loading, batches: Batches, address: str, workers: int) -> EncodedBatches:
    """Encode batches with ``workers`` actors of a cluster; yield them as they are done.

    The batches are those of a run without Ray, whole, whoever encodes them: the number of workers
    changes no row.  Each actor has one GPU where ``loading.device`` is one, else one core.  Two
    batches per worker are under way, and no more.  When a worker dies, another takes its place and
    its batches.

    Args:
        loading: the model; on a machine of the cluster it is found by name and commit, or in the
            same folder.
        batches: texts.
        address: of the cluster: ``host:port``, ``ray://host:port``, ``auto`` or ``local``.
        workers: how many actors.

    Raises:
        OptionError: there is no such cluster, it is too small, or a worker cannot load the model.
        EmbeddingError: the work failed there.
    """
    ray = import_ray()
    started = connect(ray, address)
    try:
        yield from _encode(ray, loading, batches, workers)
    except ray.exceptions.RayError as error:
        raise _explained(ray, error) from None
    finally:
        if started:
            ray.shutdown()


def _require_room(ray: Any, workers: int, on_gpu: bool) -> None:
    """Refuse more workers than the cluster has room for: Ray would wait for it without end."""
    has = ray.cluster_resources()
    cores, gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0))
    if (gpus if on_gpu else cores) < workers:
        raise OptionError(
            f"the Ray cluster has {cores} cores and {gpus} GPUs, too few for {workers} workers "
            f"with one {'GPU' if on_gpu else 'core'} each: give fewer --ray-workers"
        )


def _encode(ray: Any, loading: Loading, batches: Batches, workers: int) -> EncodedBatches:
    on_gpu = loading.device is not None and loading.device.startswith("cuda")
    # Ray shows each actor its own GPU alone, as the first, and none to an actor that has none.
    loading = replace(loading, device="cuda" if on_gpu else loading.device or "cpu")
    _require_room(ray, workers, on_gpu)
    make = ray.remote(
        num_cpus=0 if on_gpu else 1,
        num_gpus=1 if on_gpu else 0,
        max_restarts=_RESTARTS,
        max_task_retries=_RETRIES,
    )(_Worker)
    actors = [make.remote(loading) for _ in range(workers)]
    try:
        _await(ray, actors)
        # Who stands in the pool twice has its next batch at hand when one is done.
        pool = ray.util.ActorPool(actors * _AHEAD)
        for number, rows, pieces in pool.map_unordered(
            lambda actor, job: actor.encode.remote(*job), enumerate(batches)
        ):
            # Copies: what Ray hands out lies in its object store, for as long as it is looked at.
            yield number, Encoded(np.array(rows), np.array(pieces))
    finally:
        for actor in actors:
            ray.kill(actor)


def _await(ray: Any, actors: Sequence[Any]) -> None:
    """Say so where workers wait for others to leave the cluster."""
    ready, _ = ray.wait(
        [actor.ready.remote() for actor in actors], num_returns=len(actors), timeout=_START
    )
    if len(ready) < len(actors):
        getLogger().warning(
            f"{len(ready)} of {len(actors)} Ray workers have started: the others wait for room on "
            "the cluster"
        )


class _Worker:
    """An actor.  The first batch loads the model, so that its error comes back as it is."""

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        self._model: LoadedModel | None = None

    def ready(self) -> None:
        """Return when the actor has started."""

    def encode(self, number: int, batch: Sequence[str]) -> tuple[int, np.ndarray, np.ndarray]:
        """Encode the batch of this number; return it with the rows and pieces of `Encoded`."""
        if self._model is None:
            self._model = self._loading.load()
        return number, *self._model.encode(list(batch))


def _explained(ray: Any, error: Exception) -> UserError:
    """Return the error of a worker in one line; a ``UserError`` of ours as it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[-1] if lines else type(error).__name__
    if isinstance(error, ray.exceptions.RayActorError):
        if error.actor_init_failed:
            return EmbeddingError(
                f"a Ray worker does not start ({line}): install recbole-darec[encoders], and what "
                "it needs, on each machine of the cluster"
            )
        return EmbeddingError(
            "a Ray worker died again and again (out of memory, or the cluster has gone?): use a "
            "smaller --batch-size or fewer --ray-workers; what was encoded is kept"
        )
    if isinstance(error, ray.exceptions.RayTaskError):
        if isinstance(error.cause, UserError):
            return error.cause
        if not isinstance(error.cause, ray.exceptions.RayError):
            line = f"{type(error.cause).__name__}: {first_line(error.cause)}"
    return EmbeddingError(
        f"the Ray cluster gave up ({line}): see its logs; what was encoded is kept"
    )
