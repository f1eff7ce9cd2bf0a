"""The plan of a server: what it can do, how fast, and which faults it makes on whom.

Faults are decided by hashes, never by a running random state, so that the same plan strikes the
same prompts whatever the order in which they arrive.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = ["KINDS", "Fault", "Plan", "unit"]

#: Answers with an error status instead of a result.
STATUS_KINDS = {
    "rate_limit": "429 with Retry-After",
    "insufficient_quota": "429 that no waiting mends: the account has no money left",
    "server_error": "500",
    "unavailable": "503 with Retry-After",
    "model_not_found": "404, as if the model's name were wrong",
    "wrong_key": "401, as if the key were wrong",
}
#: The connection goes without an answer.
SILENT_KINDS = {
    "drop": "the connection is reset before the answer",
    "hang": "nothing is sent for hang_s seconds, then the connection is closed",
}
#: The answer is right, its way is not.
DELIVERY_KINDS = {
    "drop_mid_body": "half of the body is sent, then the connection is closed",
    "slow": "the body comes in small chunks over slow_s seconds",
    "delay": "the answer waits up to delay_s seconds, so that answers overtake each other",
    "bad_body": "200 with a body that is cut off JSON",
    "html_body": "200 with a page of HTML, as a proxy sends it",
    "error_body": "200 with an error object alone, as a gateway sends it",
    "missing_usage": "the answer has no usage",
}
#: The chat answer's content is wrong. All of these are paid.
CONTENT_KINDS = {
    "truncated": "JSON cut in half, finish_reason length",
    "prose": "a sentence instead of JSON",
    "fenced": "right JSON in a Markdown fence with words around it",
    "single_quotes": "a Python dictionary instead of JSON",
    "wrong_keys": "JSON without the keys asked for",
    "wrong_type": "JSON whose summarization is a list",
    "think_tags": "thoughts with braces between tags, then the right JSON",
    "parts": "the right JSON in a list of parts, behind one of thoughts",
    "reasoning_beside": "the right JSON, and another one in reasoning_content",
    "only_thoughts": "null, the right JSON in reasoning_content, finish_reason stop",
    "cut_in_thoughts": "null, thoughts in reasoning_content, finish_reason length",
    "empty": "an empty string",
    "null_content": "null, finish_reason stop",
    "refusal": "null, with message.refusal set",
    "content_filter": "null, finish_reason content_filter",
    "too_long": "right JSON with a summarization of long_words words",
    "no_choices": "an empty list of choices",
}
#: The embeddings are wrong, or in another order.
VECTOR_KINDS = {
    "shuffled": "the vectors in another order, each with its right index",
    "short_list": "the last vector is missing",
}

#: Every kind of fault: name -> what the client sees.
KINDS: Mapping[str, str] = MappingProxyType(
    {**STATUS_KINDS, **SILENT_KINDS, **DELIVERY_KINDS, **CONTENT_KINDS, **VECTOR_KINDS}
)
ENDPOINTS = ("chat", "embeddings", "models", "files", "batches")
ERROR_FORMS = ("openai", "detail", "text", "nested", "plain")
RETRY_AFTER_FORMS = ("both", "seconds", "ms", "date", "none")
STRUCTURED = ("json_schema", "json_object", "none")
BATCH_OUTCOMES = ("completed", "expired", "failed")


def unit(*parts: object) -> float:
    """A number in [0, 1) that is a hash of ``parts``: the same in every process."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") / 2.0**56


def _fitting(kind: str) -> tuple[str, ...]:
    """The endpoints that a fault of ``kind`` strikes where the plan names none."""
    if kind in CONTENT_KINDS:
        return ("chat",)
    if kind in VECTOR_KINDS:
        return ("embeddings",)
    return ("chat", "embeddings")


