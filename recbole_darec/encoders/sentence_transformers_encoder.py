"""Encode texts with a sentence-transformers model, from the Hugging Face hub or a local folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recbole_darec.encoders.base import (
    Batches,
    Encoded,
    EncodedBatches,
    Encoder,
    check_rows,
)
from recbole_darec.encoders.long_texts import Pieces, pool, split_long
from recbole_darec.encoders.model_folder import ModelSource, find_model
from recbole_darec.errors import EmbeddingError, MissingExtraError, OptionError, first_line, some

__all__ = ["BATCH_SIZE", "LoadedModel", "Loading", "SentenceTransformersEncoder", "encode_texts"]

BATCH_SIZE = 64


@dataclass(frozen=True)
class Loading:
    """What a process must know to load a model; sent to worker processes.

    Attributes:
        source: the model.
        device: ``cpu``, ``cuda``, ``cuda:1``, …; None: a GPU where there is one.
        batch_size: texts that go through the model at once.
        threads: of the CPU; None leaves it to torch, which takes all cores.
    """

    source: ModelSource
    device: str | None = None
    batch_size: int = BATCH_SIZE
    threads: int | None = None

    def load(self) -> LoadedModel:
        """Load the model in this process.

        Raises:
            OptionError: the model cannot be loaded, or the device cannot be used.
        """
        return LoadedModel(self)


class LoadedModel:
    """A model in memory.

    Attributes:
        limit: tokens of a text that the model reads at once, those not counted that it adds
            itself; None where it reads texts of any length.
    """

    def __init__(self, loading: Loading) -> None:
        _require_library()
        source = loading.source.here()
        _check_device(loading.device)
        if loading.threads is not None:
            import torch

            torch.set_num_threads(loading.threads)
        self._name = source.name
        self._batch_size = loading.batch_size
        self._model = _load(source, loading.device)
        self.limit = self._find_limit()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode one batch, its long texts in pieces.

        Raises:
            EmbeddingError: the model does not give finite numbers.
        """
        pieces = self._split(texts)
        rows = self._model.encode(
            pieces.texts,
            batch_size=self._batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return pool(check_rows(rows, len(pieces.texts), self._name), pieces)

    def _split(self, texts: Sequence[str]) -> Pieces:
        limit = self.limit
        # A token of ASCII text is a character at least: short texts need no counting.
        if limit is None or all(text.isascii() and len(text) < limit for text in texts):
            ones = [1] * len(texts)
            return Pieces(texts, ones, ones)
        return split_long(texts, limit, self._count)

    def _count(self, texts: Sequence[str]) -> list[int]:
        found = self._model.tokenizer(
            list(texts),
            add_special_tokens=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return [len(ids) for ids in found["input_ids"]]

    def _find_limit(self) -> int | None:
        most = self._model.max_seq_length
        tokenizer: Any = getattr(self._model, "tokenizer", None)
        if most is None or not hasattr(tokenizer, "num_special_tokens_to_add"):
            return None
        added = tokenizer.num_special_tokens_to_add()
        prompt = (self._model.prompts or {}).get(self._model.default_prompt_name or "")
        if prompt:
            added += self._count([prompt])[0]
        if most <= added:
            raise OptionError(
                f"the text encoder '{self._name}' reads {most} tokens, {added} of which it adds "
                "itself: mend its max_seq_length, or take another model"
            )
        return int(most) - added


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
        _require_library()
        if ray_address is not None:
            from recbole_darec.encoders.ray_workers import require_ray

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
            from recbole_darec.encoders.ray_workers import encode_on_ray

            device = self._devices[0] if self._devices else None
            yield from encode_on_ray(
                self._loading(device), batches, self._ray_address, self._ray_workers
            )
        elif self._workers > 1:
            from recbole_darec.encoders.processes import encode_in_processes

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
            _check_device(device)
        share = max(torch.get_num_threads() // self._workers, 1)
        return [
            replace(
                self._loading(devices[k % len(devices)]),
                threads=share if devices[k % len(devices)] == "cpu" else None,
            )
            for k in range(self._workers)
        ]


def encode_texts(
    texts: Sequence[str],
    model: str,
    *,
    batch_size: int = BATCH_SIZE,
    device: str | None = None,
    show_progress: bool = True,
) -> np.ndarray:
    """Encode each text into one row.

    Texts are put into batches by length, which moves a row by float32 rounding (about 1e-7 for
    normalised rows) and no more; a text that stands there twice is encoded once.  Whether rows are
    normalised is the model's own business (all-MiniLM-L6-v2 does it).  A text longer than the
    model's limit is split, and its row is the mean of the pieces' rows; a warning counts these.

    Args:
        texts: n texts, none of them empty or only white space.
        model: a hub name (``sentence-transformers/all-MiniLM-L6-v2``) or a local folder.  With
            ``HF_HUB_OFFLINE=1`` a name is looked up in the local cache only.
        batch_size: texts per batch, at least 1.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …; by default a GPU where there is one.
        show_progress: show a progress bar over the texts.

    Returns:
        (n, d) float32, row k for ``texts[k]``.

    Raises:
        EmbeddingError: there is no text, one is empty, or the model does not give finite numbers.
        MissingExtraError: sentence-transformers is not installed.
        OptionError: the model cannot be loaded, the device cannot be used, or ``batch_size`` is
            below 1.
    """
    from recbole_darec.encoders.embed import encode_distinct
    from recbole_darec.encoders.vector_cache import VectorsInMemory

    texts = _checked(texts)
    encoder = SentenceTransformersEncoder(
        model, batch_size=batch_size, devices=[device] if device else []
    )
    vectors = VectorsInMemory()
    encode_distinct(texts, encoder, vectors, show_progress=show_progress)
    return vectors.matrix(texts, np.dtype(np.float32))


def _checked(texts: Sequence[str]) -> list[str]:
    """Return the texts as a list, or say which of them cannot be encoded."""
    if isinstance(texts, str):
        raise EmbeddingError("encode_texts takes a sequence of texts, not one string: pass [text]")
    texts = list(texts)
    if not texts:
        raise EmbeddingError("there are no texts to encode")
    bad = [n for n, text in enumerate(texts, 1) if not isinstance(text, str) or not text.strip()]
    if bad:
        raise EmbeddingError(
            f"{len(bad)} of {len(texts)} texts are empty or not text (number {some(bad)}): "
            "write a profile for them, or leave them out"
        )
    return texts


def _require_library() -> None:
    """Find the package without importing it, which takes seconds."""
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError("sentence-transformers", "encoders")


def _load(source: ModelSource, device: str | None) -> Any:
    """Load the model, or raise one line that says why it cannot be had."""
    with _quiet_loading():
        from sentence_transformers import SentenceTransformer

        try:
            return SentenceTransformer(
                source.folder,
                device=device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
        except Exception as error:  # file and configuration errors share no base class
            raise OptionError(
                f"the text encoder '{source.name}' cannot be loaded ({first_line(error)}): check "
                "the name, or give the folder of a saved sentence-transformers model"
            ) from error


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Hide the bar over the weights, which ours would follow."""
    from transformers.utils import logging as named

    logging: Any = named
    shown = getattr(logging, "is_progress_bar_enabled", lambda: True)()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _check_device(device: str | None) -> None:
    """Try the device before the model is loaded, so that the message blames the right one."""
    import torch

    try:
        torch.empty(1, device=device)
    except Exception as error:  # torch raises RuntimeError, AssertionError or ValueError here
        raise OptionError(
            f"the device '{device}' cannot be used ({first_line(error)}): give 'cpu', 'cuda' or "
            "'cuda:N', or leave it out"
        ) from error
