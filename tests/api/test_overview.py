"""The answer that home pages are drawn from."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.api.hubs import DAY, HOUR, MINUTE, Hub
from understudy.clock import parse_iso
from understudy.coordinator.nouns import Period, Progress
from understudy.hub import periods
from understudy.wire.answers.overview import PROGRESS_CHARS_MAX

LATE, DOWN = 180_000, 300_000


def overview(hub: Hub) -> Any:
    return hub.get("/api/overview").of(200)


def periods_of(hub: Hub, daemon_id: str = "mini") -> list[tuple[str, int]]:
    """Its states, each with how long it lasted, in ms."""
    (found,) = [row for row in overview(hub)["daemons"] if row["daemonId"] == daemon_id]
    assert all(one["toAt"] == other["fromAt"] for one, other in pairwise(found["periods"]))
    return [(row["state"], parse_iso(row["toAt"]) - parse_iso(row["fromAt"])) for row in found["periods"]]


def test_a_daemon_that_died_and_came_back_has_a_period_of_each_state(hub: Hub) -> None:
    hub.beat(intervalSec=10).of(200)
    hub.advance(DOWN + MINUTE)
    hub.beat(intervalSec=10).of(200)
    hub.advance(1_000)
    assert periods_of(hub) == [("healthy", LATE), ("late", DOWN - LATE), ("down", MINUTE), ("healthy", 1_000)]


@pytest.mark.sqlite
def test_the_hubs_own_absence_is_unknown_for_every_daemon(hub: Hub) -> None:
    for name in ("mini", "other"):
        hub.beat(name, machine=name, intervalSec=10).of(200)
    hub.advance(10_000)
    hub.freeze(HOUR)
    hub.advance(1_000)
    for name in ("mini", "other"):
        assert [state for state, _ in periods_of(hub, name)] == ["healthy", "unknown", "healthy"]
        assert HOUR <= periods_of(hub, name)[1][1] < HOUR + 1_000


@pytest.mark.sqlite
def test_periods_reach_back_a_day(hub: Hub) -> None:
    hub.beat(intervalSec=10).of(200)
    hub.clock.advance(DAY + HOUR)  # with nobody there
    hub.advance(1)
    seen = overview(hub)
    assert parse_iso(seen["at"]) - parse_iso(seen["periodsSince"]) == DAY
    assert sum(length for _, length in periods_of(hub)) == DAY


def test_of_many_gaps_the_longest_are_shown(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periods, "GAPS_OF_ALL_MAX", 2)
    hub.beat(intervalSec=10).of(200)
    at = hub.now
    gaps = [Period("", at + n * 100, "unknown", at + n * 100 + 10 * n) for n in range(1, 6)]
    hub.store.transaction(lambda tx: tx.save_many(gaps))
    hub.advance(1_000)
    assert [length for state, length in periods_of(hub) if state == "unknown"] == [40, 50]


def test_open_incidents_are_those_of_daemons_that_are_silent_now(hub: Hub) -> None:
    hub.beat(intervalSec=10).of(200)
    hub.advance(LATE)
    (incident,) = overview(hub)["openIncidents"]
    assert (incident["daemonId"], incident["state"]) == ("mini", "late")
    hub.beat(intervalSec=10).of(200)
    assert overview(hub)["openIncidents"] == []


def test_the_queue_counts_what_waits_whatever_for_and_what_is_leased(hub: Hub) -> None:
    hub.enqueue("a")
    hub.advance(5_000)
    hub.enqueue("b")
    hub.enqueue("c", delaySec=3_600)
    hub.enqueue("d", priority="critical")
    hub.lease()
    assert overview(hub)["queue"] == {"waiting": 3, "leased": 1, "oldestSec": 5}


def test_an_empty_hub_has_an_empty_overview(hub: Hub) -> None:
    seen = overview(hub)
    assert [seen[key] for key in ("daemons", "runs", "openIncidents")] == [[], [], []]
    assert seen["queue"] == {"waiting": 0, "leased": 0, "oldestSec": 0}
    assert seen["takeover"]["mode"] == "off"


@pytest.mark.parametrize("chars", [10, PROGRESS_CHARS_MAX + 1])
def test_what_runs_is_shown_with_its_progress_unless_that_is_long(hub: Hub, chars: int) -> None:
    hub.beat().of(200)
    hub.enqueue("a")
    lease = hub.daemon_lease()
    progress = {"text": "x" * chars}
    hub.post("/api/queue/a/renew", {"workerId": "mini", "token": lease["token"], "progress": progress}).of(200)
    (run,) = overview(hub)["runs"]
    assert (run["taskId"], run["daemonId"]) == ("a", "mini")
    assert run.get("progress") == (progress if chars < 100 else None)


def test_progress_of_an_earlier_attempt_is_not_that_of_this_one(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub()
    hub.enqueue("a")
    lease = hub.lease()
    hub.store.transaction(lambda tx: tx.save_many([Progress("a", lease["token"] - 1, hub.now, '{"text":"old"}')]))
    (run,) = overview(hub)["runs"]
    assert "progress" not in run
    assert "daemonId" not in run


def test_numbers_are_of_a_day_or_a_month(hub: Hub) -> None:
    assert hub.get("/api/numbers").of(200) == hub.get("/api/numbers?span=day").of(200)
    assert hub.get("/api/numbers?span=month").of(200)["bucketSec"] == 6 * 3_600
    assert hub.get("/api/numbers?span=year").of(400)["details"] == ["span: Expected one of day, month"]


def test_requests_heartbeats_and_commits_of_a_minute_are_in_the_numbers(hub: Hub) -> None:
    hub.beat(intervalSec=10).of(200)
    hub.get("/api/queue").of(200)
    hub.advance(MINUTE + 1_000)
    found = [bucket for bucket in hub.get("/api/numbers").of(200)["buckets"] if "beats" in bucket]
    assert sum(bucket["beats"] for bucket in found) == 1
    assert sum(bucket["requests"] for bucket in found) >= 2
    assert all(bucket["commits"] and bucket["commitMaxMs"] >= bucket["commitMeanMs"] for bucket in found)
