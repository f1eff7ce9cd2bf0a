"""How an encoder works."""

from __future__ import annotations

from recbole_darec.llm.options import RateOptions, Server
from recbole_darec.settings.options import option

__all__ = ["EncoderOptions"]


class EncoderOptions(RateOptions):
    """How an encoder works; which rows come out does not depend on it.

    Attributes:
        server: of an OpenAI model.
    """

    batch_size: int | None = option(
        None, "Texts in a batch (default: 64 for st, 256 for openai).", low=1
    )
    devices: tuple[str, ...] = option(
        (),
        "Of an st encoder: cpu, cuda, cuda:1, …; several for a process each (default: a GPU if "
        "there is one).",
        flag="device",
        metavar="D[,D]",
    )
    workers: int | None = option(
        None, "Processes of an st encoder (default: one for each device).", low=1
    )
    ray_address: str | None = option(
        None,
        "Let an existing Ray cluster run an st encoder: host:port, auto.",
        metavar="ADDRESS",
    )
    ray_workers: int | None = option(None, "Workers of the Ray cluster (default: 1).", low=1)
    max_tokens: int | None = option(
        None,
        "Tokens of one text of an openai encoder; a longer one is split (default: 8191, and what "
        "the server refuses).",
        low=1,
    )
    server: Server = Server()
