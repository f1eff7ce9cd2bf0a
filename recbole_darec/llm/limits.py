"""Requests and tokens a minute, as providers count them."""

from __future__ import annotations

import asyncio
import time
from typing import Callable, Optional

from recbole_darec.errors import OptionError

__all__ = ["RateLimit"]


class RateLimit:
    """Lets a request pass when the last minute has room for it.

    Each limit is a bucket that holds a tenth of it (one request at least) and is filled with the
    rest evenly over a minute, so that no minute sees more than the limit, the first one included.
    It is made inside the event loop that uses it.

    Args:
        requests_per_minute: None for no limit.
        tokens_per_minute: None for no limit; a request larger than the bucket passes alone, when
            the bucket is full, and leaves a debt.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        requests_per_minute: Optional[float] = None,
        tokens_per_minute: Optional[float] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, limit in (
            ("--requests-per-minute", requests_per_minute),
            ("--tokens-per-minute", tokens_per_minute),
        ):
            if limit is not None and not 0 < limit < float("inf"):
                raise OptionError(f"{name} must be a positive number, not {limit}")
        limits = (requests_per_minute, tokens_per_minute)
        self._buckets = [None if n is None else _Bucket(n, clock) for n in limits]
        self._turn = asyncio.Lock()

    async def wait(self, tokens: float = 0) -> None:
        """Return when one request of so many tokens may be sent; first come, first served."""
        if not any(self._buckets):
            return
        async with self._turn:
            for bucket, amount in zip(self._buckets, (1.0, float(tokens))):
                if bucket is not None:
                    while (pause := bucket.missing(amount)) > 0:
                        await asyncio.sleep(pause)
                    bucket.take(amount)

    def settle(self, expected: float, used: float) -> None:
        """Correct the tokens of a request when the server has said how many there were."""
        bucket = self._buckets[1]
        if bucket is not None:
            bucket.take(used - expected)


class _Bucket:
    def __init__(self, limit: float, clock: Callable[[], float]) -> None:
        self._size = max(limit / 10, 1.0)
        self._per_second = max(limit - self._size, limit / 2) / 60
        self._clock = clock
        self._level = self._size
        self._at = clock()

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._size, self._level + (now - self._at) * self._per_second)
        self._at = now

    def missing(self, amount: float) -> float:
        """Return the seconds until ``amount``, or a full bucket, is there."""
        self._fill()
        lack = min(amount, self._size) - self._level
        # Rounding must not leave a lack that no further wait would fill.
        return 0.0 if lack <= 1e-9 * self._size else lack / self._per_second

    def take(self, amount: float) -> None:
        self._fill()
        self._level = min(self._size, self._level - amount)
