"""The object's entry, with doubles of the classes that exist in a Worker only."""

from __future__ import annotations

import asyncio
import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from understudy.clock import SystemClock
from understudy.errors import ConfigError


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Any:
    workers: Any = ModuleType("workers")
    workers.DurableObject = workers.WorkerEntrypoint = object
    monkeypatch.setitem(sys.modules, "workers", workers)
    monkeypatch.delitem(sys.modules, "understudy.cloudflare.entry", raising=False)
    yield importlib.import_module("understudy.cloudflare.entry")
    sys.modules.pop("understudy.cloudflare.entry", None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("odd"), "[CRITICAL] [Hub] Internal error: KeyError: 'odd'"),
        (ConfigError("UNDERSTUDY_LATE_AFTER: odd"), "[CRITICAL] [Hub] UNDERSTUDY_LATE_AFTER: odd"),
    ],
)
def test_an_alarm_that_fails_is_set_again_and_says_why(
    entry: Any, capsys: pytest.CaptureFixture[str], error: Exception, words: str
) -> None:
    alarms: list[float] = []

    async def set_alarm(at_ms: float) -> None:
        alarms.append(at_ms)

    async def ring() -> None:
        raise error

    place = entry.TaskCoordinator(
        SimpleNamespace(_ctx=SimpleNamespace(storage=SimpleNamespace(setAlarm=set_alarm))), SimpleNamespace(_env=None)
    )
    place._place = SimpleNamespace(ring=ring)
    before_ms = SystemClock().now_ms()
    asyncio.run(place.alarm())
    assert capsys.readouterr().err == f"{words}\n"
    (at_ms,) = alarms
    assert 20_000 < at_ms - before_ms < 60_000
