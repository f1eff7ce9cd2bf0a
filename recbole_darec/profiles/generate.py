"""Profiles by a language model: every prompt asked once, every answer kept the moment it comes.

The answers stand in the store under the digest of model, temperature and messages.  A run asks what
is not there, so that a killed one goes on where it was, and one with another model, temperature or
text asks anew.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from recbole_darec.errors import OptionError
from recbole_darec.llm.client import Server, ServerError, explain, without_secrets
from recbole_darec.llm.limits import RateLimit
from recbole_darec.llm.prices import Price
from recbole_darec.llm.tokens import TokenCounter
from recbole_darec.profiles.answers import (
    Answers,
    Paid,
    Profile,
    Question,
    Unusable,
    read_response,
)
from recbole_darec.profiles.options import STRUCTURED, GenerationOptions
from recbole_darec.profiles.prompts import Prompt

__all__ = ["STRUCTURED", "Budget", "Generation", "Interviewer", "Tally"]

_SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "profile",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "summarization": {"type": "string"},
                "reasoning": {"type": "string"},
            },
            "required": ["summarization", "reasoning"],
            "additionalProperties": False,
        },
    },
}
_FORMATS = {"schema": _SCHEMA, "json": {"type": "json_object"}, "none": None}
AGAIN = (
    "\n\nAn earlier answer could not be used: {reason}. Answer again, with the JSON object alone."
)
REFUSED = "the server refuses the request"
_MOST_RAW = 20_000  # characters of a failed answer that are kept


class Generation(GenerationOptions):
    """How a model is asked, and what a question to it is."""

    def question(self, prompt: Prompt) -> Question:
        """Return the question that a prompt is for this model."""
        key = prompt.key(self.model, self.temperature)
        return Question(key, prompt.kind, prompt.id, self.model)


class BudgetReached(Exception):
    """The next request might cost more than is left."""


class Budget:
    """Money: what was spent, what requests under way may cost, and the limit of both.

    Args:
        price: of the model; None if unknown, which goes with no limit only.
        limit: US dollars; None for none.
        exact: whether prompt tokens are counted and not estimated.
    """

    def __init__(
        self,
        price: Price | None,
        limit: float | None,
        exact: bool = False,
    ) -> None:
        if limit is not None and price is None:
            raise OptionError(
                "--max-cost needs the model's price: give a table that has it with --prices=FILE"
            )
        self.price = price
        self.limit = limit
        self._reserved = 0.0
        # Estimated tokens are too few for some texts; the worst seen so far is expected again.
        self._worst = 1.0 if exact else 1.5
        self.before = self.spent = 0.0

    def add_earlier(self, tokens: tuple[float, float]) -> None:
        """Count what was paid in earlier runs: :meth:`.Answers.spent` of some questions."""
        if self.price is not None:
            # Tokens at the Batch API's price come in already halved.
            earlier = self.price.cost(*tokens) / self.price.factor
            self.before += earlier
            self.spent += earlier

    def reserve(self, prompt_tokens: int, max_tokens: int) -> float:
        """Set aside what a request may cost, and return it.

        Raises:
            BudgetReached: there is not so much left.
        """
        if self.price is None:
            return 0.0
        cost = self.price.cost(prompt_tokens * self._worst, max_tokens)
        if self.limit is not None and self.spent + self._reserved + cost > self.limit:
            raise BudgetReached
        self._reserved += cost
        return cost

    def settle(self, reserved: float, expected: int, paid: Paid | None) -> None:
        """Give back what was set aside, and count what the request took, if it was answered."""
        self._reserved -= reserved
        if paid is None or self.price is None:
            return
        self.spent += self.price.cost(paid.prompt_tokens, paid.completion_tokens)
        if expected:
            self._worst = max(self._worst, 1.1 * paid.prompt_tokens / expected)


@dataclass
class Tally:
    """Counts of one run, for one kind of prompt."""

    prompts: int = 0
    shared: int = 0
    """Ids of which the same is known as of another one, so that they share its answer."""
    nothing: int = 0
    """Ids of which nothing is known, so that nothing was asked."""
    before: int = 0
    """Answered in an earlier run."""
    answered: int = 0
    failed: int = 0
    """Asked as often as is allowed, without a usable answer, in this run or an earlier one."""
    open: int = 0
    """Not answered: the server failed, or the run was stopped."""
    requests: int = 0
    """Requests that the server answered."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, paid: Paid) -> None:
        """Count an answered request."""
        self.requests += 1
        self.prompt_tokens += paid.prompt_tokens
        self.completion_tokens += paid.completion_tokens


