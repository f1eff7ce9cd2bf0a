"""Profiles by the Batch API: the same questions and the same store, at half the price, in a day.

A batch is noted in the store before it is made, and carries that note's name in its metadata: a
run killed at any moment finds the batch on the server again and waits for it, and does not pay for
another.
"""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from recbole_darec.llm.client import ServerError, explain
from recbole_darec.llm.words import AnsweredError, words_of
from recbole_darec.profiles.answers import Answers
from recbole_darec.profiles.budget import BudgetReached
from recbole_darec.profiles.interview import AGAIN, REFUSED, Interviewer
from recbole_darec.profiles.prompts import Prompt
from recbole_darec.profiles.reading import failure_in
from recbole_darec.profiles.report import Tally

__all__ = ["BatchRun"]

_NAME = "recbole_darec"
_MOST_REQUESTS = 50_000
_MOST_BYTES = 100 * 2**20
_ENDED = ("completed", "failed", "expired", "cancelled")
_LISTED = 100
_SHAPE = [{"role": "system", "content": ""}, {"role": "user", "content": ""}]  # of a prompt
_SHOWN = 300  # characters of what the server said


@dataclass
class BatchRun:
    """Asks through the Batch API what :class:`.interview.Interviewer` asks one by one.

    Attributes:
        interviewer: has the client, the options, the store, the budget.
        poll_seconds: pause between two looks at a batch.
        factor: what is paid of the price.
        say: called with one line for each thing that happens.
    """

    interviewer: Interviewer
    poll_seconds: float = 30.0
    factor: float = 0.5
    say: Callable[[str], None] = lambda line: None
    _reserved: float = 0.0
    _form: dict[str, Any] = field(default_factory=dict)
    _refusal: ServerError | None = None

    async def ask(self, prompts: Sequence[Prompt], tally: Tally) -> None:
        """Ask all the prompts; those without a usable answer again, as often as is allowed.

        Raises:
            ServerError: the server has no Batch API, refuses the key, or refuses a batch.
        """
        import openai

        tally.open += len(prompts)
        options = self.interviewer.options
        waiting = {options.question(prompt).key: prompt for prompt in prompts}
        reasons: dict[str, str] = {}
        self._form = self.interviewer.form.body(_SHAPE)
        try:
            for name, batch_id, keys, attempt in self._answers.open_batches():
                if waiting.keys() & set(keys):
                    await self._collect(name, batch_id, keys, attempt, waiting, reasons, tally)
            for attempt in range(1, options.attempts + 1):
                # All files of one round are sent before any is waited for.
                sent = []
                self._reserved = 0.0
                self._form = self.interviewer.form.body(_SHAPE)
                for keys, content in self._files(waiting, reasons):
                    sent.append((*await self._send(keys, content, attempt), keys))
                for name, batch_id, keys in sent:
                    await self._collect(name, batch_id, keys, attempt, waiting, reasons, tally)
                self.interviewer.budget.settle(self._reserved, 0, None)
                if not waiting or self.interviewer.stopped:
                    return
        except openai.APIError as error:
            raise ServerError(
                f"the Batch API fails ({explain(error, self.interviewer.server)}); what was "
                "answered is kept, and the same command goes on; without --batch the questions are "
                "asked one by one"
            ) from None

    @property
    def _answers(self) -> Answers:
        return self.interviewer.answers

    # -- sending ----------------------------------------------------------------------------

    def _files(
        self, waiting: dict[str, Prompt], reasons: dict[str, str]
    ) -> list[tuple[list[str], bytes]]:
        """Return the questions as files of the API's size, as far as the money goes."""
        interviewer = self.interviewer
        files: list[tuple[list[str], bytes]] = []
        keys: list[str] = []
        lines: list[bytes] = []
        size = 0
        for key, prompt in waiting.items():
            messages = prompt.messages()
            if key in reasons:
                messages[-1]["content"] += AGAIN.format(reason=reasons[key])
            try:
                # Given back at the round's end: what a batch takes is counted when it is known.
                self._reserved += interviewer.budget.reserve(
                    interviewer.tokens.messages(messages), interviewer.options.max_tokens
                )
            except BudgetReached:
                interviewer.stopped = "the next request might pass --max-cost"
                break
            request = {
                "custom_id": key,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": interviewer.form.body(messages),
            }
            line = json.dumps(request).encode() + b"\n"
            if lines and (len(lines) >= _MOST_REQUESTS or size + len(line) > _MOST_BYTES):
                files.append((keys, b"".join(lines)))
                keys, lines, size = [], [], 0
            keys.append(key)
            lines.append(line)
            size += len(line)
        if lines:
            files.append((keys, b"".join(lines)))
        return files

    async def _send(self, keys: list[str], content: bytes, attempt: int) -> tuple[str, str]:
        client = self.interviewer.client
        name = secrets.token_hex(8)
        uploaded = await client.files.create(
            file=("profiles.jsonl", io.BytesIO(content)), purpose="batch"
        )
        self._answers.plan_batch(name, keys, attempt)
        batch = await client.batches.create(
            input_file_id=uploaded.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={_NAME: name},
        )
        self._answers.name_batch(name, batch.id)
        self.say(f"batch {batch.id}: {len(keys):,} questions sent")
        return name, batch.id

    async def _find(self, name: str) -> str | None:
        """Return the id of the batch that a killed run made, if the server has it."""
        seen = 0
        async for batch in self.interviewer.client.batches.list(limit=_LISTED):
            if (batch.metadata or {}).get(_NAME) == name:
                return str(batch.id)
            seen += 1
            if seen >= 10 * _LISTED:
                break
        return None

    # -- receiving --------------------------------------------------------------------------

    async def _collect(
        self,
        name: str,
        batch_id: str | None,
        keys: list[str],
        attempt: int,
        waiting: dict[str, Prompt],
        reasons: dict[str, str],
        tally: Tally,
    ) -> None:
        """Wait for one batch and keep its answers."""
        client = self.interviewer.client
        if batch_id is None:
            batch_id = await self._find(name)
            if batch_id is None:  # the process died before the batch was made
                self._answers.finish_batch(name)
                return
            self._answers.name_batch(name, batch_id)
        while True:
            batch = await client.batches.retrieve(batch_id)
            if batch.status in _ENDED:
                break
            done = batch.request_counts.completed if batch.request_counts else 0
            self.say(f"batch {batch_id}: {batch.status}, {done:,} of {len(keys):,} answered")
            await asyncio.sleep(self.poll_seconds)
        if batch.status == "failed":
            self._answers.finish_batch(name)
            errors = getattr(batch.errors, "data", None) or []
            why = errors[0].message if errors else "no reason given"
            raise ServerError(f"the server refuses the batch {batch_id}: {why}")
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                content = await client.files.content(file_id)
                for line in content.content.splitlines():
                    self._keep(line, attempt, waiting, reasons, tally)
        self._answers.finish_batch(name)
        self.say(f"batch {batch_id}: {batch.status}")
        if self._refusal is not None:
            raise self._refusal

    def _keep(
        self,
        line: bytes,
        attempt: int,
        waiting: dict[str, Prompt],
        reasons: dict[str, str],
        tally: Tally,
    ) -> None:
        """Keep one line of a batch's output, in whatever order they come."""
        interviewer = self.interviewer
        try:
            row = json.loads(line)
            key = row["custom_id"]
        except (ValueError, KeyError, TypeError):
            return  # without an id nothing can be done; its question is asked again
        prompt = waiting.get(key)
        if prompt is None:
            return
        question = interviewer.options.question(prompt)
        last = attempt >= interviewer.options.attempts
        response = row.get("response") or {}
        status, body = response.get("status_code"), response.get("body")
        failure = failure_in(body) if status == 200 else None
        if failure is not None:
            status = failure.status_code
        reason: str | None
        if status == 200:
            expected = interviewer.tokens.messages(prompt.messages())
            paid = interviewer.paid(body, expected, self.factor)
            interviewer.budget.settle(0.0, 0, paid)
            reason = interviewer.judge(question, body, paid, tally, last)
        elif status in (400, 413, 422):
            if self._takes_another_form(body):
                return
            reason = REFUSED
            if last:
                told = words_of(body) or json.dumps(body)
                interviewer.fail(question, reason, told, tally, words=f"{status}: {told}"[:_SHOWN])
        else:
            return  # lost and not failed: the next round, or the next run, asks it again
        if reason is not None and not last:
            reasons[key] = reason
            return
        tally.open -= 1
        del waiting[key]
        interviewer.advance(tally)

    def _takes_another_form(self, body: Any) -> bool:
        """Whether the next round asks in another form, since a line's own was refused."""
        error = AnsweredError(body if isinstance(body, dict) else {"error": str(body)})
        try:
            return self.interviewer.form.adapt(error, self._form, answered_any=False)
        except ServerError as refusal:  # raised when the other lines are kept
            self._refusal = refusal
            return True
