"""Profiles by a language model: every prompt asked once, every answer kept the moment it comes.

The answers stand in the store under the digest of model, temperature and messages.  A run asks what
is not there, so that a killed one goes on where it was, and one with another model, temperature or
text asks anew.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from recbole_darec.data.store import only_run, open_store
from recbole_darec.errors import OptionError
from recbole_darec.llm.client import check_server, connect
from recbole_darec.llm.limits import RateLimit
from recbole_darec.llm.tokens import token_counter
from recbole_darec.profiles.answers import SCHEMA, Answers
from recbole_darec.profiles.batch import BatchRun
from recbole_darec.profiles.budget import Budget
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.interview import Interviewer
from recbole_darec.profiles.plan import Generation, Plan
from recbole_darec.profiles.prompts import Prompt
from recbole_darec.profiles.questions import (
    KINDS,
    distinct,
    profiles_of,
    prompts_of,
    texts_of,
    to_ask,
)
from recbole_darec.profiles.report import ProfileReport, Tally

__all__ = ["generate_profiles"]


def generate_profiles(
    material: Material, plan: Plan, say: Callable[[str], None] = print
) -> ProfileReport:
    """Ask the model for every profile that the store lacks: the items first, then the users.

    Raises:
        DataError: another process asks for the same store, or the store cannot be used.
        ServerError: the server refuses, or does not answer any more.
        MissingExtraError: the package openai is not installed.
    """
    started = time.perf_counter()
    check_server(plan.server)  # before a store is made
    with open_store(plan.store, SCHEMA) as connection, only_run(plan.store, "profile"):
        report = asyncio.run(_generate(material, plan, Answers(connection), say))
    report.seconds = time.perf_counter() - started
    return report


async def _generate(
    material: Material, plan: Plan, answers: Answers, say: Callable[[str], None]
) -> ProfileReport:
    tokens = token_counter(plan.generation.model)
    budget = Budget(plan.price(), plan.max_cost, exact=tokens.exact)
    report = ProfileReport({}, {})
    async with connect(plan.server) as client:
        interviewer = Interviewer(
            client,
            plan.server,
            plan.generation,
            answers,
            RateLimit(plan.requests_per_minute, plan.tokens_per_minute),
            budget,
            tokens,
        )
        texts: dict[str, str] = {}
        for kind in KINDS:
            prompts, nothing = prompts_of(kind, material, plan, texts)
            tally = report.tallies[kind] = Tally(nothing=len(nothing))
            options = plan.generation
            missing = to_ask(prompts, options, answers, plan.retry_failed, tally)
            budget.add_earlier(answers.spent(distinct(prompts, options)))
            if not plan.batch:
                _refuse_to_pay_twice(missing, options, answers)
            if not interviewer.stopped:
                with _bar(f"{kind} profiles", len(missing), budget) as advance:
                    interviewer.advance = advance
                    if plan.batch:
                        price = budget.price
                        factor = price.factor if price is not None else 0.5
                        run = BatchRun(interviewer, plan.poll_seconds, factor, say)
                        await run.ask(missing, tally)
                    else:
                        await interviewer.ask(missing, tally)
            else:
                tally.open += len(missing)
            found = profiles_of(prompts, options, answers)
            report.texts[kind] = texts_of(material, kind, found)
            texts = report.texts[kind]
    report.stopped = interviewer.stopped
    report.thinking = plan.generation.thinking
    report.cost_before = budget.before
    report.cost = None if budget.price is None else budget.spent - budget.before
    return report


def _refuse_to_pay_twice(missing: Sequence[Prompt], options: Generation, answers: Answers) -> None:
    """Raise an error where a batch of an earlier run will answer some of the questions."""
    asked = {options.question(prompt).key for prompt in missing}
    sent = {key for _, _, keys, _ in answers.open_batches() for key in keys} & asked
    if sent:
        raise OptionError(
            f"{len(sent):,} of these questions are in a batch that an earlier run sent, and would "
            "be paid twice: go on with --batch"
        )


@contextmanager
def _bar(what: str, total: int, budget: Budget) -> Iterator[Callable[[Tally], None]]:
    """Show rate, tokens and cost on standard error; nothing where it is no terminal."""
    from tqdm import tqdm

    with tqdm(total=total, desc=what, file=sys.stderr, disable=None, leave=False) as bar:

        def advance(tally: Tally) -> None:
            bar.set_postfix_str(_spent(tally, budget), refresh=False)
            bar.update()

        yield advance


def _spent(tally: Tally, budget: Budget) -> str:
    text = f"{tally.prompt_tokens + tally.completion_tokens:,} tokens"
    if budget.price is not None:
        text += f", ${budget.spent - budget.before:.2f}"
    return text + (f", {tally.failed:,} failed" if tally.failed else "")
