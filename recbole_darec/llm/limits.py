"""Requests and tokens per minute, as providers count them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from recbole_darec.llm.options import RateOptions

__all__ = ["RateLimit"]

_MINUTE = 60.0
_MOMENT = 1e-3  # so that after the pause the minute is over, whatever the clock rounds


class RateLimit:
    """Lets a request pass when the last minute has room for it.

    Each limit is a bucket that holds a tenth of it (one request at least) and is filled with the
    rest evenly over a minute, so that no minute sees more than the limit, the first one included.
    A request larger than the bucket waits until it is full and until the last minute has room for
    it, and leaves a debt.  It is made inside the event loop that uses it.

    Args:
        requests_per_minute: None for no limit.
        tokens_per_minute: None for no limit; a single request may be larger, and is then the only
            one of its minute.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        rates = RateOptions(
            requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute
        )
        limits = (rates.requests_per_minute, rates.tokens_per_minute)
        self._buckets = [None if n is None else _Bucket(n, clock) for n in limits]
        self._turn = asyncio.Lock()

    async def wait(self, tokens: float = 0) -> None:
        """Return when one request of so many tokens may be sent; first come, first served."""
        pairs = zip(self._buckets, (1.0, float(tokens)))
        wanted = [(bucket, amount) for bucket, amount in pairs if bucket is not None]
        if not wanted:
            return
        async with self._turn:
            while (pause := max(bucket.missing(amount) for bucket, amount in wanted)) > 0:
                await asyncio.sleep(pause)
            for bucket, amount in wanted:
                bucket.take(amount)

    def settle(self, expected: float, used: float) -> None:
        """Correct the tokens of a request when the server has said how many there were."""
        bucket = self._buckets[1]
        if bucket is not None:
            bucket.take(used - expected)


class _Bucket:
    def __init__(self, limit: float, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._size = max(limit / 10, 1.0)
        self._per_second = max(limit - self._size, limit / 2) / _MINUTE
        self._clock = clock
        self._level = self._size
        self._at = clock()
        self._last_minute: deque[tuple[float, float]] = deque()  # (when, how much)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._size, self._level + (now - self._at) * self._per_second)
        self._at = now

    def missing(self, amount: float) -> float:
        """Return the seconds until ``amount``, or a full bucket, is there."""
        self._fill()
        lack = min(amount, self._size) - self._level
        # Rounding must not leave a lack that no further wait would fill.
        pause = 0.0 if lack <= 1e-9 * self._size else lack / self._per_second
        return max(pause, self._until_room(amount)) if amount > self._size else pause

    def _until_room(self, amount: float) -> float:
        """Return the seconds until ``amount`` fits beside what passed in the minute before."""
        while self._last_minute and self._last_minute[0][0] <= self._at - _MINUTE:
            self._last_minute.popleft()
        over = sum(passed for _, passed in self._last_minute) + amount - self._limit
        pause = 0.0
        for when, passed in self._last_minute:
            if over <= 0:
                break
            over -= passed
            pause = when + _MINUTE - self._at + _MOMENT
        return pause

    def take(self, amount: float) -> None:
        self._fill()
        self._level = min(self._size, self._level - amount)
        if amount > 0:
            self._last_minute.append((self._at, amount))
            while self._last_minute[0][0] <= self._at - _MINUTE:
                self._last_minute.popleft()
