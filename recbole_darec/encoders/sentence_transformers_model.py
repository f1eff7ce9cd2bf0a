"""A sentence-transformers model in memory: loaded, and asked for the rows of a batch."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from recbole_darec.encoders.base import Encoded, check_rows
from recbole_darec.encoders.long_texts import Pieces, pool, split_long
from recbole_darec.encoders.model_folder import ModelSource
from recbole_darec.errors import MissingExtraError, OptionError, first_line

__all__ = ["BATCH_SIZE", "LoadedModel", "Loading", "check_device", "require_library"]

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
        require_library()
        source = loading.source.here()
        check_device(loading.device)
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


def require_library() -> None:
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


def check_device(device: str | None) -> None:
    """Try the device before the model is loaded, so that the message blames the right one."""
    import torch

    try:
        torch.empty(1, device=device)
    except Exception as error:  # torch raises RuntimeError, AssertionError or ValueError here
        raise OptionError(
            f"the device '{device}' cannot be used ({first_line(error)}): give 'cpu', 'cuda' or "
            "'cuda:N', or leave it out"
        ) from error
