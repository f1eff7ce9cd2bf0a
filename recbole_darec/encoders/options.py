"""What is embedded, where it goes, and how an encoder works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from recbole_darec.errors import OptionError
from recbole_darec.llm.options import RateOptions, Server
from recbole_darec.settings.options import CommandOptions, option

__all__ = ["DTYPES", "SIDES", "EmbedRequest", "EncoderOptions"]

SIDES = ("user", "item")
DTYPES = ("float16", "float32")


class EmbedRequest(CommandOptions):
    """What is embedded, and where it goes.

    Attributes:
        profiles: side -> profile file, where it is not the data set's own.
    """

    dataset: str = option(..., "The data set's name.", metavar="NAME")
    data_path: Path = option(Path("dataset"), "The data set lies in DIR/NAME.", metavar="DIR")
    sides: tuple[str, ...] = option(SIDES, "Whose profiles.", choices=SIDES, flag="side")
    dtype: str = option("float16", "Of the files; the store keeps float32.", choices=DTYPES)
    store: Path | None = option(None, "The store's file (default: NAME.store.sqlite).")
    overwrite: bool = option(False, "Replace embeddings that are there.")
    profiles: dict[str, Path] = Field(default_factory=dict)

    def __init__(self, dataset: str, data_path: str | Path = Path("dataset"), **more: Any) -> None:
        values: dict[str, Any] = {"dataset": dataset, "data_path": data_path, **more}
        super().__init__(**values)

    def check_together(self) -> None:
        """Refuse a request for nobody's profiles."""
        if not self.sides:
            raise OptionError("--side is empty: there are user and item")

    @property
    def folder(self) -> Path:
        """The data set's folder."""
        return Path(self.data_path) / self.dataset

    def stem(self, side: str) -> Path:
        """The path of a side's files without their suffixes."""
        return self.folder / f"{self.dataset}.{side}emb"


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