@dataclass
class Interviewer:
    """Asks one server about many prompts, so many at a time.

    Attributes:
        client: an ``openai.AsyncOpenAI``.
        server, options: which server, and how it is asked.
        answers: where answers are kept.
        rate: requests and tokens a minute.
        budget: what may be spent.
        tokens: counts the tokens of a prompt.
        advance: called with the tally whenever a prompt is done, for a progress bar.
    """

    client: Any
    server: Server
    options: Generation
    answers: Answers
    rate: RateLimit
    budget: Budget
    tokens: TokenCounter
    advance: Callable[[Tally], None] = lambda tally: None

    def __post_init__(self) -> None:
        self._format = "schema" if self.options.structured == "auto" else self.options.structured
        # OpenAI's newer models refuse the old name, and other servers know only that.
        own_server = self.server.base_url is not None
        self._length_field = "max_tokens" if own_server else "max_completion_tokens"
        self._length_fixed = False
        self._lost_in_a_row = 0
        self._answered_any = False
        self.stopped: str | None = None

    async def ask(self, prompts: Sequence[Prompt], tally: Tally) -> None:
        """Ask all the prompts and count in ``tally`` what comes of them.

        The first is asked alone: a wrong key or model is then one error, and how far the server
        knows structured output is found out once.

        Raises:
            ServerError: the server refuses the key or the model, or does not answer any more.
        """
        tally.open += len(prompts)
        waiting = iter(prompts)
        if not self._answered_any:
            first = next(waiting, None)
            if first is not None:
                await self._worker(iter([first]), tally)

        workers = [
            asyncio.ensure_future(self._worker(waiting, tally))
            for _ in range(self.server.concurrency)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _worker(self, waiting: Iterable[Prompt], tally: Tally) -> None:
        for prompt in waiting:
            if self.stopped:
                return
            try:
                done = await self._interview(prompt, tally)
            except BudgetReached:
                self.stopped = "the next request might pass --max-cost"
                return
            if done:
                tally.open -= 1
            self.advance(tally)

    async def _interview(self, prompt: Prompt, tally: Tally) -> bool:
        """Ask until there is a usable answer; False where the server gave none at all."""
        question = self.options.question(prompt)
        asked = lost = 0
        reason: str | None = None
        while asked < self.options.attempts and lost < self.options.attempts:
            messages = prompt.messages()
            if reason is not None:
                messages[-1]["content"] += AGAIN.format(reason=reason)
            try:
                body, paid = await self._request(messages)
            except _Lost as error:
                lost += 1
                self._note_loss(error)
                continue
            except _Refused as error:
                self.fail(question, REFUSED, str(error), tally)
                return True
            self._lost_in_a_row = 0
            self._answered_any = True
            asked += 1
            reason = self.judge(question, body, paid, tally, last=asked == self.options.attempts)
            if reason is None:
                return True
        return asked == self.options.attempts

    # -- one answer -------------------------------------------------------------------------

    def judge(
        self, question: Question, body: Any, paid: Paid, tally: Tally, last: bool
    ) -> str | None:
        """Keep and count what the model answered.

        Args:
            question: what it was asked.
            body: of the chat completion.
            paid: what it took.
            tally: where it is counted.
            last: whether an answer of no use makes the question a failure.

        Returns:
            Why the answer is of no use; None for a profile.
        """
        tally.count(paid)
        try:
            profile = read_response(body, self.options.most_words)
        except Unusable as error:
            if last:
                self.fail(question, error.reason, raw_text(body), tally, paid)
            else:
                self.answers.count(question, error.reason, paid)
            return error.reason
        self.answers.keep(question, profile, paid=paid)
        tally.answered += 1
        return None

    def fail(
        self,
        question: Question,
        reason: str,
        raw: str,
        tally: Tally,
        paid: Paid | None = None,
    ) -> None:
        """Keep and count a failure, with what the server said."""
        self.answers.keep(question, None, reason, without_secrets(raw, self.server), paid)
        tally.failed += 1
        tally.reasons[reason.split(":")[0]] += 1

    # -- one request ------------------------------------------------------------------------

    def body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """Return the body of a request."""
        body: dict[str, Any] = {
            "model": self.options.model,
            "messages": messages,
            self._length_field: self.options.max_tokens,
        }
        if self.options.temperature is not None:
            body["temperature"] = self.options.temperature
        form = _FORMATS[self._format]
        if form is not None:
            body["response_format"] = form
        return body

    async def _request(self, messages: list[dict[str, str]]) -> tuple[Any, Paid]:
        """Send one request; returns the answer's body and what it took."""
        import openai

        expected = self.tokens.messages(messages)
        reserved = self.budget.reserve(expected, self.options.max_tokens)
        paid: Paid | None = None
        # Until anything was answered, a wrong address shall be told within seconds.
        few = min(2, self.server.retries)
        client = self.client if self._answered_any else self.client.with_options(max_retries=few)
        try:
            while True:
                await self.rate.wait(expected + self.options.max_tokens)
                request = self.body(messages)
                try:
                    body = await client.post("/chat/completions", body=request, cast_to=object)
                    break
                except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                    if not self._adapt(error, request):
                        raise _Refused(explain(error, self.server)) from None
                except (
                    openai.AuthenticationError,
                    openai.PermissionDeniedError,
                    openai.NotFoundError,
                ) as error:
                    raise _Lost(explain(error, self.server), fatal=True) from None
                except (openai.APIError, ValueError, OSError) as error:
                    # ValueError: a body that is no JSON; OSError: a connection lost in mid-body.
                    status = getattr(error, "status_code", None)
                    if status is not None and status < 500 and status not in (408, 409, 429):
                        raise _Refused(explain(error, self.server)) from None
                    raise _Lost(explain(error, self.server)) from None
            paid = self.paid(body, expected)
            self.rate.settle(
                expected + self.options.max_tokens, paid.prompt_tokens + paid.completion_tokens
            )
            return body, paid
        finally:
            self.budget.settle(reserved, expected, paid)

    def paid(self, body: Any, expected: int, factor: float = 1.0) -> Paid:
        """Return what a request took: what the server says, else what was expected."""
        usage = body.get("usage") if isinstance(body, dict) else None
        usage = usage if isinstance(usage, dict) else {}
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        return Paid(
            prompt if isinstance(prompt, int) else expected,
            completion if isinstance(completion, int) else self.tokens.count(raw_text(body)),
            factor,
        )

    def _adapt(self, error: Any, request: dict[str, Any]) -> bool:
        """Drop what the server does not know; returns whether the request may be sent again."""
        message = str(error).lower()
        form = request.get("response_format")
        if form is not None and any(
            word in message for word in ("response_format", "json_schema", "json_object", "schema")
        ):
            if self.options.structured != "auto":
                raise ServerError(
                    f"the server does not know --structured={self.options.structured} "
                    f"({explain(error, self.server)}): leave it out"
                )
            if form == _FORMATS[self._format]:  # else another request has found it out already
                self._format = "json" if self._format == "schema" else "none"
            return True
        for known, other in (
            ("max_completion_tokens", "max_tokens"), ("max_tokens", "max_completion_tokens")
        ):  # fmt: skip
            if known in request and known in message and not self._answered_any:
                again, self._length_fixed = not self._length_fixed, True
                self._length_field = other
                return again
        if "temperature" in message and "temperature" in request and not self._answered_any:
            raise ServerError(
                f"the model does not take this temperature ({explain(error, self.server)}): give "
                "--temperature=none"
            )
        return False

    def _note_loss(self, error: _Lost) -> None:
        """Give up where nothing comes any more."""
        self._lost_in_a_row += 1
        if error.fatal and not self._answered_any:
            if self._lost_in_a_row >= 3:
                raise ServerError(
                    f"the server refuses ({error}): check the key, --model "
                    f"({self.options.model}) and --base-url"
                )
        elif self._lost_in_a_row >= max(10, 3 * self.server.concurrency) or (
            not self._answered_any and self._lost_in_a_row >= self.options.attempts
        ):
            raise ServerError(
                f"the server {self.client.base_url} does not answer (last: {error}); every answer "
                "so far is kept, and the same command goes on with the rest"
            )


class _Lost(Exception):
    """No answer, whatever the prompt was; ``fatal`` for a refused key or model."""

    def __init__(self, message: str, fatal: bool = False) -> None:
        super().__init__(message)
        self.fatal = fatal


class _Refused(Exception):
    """The server will not answer this prompt."""


def raw_text(body: Any) -> str:
    """Return what the model said, or the whole body where that cannot be found."""
    try:
        message = body["choices"][0]["message"]
        text = message.get("content") or message.get("refusal") or ""
    except (KeyError, IndexError, TypeError, AttributeError):
        text = body if isinstance(body, str) else json.dumps(body, default=str)
    return str(text)[:_MOST_RAW].encode("utf-8", "replace").decode("utf-8")


def distinct(prompts: Sequence[Prompt], options: Generation) -> dict[str, Prompt]:
    """Return each question once, by its key: ids of which the same is known share an answer."""
    found: dict[str, Prompt] = {}
    for prompt in prompts:
        found.setdefault(options.question(prompt).key, prompt)
    return found


def to_ask(
    prompts: Sequence[Prompt],
    options: Generation,
    answers: Answers,
    retry_failed: bool,
    tally: Tally,
) -> list[Prompt]:
    """Return the prompts that have no answer yet, and count the others in ``tally``."""
    asked = distinct(prompts, options)
    statuses = answers.statuses(asked)
    tally.prompts += len(asked)
    tally.shared += len(prompts) - len(asked)
    missing = []
    for key, prompt in asked.items():
        status = statuses.get(key)
        if status == "ok":
            tally.before += 1
        elif status == "failed" and not retry_failed:
            tally.failed += 1
            tally.reasons["failed in an earlier run"] += 1
        else:
            missing.append(prompt)
    return missing


def profiles_of(
    prompts: Sequence[Prompt], options: Generation, answers: Answers
) -> dict[str, Profile]:
    """Return the profile of each id that has one."""
    keys = {prompt.id: options.question(prompt).key for prompt in prompts}
    found = answers.profiles(set(keys.values()))
    return {owner: found[key] for owner, key in keys.items() if key in found}
