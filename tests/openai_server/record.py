"""What a server has seen: counters, arrivals, requests under way, and the file of paid answers."""

from __future__ import annotations

import json
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

__all__ = ["Log", "peak_in_window"]


def peak_in_window(
    times: Sequence[float], window_s: float, amounts: Sequence[float] | None = None
) -> float:
    """The most that any window ``[t, t + window_s)`` holds.

    Args:
        times: points in time, ascending.
        window_s: seconds, above 0.
        amounts: one number a point; without them, points are counted.
    """
    most = held = 0.0
    start = 0
    for end, now in enumerate(times):
        held += amounts[end] if amounts is not None else 1
        while now - times[start] >= window_s:
            held -= amounts[start] if amounts is not None else 1
            start += 1
        most = max(most, held)
    return most


class Log:
    """Counters of one server; safe to read from another thread.

    Attributes:
        requests: requests so far by endpoint; ``/v1`` only.
        statuses: answers by HTTP status, of those that were sent whole.
        paid: paid answers by endpoint. Paid is an answer of status 200, sent whole to a client
            that was still there, whose HTTP body is right; what stands in it may be a fault. In
            a batch: a line that has an answer. It is counted just before the last bytes go out.
        faults: faults made, by kind.
        abandoned: answers whose client had gone before they were sent.
        attempts: requests by prompt hash (for embeddings, by the hash of all texts).
        paid_by_prompt: paid answers by the same hash.
        embedded: how often each text was embedded and paid, by its hash.
        prompt_tokens: tokens of the paid answers' prompts.
        completion_tokens: tokens of the paid answers.
        peak_concurrency: the most requests that were under way at once.
        connections: connections so far.
        arrivals: when each request had arrived, in seconds of ``time.monotonic``.
        arrived_tokens: the prompt tokens of each, 0 where it has none.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        """Start empty; paid answers are appended to ``path`` as JSON lines where it is given."""
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.paid: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.paid_by_prompt: Counter[str] = Counter()
        self.embedded: Counter[str] = Counter()
        self.abandoned = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.peak_concurrency = 0
        self.connections = 0
        self.arrivals = array("d")
        self.arrived_tokens = array("q")
        self._under_way = 0
        self._lock = threading.Lock()
        self._file: TextIO | None = (
            # Open as long as the log lives.
            None if path is None else Path(path).open("a", encoding="utf-8")  # noqa: SIM115
        )

    def close(self) -> None:
        """Close the file of paid answers."""
        if self._file is not None:
            self._file.close()

    def arrive(self, endpoint: str) -> int:
        """Count one request that has arrived whole; its number, from 1."""
        with self._lock:
            self.requests[endpoint] += 1
            self.arrivals.append(time.monotonic())
            self.arrived_tokens.append(0)
            return len(self.arrivals)

    def tokens_of(self, number: int, tokens: int) -> None:
        """Note the prompt tokens of request ``number``."""
        self.arrived_tokens[number - 1] = tokens

    def attempt(self, prompt: str) -> int:
        """Count one more request of the prompt with this hash: 1 for the first."""
        with self._lock:
            self.attempts[prompt] += 1
            return self.attempts[prompt]

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count one request as under way."""
        with self._lock:
            self._under_way += 1
            self.peak_concurrency = max(self.peak_concurrency, self._under_way)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def pay(
        self, endpoint: str, prompt: str, number: int, status: int, more: Mapping[str, Any]
    ) -> None:
        """Count one paid answer and write its line.

        ``more`` stands in the line as it is; its ``usage`` is added up, and its ``texts`` are
        the hashes of embedded texts.
        """
        usage = more.get("usage") or {}
        line = {"endpoint": endpoint, "prompt": prompt, "request": number, "status": status, **more}
        with self._lock:
            self.paid[endpoint] += 1
            self.paid_by_prompt[prompt] += 1
            self.embedded.update(more.get("texts", ()))
            self.prompt_tokens += usage.get("prompt_tokens", 0)
            self.completion_tokens += usage.get("completion_tokens", 0)
            if self._file is not None:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()

    def peak_requests(self, window_s: float) -> int:
        """The most requests that arrived within any ``window_s`` seconds."""
        with self._lock:
            times = list(self.arrivals)
        return int(peak_in_window(times, window_s))

    def peak_tokens(self, window_s: float) -> int:
        """The most prompt tokens that arrived within any ``window_s`` seconds."""
        with self._lock:
            times, tokens = list(self.arrivals), list(self.arrived_tokens)
        return int(peak_in_window(times, window_s, tokens))

    def summary(self, window_s: float = 1.0) -> dict[str, Any]:
        """All counters as JSON can hold them, with the peaks of ``window_s`` seconds."""
        with self._lock:
            paid_twice = sum(count > 1 for count in self.paid_by_prompt.values())
            counters = {
                "requests": dict(self.requests),
                "statuses": {str(status): n for status, n in self.statuses.items()},
                "paid": dict(self.paid),
                "faults": dict(self.faults),
                "abandoned": self.abandoned,
                "prompts": len(self.attempts),
                "prompts_paid": len(self.paid_by_prompt),
                "prompts_paid_twice": paid_twice,
                "texts_embedded": len(self.embedded),
                "texts_embedded_twice": sum(n > 1 for n in self.embedded.values()),
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "peak_concurrency": self.peak_concurrency,
                "connections": self.connections,
                "cpu_s": time.process_time(),
            }
        return {
            **counters,
            "window_s": window_s,
            "peak_requests": self.peak_requests(window_s),
            "peak_tokens": self.peak_tokens(window_s),
        }
