"""What a run of ``recbole-darec profile`` does, and how a model is asked."""

from __future__ import annotations

from pathlib import Path

from pydantic import InstanceOf

from recbole_darec.llm.options import Server
from recbole_darec.llm.prices import Price, read_price
from recbole_darec.profiles.answers import Question
from recbole_darec.profiles.domains import Domain
from recbole_darec.profiles.options import GenerationOptions, PlanOptions
from recbole_darec.profiles.prompts import Prompt, PromptOptions

__all__ = ["Generation", "Plan"]


class Generation(GenerationOptions):
    """How a model is asked, and what a question to it is."""

    def question(self, prompt: Prompt) -> Question:
        """Return the question that a prompt is for this model."""
        key = prompt.key(self.model, self.temperature)
        return Question(key, prompt.kind, prompt.id, self.model)


class Plan(PlanOptions):
    """What a run does.

    Attributes:
        domain, prompts: the instructions, and how much enters a prompt.
        generation, server: which model, where, and how it is asked.
        store: the file of answers.
    """

    domain: InstanceOf[Domain]
    generation: Generation
    store: Path
    prompts: PromptOptions = PromptOptions()
    server: Server = Server()

    def price(self) -> Price | None:
        """Return what the model costs, if the table knows it."""
        return read_price(self.generation.model, self.prices, self.batch)
