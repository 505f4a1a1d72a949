"""Guessing keys: one more wrong key from an address waits for its answer, a right one never does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.api.hubs import Hub
from tests.api.wire import OWNER
from understudy.api import auth
from understudy.api.auth import HELD_MAX, GuessingError, Patience, RateLimit
from understudy.api.connections import address_of
from understudy.clock import ManualClock
from understudy.errors import TooManyRequestsError, UnauthorizedError


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long answers were kept back, without waiting for it. Only there: other hubs of this process sleep, too."""
    kept: list[float] = []
    real = asyncio.sleep

    async def sleep(delay_s: float) -> None:
        kept.append(delay_s)
        await real(0)

    monkeypatch.setattr(auth, "asyncio", SimpleNamespace(sleep=sleep))
    return kept


def test_guesses_are_held_up_and_a_right_key_is_not(start_hub: Callable[..., Hub], pauses: list[float]) -> None:
    hub = start_hub()
    for _ in range(20):
        hub.get("/api/queue", key="guess").of(401)
    assert pauses == []
    for path in ("/api/queue", "/unknown", "/api/tasks"):
        hub.get(path, key="guess").of(429)
    assert pauses == [1.0] * 3
    hub.get("/api/queue", key=OWNER).of(200)
    hub.get("/api/queue", key=None).of(401)
    with pytest.raises(AssertionError, match="Too many unknown links"):  # a page, not the JSON that the client expects
        hub.get("/l/usl_guess", key=None)
    assert pauses == [1.0] * 4  # a link is guessed like a key


def test_only_so_many_answers_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> tuple[int, int]:
        patience, gate = Patience(), asyncio.Event()

        async def sleep(_: float) -> None:
            await gate.wait()

        monkeypatch.setattr(auth, "asyncio", SimpleNamespace(sleep=sleep))
        held = [asyncio.ensure_future(patience.hold(GuessingError(1))) for _ in range(HELD_MAX + 50)]
        for _ in range(3):
            await asyncio.wait(held, timeout=0)
        at_once = sum(task.done() for task in held)
        gate.set()
        await asyncio.gather(*held)
        gate.clear()
        again = asyncio.ensure_future(patience.hold(GuessingError(1)))
        await asyncio.wait([again], timeout=0)
        is_held = int(not again.done())
        again.cancel()
        return at_once, is_held

    assert asyncio.run(play()) == (50, 1)


def test_what_is_no_guess_is_never_held(pauses: list[float]) -> None:
    for error in (UnauthorizedError(), TooManyRequestsError(1)):
        asyncio.run(Patience().hold(error))
    assert pauses == []


def test_whoever_has_a_network_has_one_address() -> None:
    limit = RateLimit(ManualClock(), 1, 1)
    for number in range(20):
        with pytest.raises(UnauthorizedError):
            limit.wrong_key(address_of((f"2001:db8:1:2::{number:x}", 1)))
    with pytest.raises(GuessingError):
        limit.wrong_key(address_of(("2001:db8:1:2:ffff::1", 1)))
    with pytest.raises(UnauthorizedError):
        limit.wrong_key(address_of(("2001:db8:1:3::1", 1)))


def test_buckets_of_many_keys_are_forgotten_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "KEYS_MAX", 10)
    limit = RateLimit(ManualClock(), 1, 1)
    for nth in range(100):
        limit.take(f"key-{nth}")
    assert len(limit._buckets) <= 11
    with pytest.raises(TooManyRequestsError):
        limit.take("key-99")
