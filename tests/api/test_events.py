"""Section 3 and 4: the event log as a list and as a stream."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.hubs import HOUR, MINUTE, Hub
from tests.api.wire import ADMIN, Stream, at
from tests.waiting import eventually
from understudy.api import streams as streams_module
from understudy.api.endpoint import Request
from understudy.api.streams import stream_events
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.keys import Caller
from understudy.wire.tasks import EnqueueBody


def listed(hub: Hub, query: str = "") -> Any:
    return hub.get(f"/api/events{query}").of(200)


def names(hub: Hub, query: str = "") -> list[str]:
    return [event["name"] for event in listed(hub, query)["events"]]


@pytest.fixture
def streams(hub: Hub) -> Iterator[Callable[..., Stream]]:
    """Opens streams, closes them."""
    opened: list[Stream] = []

    def follow(query: str = "", **more: Any) -> Stream:
        opened.append(Stream(hub.port, f"/api/events?follow=1{query}", **more))
        return opened[-1]

    yield follow
    for stream in opened:
        stream.close()


# ---- the list


def test_an_event_has_the_promised_shape(hub: Hub) -> None:
    task_id = hub.enqueue()
    event = listed(hub)["events"][-1]
    assert event.keys() == {"id", "at", "level", "name", "component", "message", "fields"}
    assert isinstance(event["id"], int)
    assert at(event["at"]) == hub.now
    assert (event["level"], event["name"]) == ("info", "task.queued")
    assert event["fields"]["taskId"] == task_id
    assert event["component"]
    assert task_id in event["message"]


def test_events_are_listed_newest_last_and_paged_backwards(hub: Hub) -> None:
    ids = [hub.enqueue() for _ in range(25)]
    seen: list[str] = []
    query = "?limit=10&search=task.queued"
    cursors = []
    for _ in range(3):
        page = listed(hub, query)
        seen = [event["fields"]["taskId"] for event in page["events"]] + seen
        cursors.append(page.get("next"))
        query = f"?limit=10&search=task.queued&cursor={page.get('next')}"
    assert seen == ids
    assert cursors[2] is None
    assert all(cursors[:2])


def test_a_hundred_events_are_shown_unless_asked(hub: Hub) -> None:
    hub.post("/api/queue/batch", {"tasks": [{"content": "x"}] * 200}).of(200)
    assert len(listed(hub)["events"]) == 100
    assert len(listed(hub, "?limit=1")["events"]) == 1
    assert len(listed(hub, "?limit=1000")["events"]) == 201


@pytest.mark.sqlite
def test_events_are_found_by_any_of_their_texts_in_any_case(hub: Hub) -> None:
    hub.beat("Mac-Mini").of(200)
    hub.advance(10 * MINUTE)
    assert names(hub, "?search=CRITICAL") == ["daemon.down"]
    assert names(hub, "?search=critical") == ["daemon.down"]
    assert names(hub, "?search=daemon.late") == ["daemon.late"]
    assert {"daemon.late", "daemon.down"} <= set(names(hub, "?search=mac-mini"))
    assert "daemon.late" in names(hub, "?search=heartbeat%20delayed")
    assert "daemon.late" in names(hub, "?search=lastHeartbeat")
    assert names(hub, "?search=nothing%20of%20the%20kind") == []
    assert names(hub, "?search=%25") == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("critical", {"daemon.down"}),
        ("warning", {"daemon.down", "daemon.late"}),
        ("info", {"daemon.down", "daemon.late", "hub.started"}),
    ],
)
def test_a_level_shows_what_is_at_least_that_grave(hub: Hub, level: str, shown: set[str]) -> None:
    hub.beat().of(200)
    hub.advance(10 * MINUTE)
    found = set(names(hub, f"?level={level}"))
    assert shown <= found
    assert (found == shown) or level == "info"
    assert "alarm.triggered" in names(hub, "?level=debug")


def test_since_shows_what_was_decided_from_then_on(hub: Hub) -> None:
    hub.enqueue("before")
    hub.clock.advance(1)
    since = "2026-02-02T02:40:00.001Z"
    assert at(since) == hub.now
    hub.enqueue("after")
    assert [event["fields"]["taskId"] for event in listed(hub, f"?since={since}")["events"]] == ["after"]


def test_lines_too_frequent_to_keep_are_shown_only_when_searched_for_or_at_debug(hub: Hub) -> None:
    hub.beat().of(200)
    assert "heartbeat.recorded" not in names(hub)
    assert "heartbeat.recorded" not in names(hub, "?level=info")
    searched = listed(hub, "?search=heartbeat")["events"]
    assert {event["component"] for event in searched if event["message"] == "Heartbeat recorded"} == {
        "Queue API",
        "TaskCoordinator",
    }
    assert "heartbeat.recorded" in names(hub, "?level=debug")
    hub.advance(10_000)
    assert "alarm.triggered" in names(hub, "?search=alarm")


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_pages_with_such_lines_leave_out_nothing_that_is_stored(hub: Hub, limit: int) -> None:
    ids = []
    for _ in range(12):
        ids.append(hub.enqueue())
        for _ in range(3):
            hub.beat().of(200)
            hub.clock.advance(1)
    seen: list[str] = []
    live = 0
    cursor, query = "", f"?limit={limit}&level=debug"
    while cursor is not None:
        page = listed(hub, f"{query}&cursor={cursor}" if cursor else query)
        assert len(page["events"]) <= limit
        live += sum("live" in event for event in page["events"])
        seen = [event["fields"]["taskId"] for event in page["events"] if event["name"] == "task.queued"] + seen
        cursor = page.get("next")
    assert seen == ids
    assert live or limit == 1


def test_such_lines_have_a_summary_each_once_a_minute(hub: Hub) -> None:
    for _ in range(30):
        hub.beat().of(200)
        hub.advance(10_000)
    for name in ("heartbeat.recorded", "alarm.triggered"):
        summaries = [event for event in listed(hub, "?limit=1000&level=info")["events"] if event["name"] == name]
        assert 4 <= len(summaries) <= 6, name
        assert all(event["level"] == "info" for event in summaries)


def test_such_lines_are_not_in_the_next_hubs_log(start_hub: Callable[..., Hub], tmp_path: Path) -> None:
    first = start_hub(path=tmp_path / "hub.db")
    first.beat().of(200)
    first.begin_stop().result(60)
    second = start_hub(path=tmp_path / "hub.db", clock=first.clock)
    assert "heartbeat.recorded" not in names(second, "?search=heartbeat")
    assert names(second).count("hub.started") == 2


@pytest.mark.sqlite
def test_the_process_log_keeps_the_lines_that_operators_search_for(hub: Hub) -> None:
    hub.beat().of(200)
    hub.advance(10 * MINUTE)
    log = hub.log.getvalue()
    for line in (
        "[Queue API] Heartbeat recorded",
        "[TaskCoordinator] Heartbeat recorded",
        "[TaskCoordinator] Alarm triggered",
        "[TaskCoordinator] Warning: Daemon heartbeat delayed",
        "[TaskCoordinator] CRITICAL: daemon mini unresponsive",
    ):
        assert line in log
    for line in log.splitlines():
        if "delayed" in line or "unresponsive" in line:
            assert "lastHeartbeat=" in line
            assert "elapsedSec=" in line


# ---- the stream


def test_a_stream_shows_events_as_they_are_committed(hub: Hub, streams: Callable[..., Stream]) -> None:
    stream = streams()
    assert stream.response.status == 200
    assert stream.response.getheader("content-type", "").startswith("text/event-stream")
    stream.until("hub.started")
    for _ in range(3):
        task_id = hub.enqueue()
        event_id, event = stream.until("task.queued")
        assert event["fields"]["taskId"] == task_id
        assert event_id == str(event["id"])
        assert event == listed(hub)["events"][-1]


def test_a_stream_is_resumed_where_it_was_cut_without_gap_or_repeat(hub: Hub, streams: Callable[..., Stream]) -> None:
    first = streams()
    hub.enqueue("t1")
    event_id, _ = first.until("task.queued")
    first.close()
    hub.post("/api/queue/batch", {"tasks": [{"content": "x"}] * 700}).of(200)
    resumed = streams(last_id=event_id)
    hub.enqueue("the-last")
    seen = []
    while not seen or seen[-1][1] != "the-last":
        name, event = resumed.next()
        seen.append((name, event["fields"]["taskId"]))
    assert len(seen) == 701
    assert [int(name) for name, _ in seen] == sorted({int(name) for name, _ in seen})


def test_what_is_committed_while_a_stream_begins_is_shown_once(hub: Hub, streams: Callable[..., Stream]) -> None:
    """The commit falls between the follower's place and the page that it reads first."""
    view = hub.runtime.view

    async def late_view(show: Any, *line: Any, **more: Any) -> Any:
        hub.runtime.view = view  # type: ignore[method-assign]
        enqueue = EnqueueTasks([EnqueueBody(content="x", id="just-now")], ["unused"], "somebody")
        hub.runtime._after_commit(hub.runtime.writer.engine.run([enqueue]))
        return await view(show)

    hub.runtime.view = late_view  # type: ignore[method-assign,assignment]
    stream = streams()
    stream.until("hub.started")
    assert stream.next()[1]["fields"]["taskId"] == "just-now"
    hub.enqueue("after")
    assert stream.next()[1]["fields"]["taskId"] == "after"


