"""Encode texts with a sentence-transformers model, here, in processes, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recbole_darec.encoders.base import Batches, EncodedBatches, Encoder
from recbole_darec.encoders.model_folder import find_model
from recbole_darec.encoders.processes import encode_in_processes
from recbole_darec.encoders.ray_workers import encode_on_ray
from recbole_darec.encoders.sentence_transformers_model import (
    BATCH_SIZE,
    LoadedModel,
    Loading,
    check_device,
    require_library,
)
from recbole_darec.errors import OptionError
from recbole_darec.ray_cluster import require_ray

__all__ = ["SentenceTransformersEncoder"]


class SentenceTransformersEncoder(Encoder):
    """A sentence-transformers model in this process, in several, or on a Ray cluster.

    The model is loaded when the first batch is encoded, and kept; a run that finds all its texts in
    the store loads nothing.

    Args:
        model: see :func:`.model_folder.find_model`.
        batch_size: texts a batch, at least 1.
        devices: none for a GPU where there is one; several for a process each.
        workers: processes on one machine; by default one for each device.
        ray_address: an existing Ray cluster, which then does the work.
        ray_workers: how many workers there.

    Raises:
        OptionError: there is no such model, it may not be loaded, or a number is below 1.
        MissingExtraError: sentence-transformers, or Ray with ``ray_address``, is not installed.
    """

    packages = ("sentence-transformers", "transformers", "torch")

    def __init__(
        self,
        model: str,
        *,
        batch_size: int = BATCH_SIZE,
        devices: Sequence[str] = (),
        workers: int | None = None,
        ray_address: str | None = None,
        ray_workers: int = 1,
    ) -> None:
        for option, number in (
            ("batch_size", batch_size),
            ("workers", workers),
            ("ray_workers", ray_workers),
        ):
            if number is not None and number < 1:
                raise OptionError(f"{option} is {number}: it must be at least 1")
        require_library()
        if ray_address is not None:
            require_ray()
        source = find_model(model)
        self.name = f"st:{source.name}"
        self.identity = source.identity
        self.batch_size = batch_size
        self._source = source
        self._devices = tuple(devices)
        self._workers = workers or max(len(self._devices), 1)
        self._ray_address = ray_address
        self._ray_workers = ray_workers
        self._model: LoadedModel | None = None

    @property
    def revision(self) -> str | None:
        """The hub's commit, or the digest of the folder's files."""
        return self._source.revision

    def encode_batches(self, batches: Batches) -> EncodedBatches:
        """See :class:`Encoder`."""
        if self._ray_address is not None:
            device = self._devices[0] if self._devices else None
            yield from encode_on_ray(
                self._loading(device), batches, self._ray_address, self._ray_workers
            )
        elif self._workers > 1:
            yield from encode_in_processes(self._loadings(), batches)
        else:
            if self._model is None:
                self._model = self._loading(self._devices[0] if self._devices else None).load()
            for number, batch in enumerate(batches):
                yield number, self._model.encode(batch)

    def _loading(self, device: str | None) -> Loading:
        return Loading(self._source, device, self.batch_size)

    def _loadings(self) -> list[Loading]:
        """What each worker process loads: devices in turn, the cores shared among those of the CPU.

        Raises:
            OptionError: a device cannot be used; here, before a process is started.
        """
        import torch

        devices = self._devices or ("cuda" if torch.cuda.is_available() else "cpu",)
        for device in devices:
            check_device(device)
        share = max(torch.get_num_threads() // self._workers, 1)
        return [
            replace(
                self._loading(devices[k % len(devices)]),
                threads=share if devices[k % len(devices)] == "cpu" else None,
            )
            for k in range(self._workers)
        ]
