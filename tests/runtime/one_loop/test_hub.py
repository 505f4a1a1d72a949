"""A hub on one loop tells its channels, steps in, pings, and goes on where an earlier life was forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.hubs import ENVIRONMENT, MINUTE, LoopThread
from tests.runtime.one_loop.hubs import OneLoop
from understudy.config.policy import hub_inputs
from understudy.config.table import Settings
from understudy.hub import alarm_loop
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer, OutboundAnswer

RECEIVER, CLAUDE, PING = "http://receiver.test/in", "http://claude.test", "http://watched.test/ping"
SETTINGS: dict[str, Any] = {
    "webhook_url": RECEIVER,
    "watchdog_url": PING,
    "takeover": "answer",
    "takeover_after_ms": 60_000,
    "anthropic_api_key": "k" * 20,
    "anthropic_base_url": CLAUDE,
}


@pytest.fixture
def start(loop_thread: LoopThread, tmp_path: Path) -> Iterator[Callable[..., OneLoop]]:
    """Starts hubs of these settings on one store, one after the other."""
    started: list[OneLoop] = []

    def start_one(version: str = "9.9.9", **more: Any) -> OneLoop:
        inputs = hub_inputs(Settings(**{**SETTINGS, **more}), {}, tmp_path, ENVIRONMENT)
        kind = type("Wired", (OneLoop,), {"given": inputs, "version": version})
        clock = {"clock": started[-1].clock} if started else {}
        started.append(kind(loop_thread, path=tmp_path / "hub.db", **clock))
        return started[-1]

    yield start_one
    for hub in started:
        if not hub.is_stopped:
            hub.begin_stop().result(30)


def world(request: HttpRequest) -> OutboundAnswer:
    """Everybody is there; Claude answers each question with the same words."""
    if not request.url.startswith(CLAUDE):
        return HttpAnswer(204)
    usage = {"input_tokens": 10, "output_tokens": 5}
    message = {"content": [{"type": "text", "text": "in their place"}], "stop_reason": "end_turn", "usage": usage}
    return HttpAnswer(200, {}, json.dumps(message).encode())


def sent_to(hub: OneLoop, url: str) -> list[Any]:
    return [request for request in hub.place.asked if request.url.startswith(url)]


def told(hub: OneLoop) -> list[str]:
    return [f"{json.loads(request.body)}" for request in sent_to(hub, RECEIVER)]


def keys(hub: OneLoop) -> set[str]:
    """The keys by which a receiver knows a repetition."""
    return {dict(request.headers)["x-understudy-delivery"] for request in sent_to(hub, RECEIVER)}


def test_late_down_takeover_recovered_with_a_notice_of_each(start: Callable[..., OneLoop]) -> None:
    hub = start()
    hub.place.answer = world
    hub.beat().of(200)
    text = hub.enqueue(needs=[])
    machine = hub.enqueue()
    hub.advance(3 * MINUTE - 1)
    assert told(hub) == []
    hub.advance(1)
    assert len(told(hub)) == 1
    hub.advance(2 * MINUTE)
    assert len(told(hub)) >= 2
    assert "mini" in told(hub)[1]
    hub.advance(2 * MINUTE)
    assert hub.get(f"/api/result/{text}").of(200)["output"].endswith("in their place")
    assert len(sent_to(hub, CLAUDE)) == 1
    assert hub.task(machine)["status"] == "pending"
    before = len(told(hub))
    hub.beat().of(200)
    hub.advance(1000)
    assert len(told(hub)) > before
    assert [event["name"] for event in hub.events("daemon.late", "daemon.down", "daemon.recovered")] == [
        "daemon.late",
        "daemon.down",
        "daemon.recovered",
    ]
    assert sent_to(hub, PING)


def test_a_receiver_that_fails_gets_it_later(start: Callable[..., OneLoop]) -> None:
    hub = start()
    hub.beat().of(200)
    hub.advance(3 * MINUTE)
    (key,) = keys(hub)
    hub.place.answer = world
    hub.advance(2 * MINUTE)
    notices = hub.get("/api/notices", key="admin-key-of-the-tests").of(200)["notices"]
    assert [notice["state"] for notice in notices if notice["id"] == key] == ["sent"]


def test_what_an_earlier_life_was_sending_is_sent_again(start: Callable[..., OneLoop]) -> None:
    first = start()
    first.place.answer = lambda _: NoAnswer("cut", was_sent=True)
    first.beat().of(200)
    first.advance(3 * MINUTE)
    (key,) = keys(first)
    first.begin_stop().result(30)
    second = start()
    second.place.answer = world
    second.advance(MINUTE)
    assert keys(second) == {key}


def test_only_another_hub_is_written_down_as_a_start(start: Callable[..., OneLoop]) -> None:
    for version in ("1.0.0", "1.0.0", "1.0.1"):
        hub = start(version)
        hub.advance(1000)
        hub.begin_stop().result(30)
    found = start("1.0.1").get("/api/deployments").of(200)["deployments"]
    assert [one["packageVersion"] for one in found] == ["1.0.1", "1.0.0"]


def test_a_hub_that_is_started_often_removes_what_is_old_no_more_often(
    start: Callable[..., OneLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[int] = []
    monkeypatch.setattr(alarm_loop, "purge_plan", lambda _, now_ms: planned.append(now_ms) or [])
    for _ in range(4):
        hub = start()
        hub.advance(4 * MINUTE)
        hub.begin_stop().result(30)
    assert len(planned) == 2  # at the first start, whose store never was heard, and in the next ten minutes