def test_a_stream_goes_on_after_a_restart_of_the_hub(start_hub: Callable[..., Hub], tmp_path: Path) -> None:
    hub = start_hub(path=tmp_path / "hub.db")
    stream = Stream(hub.port, "/api/events?follow=1")
    hub.enqueue("before")
    event_id, _ = stream.until("task.queued")
    hub.begin_stop().result(60)
    with pytest.raises(EOFError):
        stream.until("nothing")
    stream.close()
    again = start_hub(path=tmp_path / "hub.db", clock=hub.clock)
    again.enqueue("after")
    resumed = Stream(again.port, "/api/events?follow=1", last_id=event_id)
    assert resumed.next()[1]["name"] == "hub.started"
    assert resumed.next()[1]["fields"]["taskId"] == "after"
    resumed.close()


@pytest.mark.sqlite
class Listener:
    """A client of a stream as the hub's own code sees it, with a long log before it; `happens` at its first event."""

    def __init__(self, hub: Hub, happens: str) -> None:
        self.hub = hub
        self.happens = happens
        self.is_welcome = True
        self.gone = asyncio.Event()
        self.events = 0
        self.end = b""

    async def listen(self) -> None:
        caller = Caller("k", frozenset({"read"}))
        request = Request(caller, {}, {"follow": "1"}, b"", self.hub.now, self.hub.runtime.ids)
        scope = {"headers": [(b"last-event-id", b"1")]}
        async with asyncio.timeout(60):
            await stream_events(self.hub.runtime, request, lambda: self.is_welcome, scope, self.receive, self.send)

    async def receive(self) -> dict[str, str]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        body = message.get("body", b"")
        if not message.get("more_body"):
            self.end = body
        if b"data: " in body:
            self.events += 1
            match self.happens:
                case "it hangs up":
                    self.gone.set()
                case "its key is revoked":
                    self.is_welcome = False
                case "the hub stops":
                    self.hub.runtime.feed.close()


