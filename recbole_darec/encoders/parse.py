"""From what a user writes after ``--encoder=`` to an encoder."""

from __future__ import annotations

from recbole_darec.encoders.base import Encoder
from recbole_darec.encoders.options import EncoderOptions
from recbole_darec.errors import OptionError, nearest

__all__ = ["EncoderOptions", "parse_encoder"]

_KINDS = ("openai", "st")
_HOW = (
    "write openai:MODEL, openai:MODEL@DIMENSIONS or st:NAME_OR_FOLDER, "
    "such as openai:text-embedding-3-large@1024 or st:all-MiniLM-L6-v2"
)


def parse_encoder(text: str, options: EncoderOptions | None = None) -> Encoder:
    """Return the encoder that ``text`` names; nothing is loaded and no server asked.

    Args:
        text: ``openai:MODEL``, ``openai:MODEL@DIMENSIONS`` or ``st:NAME_OR_FOLDER``.
        options: how it shall work.

    Raises:
        OptionError: ``text`` names no encoder, or an option does not belong to this one.
        MissingExtraError: its package is not installed.
    """
    options = options or EncoderOptions()
    kind, colon, name = text.partition(":")
    if not colon or kind not in _KINDS:
        hint = nearest(kind, _KINDS) if colon else ""
        raise OptionError(f"'{text}' names no encoder{hint}: {_HOW}")
    if not name.strip():
        raise OptionError(f"--encoder={text} names no model: {_HOW}")
    return _openai(name, options) if kind == "openai" else _sentence_transformers(name, options)


def _openai(name: str, options: EncoderOptions) -> Encoder:
    from recbole_darec.encoders.openai_encoder import BATCH_SIZE, OpenAIEncoder

    _refuse(
        options,
        "an openai: encoder, which works on the server",
        ("devices", "workers", "ray_address", "ray_workers"),
    )
    model, at, width = name.rpartition("@")
    if not at or not (model or width.isdigit()):  # some servers' names begin with @
        model, dimensions = name, None
    elif model and width.isascii() and width.isdigit() and int(width) > 0:
        dimensions = int(width)
    else:
        raise OptionError(f"'@{width}' in --encoder=openai:{name} is no width: {_HOW}")
    return OpenAIEncoder(
        model,
        dimensions,
        server=options.server,
        batch_size=BATCH_SIZE if options.batch_size is None else options.batch_size,
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
        max_tokens=options.max_tokens,
    )


def _sentence_transformers(name: str, options: EncoderOptions) -> Encoder:
    from recbole_darec.encoders.sentence_transformers_encoder import (
        BATCH_SIZE,
        SentenceTransformersEncoder,
    )

    _refuse(
        options,
        "an st: encoder, which works without a server",
        ("requests_per_minute", "tokens_per_minute", "max_tokens"),
    )
    if options.ray_address is None and options.ray_workers is not None:
        raise OptionError("--ray-workers is for a cluster: name it with --ray-address")
    if options.ray_address is not None and options.workers is not None:
        raise OptionError("--workers is for this machine: with --ray-address give --ray-workers")
    if options.ray_address is not None and len(options.devices) > 1:
        raise OptionError("with --ray-address each worker has one device: give one --device")
    return SentenceTransformersEncoder(
        name,
        batch_size=BATCH_SIZE if options.batch_size is None else options.batch_size,
        devices=options.devices,
        workers=options.workers,
        ray_address=options.ray_address,
        ray_workers=options.ray_workers or 1,
    )


def _refuse(options: EncoderOptions, who: str, names: tuple[str, ...]) -> None:
    """Refuse options that would be without effect."""
    for name in names:
        if getattr(options, name) not in (None, ()):
            flag = {"devices": "device"}.get(name, name).replace("_", "-")
            raise OptionError(f"--{flag} does not belong to {who}: leave it out")
