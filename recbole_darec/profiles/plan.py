"""What a run of ``recbole-darec profile`` does, and how a model is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recbole_darec.errors import OptionError
from recbole_darec.llm.client import Server
from recbole_darec.llm.limits import check_limits
from recbole_darec.llm.prices import Price, read_price
from recbole_darec.profiles.answers import Question
from recbole_darec.profiles.domains import Domain
from recbole_darec.profiles.prompts import Prompt, PromptOptions

__all__ = ["STRUCTURED", "Generation", "Plan"]

STRUCTURED = ("auto", "schema", "json", "none")


@dataclass(frozen=True)
class Generation:
    """How a model is asked.

    Attributes:
        model: its name on the server.
        temperature: None leaves it to the server.
        max_tokens: the longest answer, in tokens.
        structured: ``schema`` and ``json`` ask the server to keep to that form, ``none`` trusts the
            instruction, ``auto`` takes the first that the server knows.
        attempts: how often one prompt is asked before it counts as failed.
        most_words: the longest summarization that is accepted.
    """

    model: str
    temperature: float | None = 0.0
    max_tokens: int = 500
    structured: str = "auto"
    attempts: int = 3
    most_words: int = 150

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise OptionError("--model is empty: name the language model")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise OptionError(f"--temperature must be between 0 and 2, not {self.temperature}")
        for name in ("max_tokens", "attempts", "most_words"):
            if getattr(self, name) < 1:
                raise OptionError(f"--{name.replace('_', '-')} must be at least 1")
        if self.structured not in STRUCTURED:
            raise OptionError(f"--structured must be one of {', '.join(STRUCTURED)}")

    def question(self, prompt: Prompt) -> Question:
        """Return the question that a prompt is for this model."""
        key = prompt.key(self.model, self.temperature)
        return Question(key, prompt.kind, prompt.id, self.model)


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        domain, prompts: what the model is told.
        generation, server: which model, where, and how it is asked.
        store: the file of answers.
        requests_per_minute, tokens_per_minute: None for no limit.
        prices: a price table instead of the package's own.
        max_cost: US dollars on these questions, over all runs.
        retry_failed: ask again what failed.
        batch: use the Batch API.
        poll_seconds: pause between two looks at a batch.
    """

    domain: Domain
    generation: Generation
    store: Path
    prompts: PromptOptions = field(default_factory=PromptOptions)
    server: Server = field(default_factory=Server)
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    prices: Path | None = None
    max_cost: float | None = None
    retry_failed: bool = False
    batch: bool = False
    poll_seconds: float = 30.0

    def __post_init__(self) -> None:
        check_limits(self.requests_per_minute, self.tokens_per_minute)
        if self.max_cost is not None and not self.max_cost >= 0:
            raise OptionError(f"--max-cost must not be negative: {self.max_cost}")

    def price(self) -> Price | None:
        """Return what the model costs, if the table knows it."""
        return read_price(self.generation.model, self.prices, self.batch)