@pytest.mark.parametrize("happens", ["it hangs up", "its key is revoked", "the hub stops"])
def test_a_stream_that_is_still_catching_up_ends_as_soon_as_any_other(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, happens: str
) -> None:
    """Its log may have millions of events: whoever went away would hold a place, and be read for, all that time."""
    monkeypatch.setattr(streams_module, "PAGE", 2)
    for _ in range(20):
        hub.enqueue()
    listener = Listener(hub, happens)
    hub.thread.run(listener.listen())
    assert listener.events <= 4
    assert (b"this hub is stopping" in listener.end) == (happens == "the hub stops")


def test_a_stream_shows_only_what_was_asked_for(hub: Hub, streams: Callable[..., Stream]) -> None:
    hub.beat().of(200)
    stream = streams("&level=warning")
    hub.enqueue()
    hub.advance(180_000)
    assert stream.next()[1]["name"] == "daemon.late"
    searching = streams("&search=t77")
    hub.enqueue("t76")
    hub.enqueue("t77")
    assert searching.next()[1]["fields"]["taskId"] == "t77"


def test_a_stream_shows_frequent_lines_only_to_those_who_ask(hub: Hub, streams: Callable[..., Stream]) -> None:
    plain, searching, debug = streams(), streams("&search=heartbeat"), streams("&level=debug")
    eventually(lambda: len(hub.runtime.feed.followers) == 3)
    hub.beat().of(200)
    event_id, event = searching.until("heartbeat.recorded")
    assert event_id == "", "what is not kept cannot be resumed from"
    assert event["fields"]["daemonId"] == "mini"
    debug.until("heartbeat.recorded")
    task_id = hub.enqueue()
    seen = []
    while not seen or seen[-1]["fields"].get("taskId") != task_id:
        seen.append(plain.next()[1])
    assert "heartbeat.recorded" not in [event["name"] for event in seen]


# ---- which events there are