@dataclass(frozen=True)
class Fault:
    """One kind of fault and whom it strikes.

    Attributes:
        kind: one of :data:`KINDS`.
        share: the share of the prompts that it strikes, in [0, 1].
        attempts: it strikes the first so many attempts of a prompt; None: all, for ever.
        endpoints: whom it strikes, of :data:`ENDPOINTS`; empty: those that it fits, of chat and
            embeddings.
    """

    kind: str
    share: float = 1.0
    attempts: int | None = 1
    endpoints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is called {self.kind!r}; known: {', '.join(KINDS)}")
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"share {self.share} of {self.kind} is not in [0, 1]")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"attempts of {self.kind} must be at least 1, or None for ever")
        endpoints = tuple(self.endpoints) or _fitting(self.kind)
        unknown = set(endpoints) - set(ENDPOINTS)
        only = _fitting(self.kind) if self.kind in {**CONTENT_KINDS, **VECTOR_KINDS} else ENDPOINTS
        if unknown or set(endpoints) - set(only):
            raise ValueError(f"{self.kind} cannot strike {endpoints}, only some of {only}")
        object.__setattr__(self, "endpoints", endpoints)


@dataclass(frozen=True)
class Plan:
    """What the server can do, how fast it is, and its faults.

    Attributes:
        seed: of every hash that decides something.
        by: what decides a fault: the ``prompt`` (a struck prompt is struck on each of its first
            attempts), the ``attempt`` (each attempt of a prompt anew) or the ``request``'s number.
        faults: tried in this order, each with its own share of the prompts; their sum is at most
            1 for each endpoint.
        script: (part of a prompt, the kinds of its first attempts) pairs, which come before
            ``faults``; ``""`` is an attempt without a fault. The first pair whose part is in the
            prompt counts.
        key: the key that the client must send; None: any that is not empty.
        error_form: the form of every error: OpenAI's object, FastAPI's ``detail``, ``{"error":
            text}``, an object in ``message`` or a plain text.
        echo_key: whether the error about a wrong key repeats the whole key, as careless servers
            do; otherwise it is masked.
        models: the names of the chat models. Another name is answered with 404.
        structured: the most that ``response_format`` may ask for; more is answered with 400.
        unsupported: parameters of a chat request that are answered with 400.
        no_system: the words with which a system message is answered with 400; None: it is taken.
        thinks_unless: the field of a chat request with which the model does not think; without
            it, thoughts stand in ``reasoning_content``. None: it never thinks.
        context_tokens: words that a chat prompt may have; None: any.
        embedding_models: name -> width.
        fixed_width: the embedding models that refuse ``dimensions``.
        vector_forms: what ``encoding_format`` may ask for.
        max_input_tokens: words that one text of an embedding request may have; None: any.
        max_inputs: texts that one embedding request may have.
        too_many: the status and the words of the answer to more; ``{limit}`` and ``{n}`` in them
            are filled in.
        max_request_tokens: words that one embedding request may have in all; None: any.
        latency_s: seconds before each answer.
        jitter_s: up to so many seconds more, by a hash of prompt and attempt.
        retry_after_s: seconds in Retry-After.
        retry_after: how they are told: ``seconds`` (Retry-After), ``ms`` (retry-after-ms),
            ``both``, ``date`` (Retry-After as an HTTP date) or ``none``.
        hang_s: seconds of silence of ``hang``.
        slow_s: seconds that the body of ``slow`` takes.
        delay_s: the longest ``delay``.
        long_words: words of a ``too_long`` summarization.
        charge_abandoned: whether an answer whose client has gone before it is sent is paid.
        batch_polls: polls during which a batch is validating, in progress and finalizing.
        batch_outcomes: how the first, second … batch ends: completed, expired or failed; those
            after the last are completed.
        expired_share: the share of the lines that an expired batch has not answered.
    """

    seed: int = 0
    by: str = "prompt"
    faults: tuple[Fault, ...] = ()
    script: tuple[tuple[str, tuple[str, ...]], ...] = ()
    key: str | None = None
    error_form: str = "openai"
    echo_key: bool = False
    models: tuple[str, ...] = ("gpt-3.5-turbo", "gpt-4o-mini")
    structured: str = "json_schema"
    unsupported: tuple[str, ...] = ()
    no_system: str | None = None
    thinks_unless: str | None = None
    context_tokens: int | None = None
    embedding_models: Mapping[str, int] = field(
        default_factory=lambda: {
            "text-embedding-ada-002": 1536,
            "text-embedding-3-small": 1536,
            "text-embedding-3-large": 3072,
        }
    )
    fixed_width: tuple[str, ...] = ("text-embedding-ada-002",)
    vector_forms: tuple[str, ...] = ("float", "base64")
    max_input_tokens: int | None = None
    max_inputs: int = 2048
    too_many: tuple[int, str] = (400, "'$.input' is invalid: at most {limit} elements.")
    max_request_tokens: int | None = None
    latency_s: float = 0.0
    jitter_s: float = 0.0
    retry_after_s: float = 0.05
    retry_after: str = "both"
    hang_s: float = 30.0
    slow_s: float = 0.2
    delay_s: float = 0.1
    long_words: int = 2000
    charge_abandoned: bool = False
    batch_polls: tuple[int, int, int] = (1, 2, 1)
    batch_outcomes: tuple[str, ...] = ()
    expired_share: float = 0.5

    def __post_init__(self) -> None:
        for name, value, known in (
            ("by", self.by, ("prompt", "attempt", "request")),
            ("retry_after", self.retry_after, RETRY_AFTER_FORMS),
            ("structured", self.structured, STRUCTURED),
            ("error_form", self.error_form, ERROR_FORMS),
            *(("batch_outcomes", outcome, BATCH_OUTCOMES) for outcome in self.batch_outcomes),
            *(("script", kind, ("", *KINDS)) for _, kinds in self.script for kind in kinds),
        ):
            if value not in known:
                raise ValueError(f"{name} of the plan is {value!r}, not one of {', '.join(known)}")
        for endpoint in ENDPOINTS:
            total = sum(f.share for f in self.faults if endpoint in f.endpoints)
            if total > 1.0 + 1e-9:
                raise ValueError(f"the shares of the faults of {endpoint} sum to {total:g}, over 1")

    def fault(self, endpoint: str, text: str, key: object, attempt: int, number: int) -> str | None:
        """The kind of fault of one request, or None.

        Args:
            endpoint: of :data:`ENDPOINTS`.
            text: the prompt, for ``script``.
            key: what stands for the prompt in the hash.
            attempt: 1 for the prompt's first request.
            number: the request's number since the server's start.
        """
        for part, kinds in self.script:
            if part in text:
                kind = kinds[attempt - 1] if attempt <= len(kinds) else ""
                return kind if kind and endpoint in _allowed(kind) else None
        if not self.faults:
            return None
        drawn = unit(self.seed, "fault", *self._decided_by(key, attempt, number))
        for fault in self.faults:
            if endpoint not in fault.endpoints:
                continue
            if drawn < fault.share:
                return fault.kind if fault.attempts is None or attempt <= fault.attempts else None
            drawn -= fault.share
        return None

    def _decided_by(self, key: object, attempt: int, number: int) -> tuple[object, ...]:
        if self.by == "prompt":
            return (key,)
        return (key, attempt) if self.by == "attempt" else (number,)

    def batch_outcome(self, index: int) -> str:
        """How the batch with this index, from 0, ends."""
        return self.batch_outcomes[index] if index < len(self.batch_outcomes) else "completed"

    def to_json(self) -> str:
        """The plan as JSON that :meth:`from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read a plan.

        ``faults`` is a list of objects with the fields of :class:`Fault`, or an object
        ``{kind: share}``; ``script`` a list of pairs, or an object ``{part: [kinds]}``.

        Raises:
            ValueError: no JSON object, an unknown field, or a value out of range.
        """
        given = json.loads(text)
        if not isinstance(given, dict):
            raise ValueError("a plan is a JSON object")
        unknown = set(given) - {f.name for f in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"no field of a plan is called {', '.join(sorted(unknown))}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
        }
        if "faults" in given:
            values["faults"] = _faults(given["faults"])
        if "script" in given:
            script = given["script"]
            pairs = script.items() if isinstance(script, dict) else script
            values["script"] = tuple((part, tuple(kinds)) for part, kinds in pairs)
        return cls(**values)

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """Read a plan's JSON file."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))


def _allowed(kind: str) -> Iterable[str]:
    """The endpoints that a script may strike with ``kind``."""
    return _fitting(kind) if kind in {**CONTENT_KINDS, **VECTOR_KINDS} else ENDPOINTS


def _faults(given: Mapping[str, float] | Sequence[Mapping[str, Any]]) -> tuple[Fault, ...]:
    if isinstance(given, Mapping):
        return tuple(Fault(kind, share) for kind, share in given.items())
    return tuple(
        Fault(**{**fault, "endpoints": tuple(fault.get("endpoints", ()))}) for fault in given
    )
