"""What runs in an event loop, for code that has none."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing, suppress
from typing import TypeVar

__all__ = ["iterate"]

_Item = TypeVar("_Item")


def iterate(stream: AsyncGenerator[_Item, None]) -> Iterator[_Item]:
    """Yield what an asynchronous generator yields, its event loop in a thread of its own.

    Ctrl-C is raised in the caller's thread alone: in the middle of the loop's own code it would
    leave connections half closed.  The stream goes on while the caller is busy, up to its next
    item.  When the caller stops, for whatever reason, what runs in the loop is cancelled and waited
    for, and the stream is closed.

    Raises:
        Exception: what the stream raises.
    """
    # Items in a tuple each, and last an error, or None for the end.
    passed: queue.SimpleQueue[tuple[_Item] | BaseException | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    taken: list[asyncio.Event] = []

    async def pump() -> None:
        taken.append(asyncio.Event())  # bound to its loop where it is made, before Python 3.10
        try:
            async for item in stream:
                taken[0].clear()
                passed.put((item,))
                await taken[0].wait()
        finally:
            await stream.aclose()

    def run() -> None:
        failure: BaseException | None = None
        try:
            with closing(loop):
                try:
                    loop.run_until_complete(pump())
                finally:
                    loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException as error:  # raised in the caller's thread, which waits for it
            failure = error
        passed.put(failure)

    def stop() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()

    thread = threading.Thread(target=run, name="event loop", daemon=True)
    thread.start()
    try:
        while True:
            found = passed.get()
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found[0]
            loop.call_soon_threadsafe(taken[0].set)
    finally:
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop)
        thread.join()
