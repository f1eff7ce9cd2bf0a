"""The options of ``recbole-darec profile``, beside the data set and the server."""

from __future__ import annotations

import re
from pathlib import Path

from recbole_darec.errors import OptionError, nearest
from recbole_darec.llm.options import RateOptions
from recbole_darec.settings.options import CommandOptions, option

__all__ = ["STRUCTURED", "THINKING", "GenerationOptions", "PlanOptions", "PromptOptions"]

STRUCTURED = ("auto", "schema", "json", "none")
THINKING = ("off", "minimal", "low", "medium", "high")


class PromptOptions(CommandOptions):
    """How much enters a prompt."""

    items_per_user: int = option(10, "Sampled items in a user's prompt.", low=1)
    reviews_per_item: int = option(
        5, "Sampled reviews in the prompt of an item without a description.", low=0
    )
    text_words: int = option(150, "Words shown of a description or of a review.", low=1)
    max_words: int = option(
        100, "Words that a profile is asked to keep to; half as many more are accepted.", low=1
    )
    seed: int = option(2020, "Seed of the sampled items and reviews.", flag="sample-seed")


class GenerationOptions(CommandOptions):
    """How a model is asked.

    Attributes:
        most_words: the longest summarization that is accepted; no option, it follows max_words.
    """

    model: str = option(..., "The model's name on the server.", metavar="NAME")
    temperature: float | None = option(
        0.0,
        "The model's temperature; none leaves it to the server.",
        low=0.0,
        high=2.0,
        metavar="T",
    )
    max_tokens: int = option(500, "The longest answer, in tokens.", low=1)
    structured: str = option(
        "auto",
        "How the server is held to JSON: by a schema, by its JSON mode, by the instruction alone "
        "(none), or by the first of them that it knows (auto).",
        choices=STRUCTURED,
    )
    thinking: str | None = option(
        None,
        "How long a reasoning model may think, in the form that the server takes; a number is the "
        "most tokens (default: as the server does).",
        metavar="|".join((*THINKING, "N")),
    )
    attempts: int = option(3, "How often one prompt is asked before it counts as failed.", low=1)
    most_words: int = 150

    def check_together(self) -> None:
        """Refuse a blank name, and thinking that no server has."""
        if not self.model.strip():
            raise OptionError("--model is empty: name the language model")
        told = self.thinking
        number = told is not None and re.fullmatch("[1-9][0-9]{0,6}", told) is not None
        if told is not None and told not in THINKING and not number:
            raise OptionError(
                f"--thinking={told} must be one of {', '.join(THINKING)} or a number of tokens"
                f"{nearest(told, THINKING)}"
            )
        if number and int(str(told)) >= self.max_tokens:
            raise OptionError(
                f"--thinking={told} leaves no token for the answer: give more --max-tokens than "
                f"{self.max_tokens}"
            )


class PlanOptions(RateOptions):
    """What a run may cost, and how it goes on."""

    batch: bool = option(False, "Use the Batch API: half the price, within a day.")
    poll_seconds: float = option(
        30.0, "Pause between two looks at a batch, in seconds.", above=0.0, metavar="S"
    )
    max_cost: float | None = option(
        None,
        "Stop before these profiles cost more, earlier runs included, in US dollars.",
        low=0.0,
        metavar="USD",
    )
    prices: Path | None = option(
        None, "A price table instead of properties/llm/prices.yaml.", metavar="FILE"
    )
    retry_failed: bool = option(False, "Ask again what failed in an earlier run.")
