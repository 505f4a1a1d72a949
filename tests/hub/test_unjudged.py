"""One bad row, or one bad detail, stops nothing: no alarm, no notice, no claim, no purge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.hub.desk import DOWN_MS, LATE_MS, Desk, beat, bench_with, live, rows
from tests.hub.test_batch import claim, enqueue
from tests.stores import write
from understudy.coordinator import health, leases
from understudy.coordinator.nouns import Daemon, Notice, Task
from understudy.coordinator.routes import Maintenance, Route
from understudy.coordinator.tasks import SET_ASIDE_MS
from understudy.hub.alarm import RingAlarm
from understudy.hub.outbox import SendTestNotice
from understudy.hub.task_commands import CommandTask
from understudy.notify.base import Message

UNKNOWN_ZONE = '[{"from":"00:00","to":"12:00","tz":"Mars/Base"}]'


def damage(bench: Any, noun: type, key: str, **fields: Any) -> None:
    def spoil(tx: Any) -> None:
        (row,) = tx.load_many(noun, [key])
        tx.save_many([replace(row, **fields)])

    bench.store.transaction(spoil)


@pytest.mark.parametrize("sleep", [UNKNOWN_ZONE, "no json", '[{"from":1}]'])
def test_a_daemon_whose_sleep_cannot_be_judged_is_alarmed_of_and_so_are_the_others(sleep) -> None:
    bench = bench_with()
    desk = Desk(bench)
    beat(bench, "bad")
    beat(bench, "good")
    damage(bench, Daemon, "bad", expected_sleep=sleep)
    live(bench, DOWN_MS + 60_000, desk)
    assert {"bad is late", "bad is down", "good is late", "good is down"} <= set(desk.titles)
    assert len(bench.events("hub.unjudged")) == 1
    assert sum("cannot be judged" in title for title in desk.titles) == 1


def test_a_row_that_fails_while_it_is_judged_is_told_once_and_the_others_are_judged(monkeypatch) -> None:
    bench = bench_with()
    desk = Desk(bench)
    for daemon in ("bad", "good"):
        beat(bench, daemon)
    real = health.rung

    def rung(daemon, *more):
        if daemon.id == "bad":
            raise ZeroDivisionError("of a later version")
        return real(daemon, *more)

    looked = []
    monkeypatch.setattr(health, "rung", lambda daemon, *more: looked.append(daemon.id) or rung(daemon, *more))
    live(bench, 5 * 60_000, desk)
    assert looked.count("bad") <= 6  # once a minute: the alarm does not ring for it all the time
    assert {"good is late", "good is down"} <= set(desk.titles)
    (told,) = bench.events("hub.unjudged")
    assert (told["id"], told["row"]) == ("bad", "daemon")
    monkeypatch.undo()
    live(bench, 2 * 60_000, desk)
    assert "bad is late" in desk.titles  # it was looked at again


def test_a_lease_that_cannot_be_expired_keeps_no_other_from_it(monkeypatch) -> None:
    bench = bench_with()
    bench.ask(enqueue("a"), enqueue("b"))
    bench.ask(claim("w", max=2))
    real = leases.rung

    def expire(task, *more):
        if task.id == "a":
            raise KeyError("a")
        return real(task, *more)

    monkeypatch.setattr(leases, "rung", expire)
    bench.pass_time(700_000)
    found = {row.id: row.status for row in bench.store.read(lambda r: r.load_many(Task, ["a", "b"]))}
    assert found == {"a": "leased", "b": "queued"}
    assert len(bench.events("hub.unjudged")) == 1


def test_needs_that_cannot_be_read_keep_nobody_from_the_rest_of_the_queue() -> None:
    bench = bench_with()
    bench.ask(enqueue("bad"), enqueue("good"))
    write(bench.store, "UPDATE task SET needs = 'no json' WHERE id = 'bad'")
    (got,) = bench.ask(claim("w", max=5))
    assert [item["task"]["id"] for item in got["tasks"]] == ["good"]


def an_hour_later(bench: Any) -> None:
    bench.clock.advance(SET_ASIDE_MS)
    bench.ask(RingAlarm())


@pytest.mark.parametrize("name", ["", "mini"])
def test_tasks_whose_content_cannot_be_read_stand_before_nobody_and_are_told_once(name) -> None:
    bench = bench_with()
    desk = Desk(bench)
    bench.ask(enqueue("bad"), enqueue("good"))
    write(bench.store, "UPDATE task_body SET spec = 'no json' WHERE task_id = 'bad'")
    if name:
        waits = "UPDATE task SET ready = 0, waiting_for = 'w' WHERE id = 'bad'"
        write(bench.store, waits)
    (first,) = bench.ask(claim("w", max=1))
    (then,) = bench.ask(claim("w", max=1))
    assert [found for answer in (first, then) if (found := answer.get("taskId"))] == ["good"]
    for _ in range(2):
        an_hour_later(bench)
        (later,) = bench.ask(claim("w", max=5))
        assert "bad" not in [item["task"]["id"] for item in later["tasks"]]
        desk.run()
    (told,) = bench.events("hub.unjudged")
    assert (told["row"], told["id"]) == ("taskbody", "bad")
    assert len(bench.store.read(lambda tx: tx.unreadable.found)) == 1
    write(bench.store, "UPDATE task_body SET spec = '{}' WHERE task_id = 'bad'")
    an_hour_later(bench)
    (mended,) = bench.ask(claim("w", max=5))
    assert "bad" in [item["task"]["id"] for item in mended["tasks"]]


@pytest.mark.sqlite  # PostgreSQL takes no word for a number
def test_a_deadline_that_is_none_has_come_and_is_mended() -> None:
    bench = bench_with()
    desk = Desk(bench)
    beat(bench, "bad")
    write(bench.store, "UPDATE daemon SET deadline_h = 'soon' WHERE id = 'bad'")
    live(bench, DOWN_MS, desk)
    assert {"bad is late", "bad is down"} <= set(desk.titles)


def test_an_unknown_zone_of_the_owner_drops_no_notice() -> None:
    bench = bench_with(zone="Tokyo")
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS, desk)
    assert desk.titles == ["mini is late", "mini is down"]
    assert "UTC" in dict(desk.got[0].facts)["Last sign of life"]


@pytest.mark.parametrize("broken", ["message_of", "story_of"])
def test_what_cannot_be_written_is_told_in_the_words_of_its_row(monkeypatch, broken) -> None:
    def fail(*_: object) -> Message:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(f"understudy.hub.delivery.{broken}", fail)
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS, desk)
    assert {row.state for row in rows(bench)} == {"sent"}
    if broken == "message_of":
        assert desk.titles == ["WARNING · daemon.late · mini", "CRITICAL · daemon.down · mini"]
        assert "unresponsive" in desk.got[1].text
    bench.ask(SendTestNotice("ops"))
    desk.run()
    assert len(desk.got) == 3


def test_a_service_that_no_form_can_be_made_for_is_tried_again_and_loses_nothing(monkeypatch) -> None:
    bench = bench_with()
    desk = Desk(bench)

    def fail(*_: object, **__: object) -> tuple[Any, ...]:
        raise OverflowError

    with monkeypatch.context() as patched:
        patched.setattr(desk, "requests_for", fail)
        beat(bench)
        live(bench, LATE_MS, desk)
        assert [row.state for row in rows(bench)] == ["waiting"]
    live(bench, 5_000, desk)
    assert desk.titles == ["mini is late"]


def test_notices_with_fields_that_cannot_be_read_are_told_and_hold_up_nothing() -> None:
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    bench.pass_time(LATE_MS)
    (late,) = rows(bench)
    damage(bench, Notice, late.id, facts="no json", level="shrill", kind="strange")
    live(bench, DOWN_MS, desk)
    assert "mini is down" in desk.titles
    assert {row.state for row in rows(bench)} <= {"sent", "folded"}


def test_windows_of_routes_that_cannot_be_judged_hold_nothing() -> None:
    bench = bench_with(Route(("ops",), quiet=UNKNOWN_ZONE), maintenance=(Maintenance((), UNKNOWN_ZONE),))
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS, desk)
    assert desk.titles == ["mini is late", "mini is down"]


def test_an_event_that_cannot_be_told_properly_is_told_plainly(monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("understudy.coordinator.notices.OutboxDraft._late", fail)
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS, desk)
    assert desk.titles == ["mini is late", "mini is down"]


def test_a_place_of_an_answer_that_cannot_be_read_loses_no_task() -> None:
    bench = bench_with(reply_to=json.dumps({"channel": "ops"}))
    bench.ask(enqueue("t"))
    write(bench.store, "UPDATE task SET reply_to = 'no json' WHERE id = 't'")
    (answer,) = bench.ask(CommandTask("cancel", "t", "me"))
    assert answer["success"]
    assert [row.channel for row in rows(bench, task_id="t", kind="answer")] == ["ops"]  # told at the usual place