STORY = [
    "daemon.registered",
    "daemon.late",
    "daemon.down",
    "daemon.recovered",
    "daemon.stuck",
    "daemon.asleep",
    "daemon.paused",
    "daemon.stopped",
    "daemon.cloned",
    "lease.expired",
    "lease.released",
    "lease.lost",
    "task.queued",
    "task.claimed",
    "task.done",
    "task.failed",
    "task.retrying",
    "task.cancelled",
    "task.waiting",
    "hub.started",
    "hub.gap",
]


@pytest.mark.sqlite
def test_every_promised_event_is_told_when_it_happens(hub: Hub) -> None:
    old = {"daemonId": "old", "version": "1", "capabilities": ["x"], "pollInterval": 15000}
    instant = "2026-02-02T02:40:00.000Z"
    hub.post("/api/daemon/register", {**old, "registeredAt": instant}).of(201)
    unhealthy = {"daemonId": "old", "status": "unhealthy", "tasksProcessed": 0, "lastHeartbeat": instant}
    hub.post("/api/daemon/heartbeat", unhealthy).of(200)
    hub.beat("sleeper").of(200)
    window = [{"from": "00:00", "to": "23:59"}]
    hub.put("/api/daemons/sleeper/settings", {"expectedSleep": window}, key=ADMIN).of(200)
    hub.beat("paused").of(200)
    hub.post("/api/daemons/paused/pause", key=ADMIN).of(200)
    hub.beat("stopping", state="stopping").of(200)
    hub.beat().of(200)
    hub.beat(machine="another").of(409)
    hub.enqueue("t", maxAttempts=2)
    hub.lease()
    hub.advance(30_000)
    lease = hub.lease()
    hub.post("/api/queue/t/release", {"token": lease["token"]}).of(200)
    hub.beat().of(200)
    lease = hub.daemon_lease(onLoss="wait")
    running = [{"taskId": "t", "token": lease["token"]}]
    hub.beat(running=running).of(200)
    hub.beat(running=[]).of(200)
    lease = hub.daemon_lease()
    hub.result("t", token=lease["token"], success=False).of(200)
    hub.advance(15_000)
    hub.result("t", token=hub.daemon_lease()["token"], success=False).of(200)
    hub.post("/api/tasks/t/retry").of(200)
    hub.result("t", token=hub.daemon_lease()["token"], success=True).of(200)
    hub.post(f"/api/tasks/{hub.enqueue()}/cancel").of(200)
    hub.advance(HOUR)
    hub.beat().of(200)
    hub.freeze(MINUTE)
    told = names(hub, "?limit=1000")
    assert [name for name in STORY if name not in told] == []


@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["daemon.late", "daemon.down"])
def test_a_silence_is_told_with_its_figures(hub: Hub, name: str) -> None:
    beat_at = hub.now
    hub.beat().of(200)
    hub.advance(HOUR)
    (event,) = hub.events(name)
    limit_s = 180 if name == "daemon.late" else 300
    fields = event["fields"]
    assert fields["daemonId"] == "mini"
    assert at(fields["lastHeartbeat"]) == beat_at
    assert fields["elapsedSec"] == limit_s
    assert at(fields["deadlineAt"]) == at(event["at"]) == beat_at + limit_s * 1000
    assert event["component"] == "TaskCoordinator"


def test_a_gap_is_told_with_its_ends(hub: Hub) -> None:
    hub.beat().of(200)
    hub.advance(10_000)
    started = hub.now
    hub.freeze(MINUTE)
    (gap,) = hub.events("hub.gap")
    assert started - 1000 <= at(gap["fields"]["fromAt"]) <= started
    assert at(gap["fields"]["toAt"]) == hub.now


# ---- starts


def test_every_start_of_a_hub_is_a_deployment(start_hub: Callable[..., Hub], tmp_path: Path) -> None:
    clock = None
    for _ in range(3):
        hub = start_hub(path=tmp_path / "hub.db", **({"clock": clock} if clock else {}))
        clock = hub.clock
        started_at = hub.now
        shown = hub.get("/api/deployments").of(200)["deployments"]
        hub.begin_stop().result(60)
        clock.advance(1000)
    assert len(shown) == 3
    assert len({uuid.UUID(row["versionId"]) for row in shown}) == 3
    newest = shown[0]
    assert newest.keys() == {"versionId", "createdAt", "packageVersion", "configFingerprint", "host", "hub", "running"}
    assert [(row["running"], "endedAt" in row) for row in shown] == [(True, False), (False, True), (False, True)]
    assert [at(row["createdAt"]) for row in shown] == [started_at, started_at - 1000, started_at - 2000]
    assert newest["packageVersion"] == "9.9.9"
    assert newest["host"] == "host-of-the-tests"
