"""One server, many prompts: every prompt asked, every answer kept the moment it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_darec.llm.client import Server, ServerError, explain, without_secrets
from recbole_darec.llm.limits import RateLimit
from recbole_darec.llm.tokens import TokenCounter
from recbole_darec.llm.words import AnsweredError
from recbole_darec.profiles.answers import Answers, Paid, Question
from recbole_darec.profiles.budget import Budget, BudgetReached
from recbole_darec.profiles.plan import Generation
from recbole_darec.profiles.prompts import Prompt
from recbole_darec.profiles.reading import (
    Unusable,
    failure_in,
    message_of,
    read_response,
    thought_in,
)
from recbole_darec.profiles.report import Tally
from recbole_darec.profiles.request_form import RequestForm

__all__ = ["AGAIN", "REFUSED", "Interviewer", "raw_text"]

AGAIN = (
    "\n\nAn earlier answer could not be used: {reason}. Answer again, with the JSON object alone."
)
REFUSED = "the server refuses the request"
_MOST_RAW = 20_000  # characters of a failed answer that are kept
_ABOUT_FORM = (None, 400, 404, 405, 415, 422, 500, 501)  # statuses of refused fields
_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds before an error of status 200 is asked again


@dataclass
class Interviewer:
    """Asks one server about many prompts, so many at a time.

    Attributes:
        client: an ``openai.AsyncOpenAI``.
        server, options: which server, and how it is asked.
        answers: where answers are kept.
        rate: requests and tokens per minute.
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
        self.form = RequestForm(self.options, self.server)
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
                self.fail(question, REFUSED, str(error), tally, words=str(error))
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
        tally.thoughts += thought_in(body)
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
        words: str = "",
    ) -> None:
        """Keep and count a failure, with what the server said; ``words`` are for the table."""
        self.answers.keep(question, None, reason, without_secrets(raw, self.server), paid)
        tally.fail(reason, without_secrets(words, self.server))

    # -- one request ------------------------------------------------------------------------

    async def _request(self, messages: list[dict[str, str]]) -> tuple[Any, Paid]:
        """Send one request; returns the answer's body and what it took."""
        expected = self.tokens.messages(messages)
        reserved = self.budget.reserve(expected, self.options.max_tokens)
        paid: Paid | None = None
        try:
            body = await self._body(messages, expected)
            paid = self.paid(body, expected)
            self.rate.settle(
                expected + self.options.max_tokens, paid.prompt_tokens + paid.completion_tokens
            )
            return body, paid
        finally:
            self.budget.settle(reserved, expected, paid)

    async def _body(self, messages: list[dict[str, str]], expected: int) -> Any:
        """Return the body of an answer, asked for in the form that the server takes.

        Raises:
            _Lost: there is none, after the repeats.
            _Refused: the server will not answer this prompt.
        """
        import openai

        # Until anything was answered, a wrong address must come to light within seconds.
        left = self.server.retries if self._answered_any else min(2, self.server.retries)
        client = self.client.with_options(max_retries=left)
        pause = _PAUSE
        while True:
            await self.rate.wait(expected + self.options.max_tokens)
            request = self.form.body(messages)
            try:
                body = await client.post("/chat/completions", body=request, cast_to=object)
                failure = failure_in(body)
                if failure is None:
                    return body
                raise failure
            # ValueError: a body that is no JSON; OSError: a connection lost in mid-body.
            except (openai.APIError, AnsweredError, ValueError, OSError) as error:
                if self._adapted(error, request):
                    continue
                status = getattr(error, "status_code", None)
                line = explain(error, self.server)
                if status in (401, 403, 404):
                    raise _Lost(line, fatal=True) from None
                if status is not None and status < 500 and status not in (408, 409, 429):
                    raise _Refused(line) from None
                # The client repeats what has an error status, and not what came with 200.
                if not isinstance(error, AnsweredError) or not left:
                    raise _Lost(line) from None
                left -= 1
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _adapted(self, error: Exception, request: dict[str, Any]) -> bool:
        """Whether the server has refused the form alone, and is now asked in another one."""
        import openai

        if not isinstance(error, (openai.APIStatusError, AnsweredError)):
            return False
        about_form = getattr(error, "status_code", None) in _ABOUT_FORM
        return about_form and self.form.adapt(error, request, self._answered_any)

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
    """Return what the model said, or the whole message or body where it said no text."""
    message = message_of(body)
    text = "" if message is None else message.get("content") or message.get("refusal")
    if not isinstance(text, str) or not text:
        shown = body if message is None else message
        text = shown if isinstance(shown, str) else json.dumps(shown, default=str)
    return text[:_MOST_RAW].encode("utf-8", "replace").decode("utf-8")
