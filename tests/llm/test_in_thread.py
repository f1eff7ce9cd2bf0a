from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator

import pytest

from recbole_darec.errors import DataError
from recbole_darec.llm.in_thread import iterate


class Stream:
    """Counts to a number, and notes what becomes of it."""

    def __init__(self, end: int, failure: Exception | None = None) -> None:
        self.end = end
        self.failure = failure
        self.given = 0
        self.closed = False
        self.cancelled: list[str] = []

    async def numbers(self) -> AsyncGenerator[int, None]:
        beside = asyncio.ensure_future(self._wait("beside"))
        try:
            for number in range(self.end):
                await asyncio.sleep(0)
                self.given += 1
                yield number
            if self.failure is not None:
                raise self.failure
            if self.end == 3:
                await self._wait("stream")
        finally:
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)
            self.closed = True

    async def _wait(self, name: str) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "event loop"]


def test_all_items_come_in_order() -> None:
    stream = Stream(200)
    assert list(iterate(stream.numbers())) == list(range(200))
    assert stream.closed
    assert loops() == []


def test_an_empty_stream_ends_at_once() -> None:
    assert list(iterate(Stream(0).numbers())) == []


def test_an_error_comes_after_the_items_before_it() -> None:
    stream = Stream(2, DataError("out of numbers"))
    items = iterate(stream.numbers())
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(DataError, match="out of numbers"):
        next(items)
    assert stream.closed
    assert loops() == []


def test_the_stream_is_at_most_one_item_ahead() -> None:
    stream = Stream(100)
    items = iterate(stream.numbers())
    for taken in range(1, 40):
        next(items)
        assert stream.given <= taken + 1
    items.close()


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_who_stops_early_waits_until_the_stream_is_closed() -> None:
    stream = Stream(100)
    items = iterate(stream.numbers())
    next(items)
    items.close()
    assert stream.closed
    assert stream.cancelled == ["beside"]
    assert loops() == []


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_while_waiting_cancels_the_stream() -> None:
    stream = Stream(3)
    items = iterate(stream.numbers())
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    main = threading.get_ident()
    strike = threading.Timer(0.1, lambda: signal.pthread_kill(main, signal.SIGINT))
    strike.start()
    with pytest.raises(KeyboardInterrupt):
        next(items)
    strike.join()
    assert stream.closed
    assert sorted(stream.cancelled) == ["beside", "stream"]
    assert loops() == []
