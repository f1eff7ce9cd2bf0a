"""The rate limit, in virtual time: no minute sees more than it allows, however requests come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.errors import OptionError
from recbole_darec.llm.limits import RateLimit

from .virtual_time import run_virtually

MINUTE = 60.0


@dataclass(frozen=True)
class Passed:
    """A request that was let through: its number in the order of arrival, when, how large."""

    number: int
    at: float
    tokens: float


def let_through(
    arrivals: list[tuple[float, float]],
    requests: float | None = None,
    tokens: float | None = None,
    used: float = 1.0,
    answer_after: float = 5.0,
) -> list[Passed]:
    """Send (pause before it, tokens) one after the other; each takes ``used`` of its tokens."""

    async def run() -> list[Passed]:
        loop = asyncio.get_running_loop()
        limit = RateLimit(requests, tokens, clock=loop.time)
        passed: list[Passed] = []

        async def request(number: int, size: float) -> None:
            await limit.wait(size)
            passed.append(Passed(number, loop.time(), size))
            if used != 1.0:
                await asyncio.sleep(answer_after)
                limit.settle(size, used * size)

        tasks = []
        for number, (pause, size) in enumerate(arrivals):
            await asyncio.sleep(pause)
            tasks.append(asyncio.ensure_future(request(number, size)))
        await asyncio.gather(*tasks)
        return passed

    return run_virtually(run())


def fullest_minute(passed: list[Passed], tokens: bool) -> float:
    """The most that passes in any 60 seconds, both ends counted."""
    return max(
        sum(
            (other.tokens if tokens else 1)
            for other in passed
            if first.at <= other.at <= first.at + MINUTE - 1e-6
        )
        for first in passed
    )


pauses = st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 200))


@settings(max_examples=60)
@given(
    arrivals=st.lists(st.tuples(pauses, st.just(0.0)), min_size=1, max_size=60),
    limit=st.floats(1, 60),
)
def test_no_minute_has_more_requests(arrivals: list[tuple[float, float]], limit: float) -> None:
    passed = let_through(arrivals, requests=limit)
    assert fullest_minute(passed, tokens=False) <= limit


@settings(max_examples=100)
@given(data=st.data(), limit=st.floats(50, 2000))
def test_no_minute_has_more_tokens(data: st.DataObject, limit: float) -> None:
    """Requests of every size up to the limit itself, ten times what the bucket holds."""
    sizes = st.one_of(st.floats(0, limit / 10), st.floats(0, limit))
    arrivals = data.draw(st.lists(st.tuples(pauses, sizes), min_size=1, max_size=40))
    passed = let_through(arrivals, tokens=limit)
    assert fullest_minute(passed, tokens=True) <= limit * (1 + 1e-6)


@settings(max_examples=40)
@given(
    arrivals=st.lists(st.tuples(pauses, st.floats(0, 150)), min_size=1, max_size=40),
    requests=st.floats(1, 40),
    tokens=st.floats(200, 1500),
)
def test_both_limits_hold_at_once(
    arrivals: list[tuple[float, float]], requests: float, tokens: float
) -> None:
    passed = let_through(arrivals, requests, tokens)
    assert fullest_minute(passed, tokens=False) <= requests
    assert fullest_minute(passed, tokens=True) <= tokens * (1 + 1e-6)


@given(arrivals=st.lists(st.tuples(pauses, st.floats(0, 300)), min_size=1, max_size=30))
def test_first_come_first_served(arrivals: list[tuple[float, float]]) -> None:
    passed = let_through(arrivals, requests=30, tokens=500)
    assert [one.number for one in passed] == list(range(len(arrivals)))


def test_the_limit_is_used_up() -> None:
    """A limit that let nothing pass would keep every other promise here."""
    passed = let_through([(0.0, 10.0)] * 1000, requests=100)
    assert passed[-1].at == pytest.approx((1000 - 10) / 90 * MINUTE, rel=1e-6)
    passed = let_through([(0.0, 10.0)] * 1000, tokens=1000)
    assert passed[-1].at == pytest.approx((10_000 - 100) / 900 * MINUTE, rel=1e-6)


def test_the_first_tenth_passes_at_once() -> None:
    passed = let_through([(0.0, 0.0)] * 100, requests=100)
    assert [one.at for one in passed[:10]] == [0.0] * 10
    assert passed[10].at > 0


def test_without_limits_nothing_waits() -> None:
    assert {one.at for one in let_through([(0.0, 1e9)] * 50)} == {0.0}


def test_a_request_above_the_limit_is_alone_in_its_minute() -> None:
    passed = let_through([(0.0, 50.0), (0.0, 5000.0), (0.0, 50.0)], tokens=1000)
    before, huge, after = (one.at for one in passed)
    assert huge - before >= MINUTE
    assert after - huge >= MINUTE


def test_a_request_above_the_limit_passes_at_once_where_nothing_was_before() -> None:
    assert let_through([(0.0, 5000.0)], tokens=1000)[0].at == 0.0


def test_tokens_that_were_not_used_are_given_back() -> None:
    arrivals = [(0.1, 10.0)] * 400
    whole = let_through(arrivals, tokens=1000)
    half = let_through(arrivals, tokens=1000, used=0.5, answer_after=0.5)
    assert half[-1].at < 0.6 * whole[-1].at


def test_tokens_that_were_used_beyond_the_estimate_are_waited_for() -> None:
    arrivals = [(1.0, 50.0)] * 60
    whole = let_through(arrivals, tokens=1000)
    double = let_through(arrivals, tokens=1000, used=2.0, answer_after=0.5)
    assert double[-1].at > 1.8 * whole[-1].at


def test_what_is_given_back_never_fills_more_than_the_bucket() -> None:
    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        limit = RateLimit(tokens_per_minute=1000, clock=loop.time)
        limit.settle(1e6, 0.0)
        times = []
        for _ in range(20):
            await limit.wait(10)
            times.append(loop.time())
        return times

    times = run_virtually(run())
    assert times[9] == 0.0
    assert times[10] > 0.0


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
def test_a_limit_is_a_positive_number(name: str, limit: float) -> None:
    async def make() -> None:
        RateLimit(**{name: limit})

    with pytest.raises(OptionError, match=f"--{name.replace('_', '-')}"):
        run_virtually(make())
