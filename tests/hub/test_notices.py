"""Which notices an incident makes, when they are sent, and when they are not worth sending any more."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tests.hub.conftest import Bench
from tests.hub.desk import DOWN_MS, LATE_MS, Desk, be_late_once, beat, bench_with, live, rows
from understudy.coordinator.changes import Event
from understudy.coordinator.notices import CALM_MS, LOUD, STORY, WITHOUT_NOTICE, makes_notice
from understudy.coordinator.nouns import Incident, Notice, Policy
from understudy.coordinator.outbox import CRITICAL_WAIT_MS
from understudy.coordinator.routes import Maintenance, Route, Routes
from understudy.errors import ConflictError
from understudy.hub.alarm import RingAlarm
from understudy.hub.daemons import ConfigureDaemon, ForgetDaemon, PauseDaemon
from understudy.hub.incidents import AcknowledgeIncident, SnoozeIncident
from understudy.hub.messages import NoticeStory, message_of
from understudy.hub.outbox import Outgoing, ReclaimNotices, ResendNotice, SettleNotice, TakeNotice
from understudy.hub.retention import PurgeRows
from understudy.notify.base import ChannelSettings, Later, Refused, Sent
from understudy.store.queries import ABOUT_DAEMON_MAX
from understudy.wire.daemons import SettingsBody, SleepWindow
from understudy.worker.executors import fault_words

HOUR = 3_600_000


def daily(start: str, end: str, zone: str = "UTC") -> str:
    return msgspec.json.encode([{"from": start, "to": end, "tz": zone}]).decode()


def test_an_incident_is_one_warning_one_critical_and_one_recovered():
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    live(bench, 60_000, desk)
    assert [(m.level, m.title) for m in desk.got] == [("warning", "mini is late"), ("critical", "mini is down")]
    beat(bench)
    live(bench, 5_000, desk, daemons=("mini",))
    assert [(m.level, m.title) for m in desk.got[2:]] == [("recovered", "mini is back")]
    assert desk.got[2].edits == "ref-2"  # the critical message becomes the recovered one
    assert dict(desk.got[2].facts)["Length"] == "1 min"
    assert dict(desk.got[2].facts)["Missed heartbeats"] == "59"
    live(bench, 60_000, desk, daemons=("mini",))
    assert len(desk.got) == 3


def test_a_notice_is_committed_with_the_change_that_caused_it():
    bench = bench_with()
    beat(bench)
    bench.pass_time(LATE_MS - 1)
    assert rows(bench) == []
    bench.clock.advance(1)
    bench.ask(RingAlarm())
    assert [(row.cause, row.state, row.next_at) for row in rows(bench)] == [
        ("daemon.late", "waiting", bench.clock.now_ms())
    ]


def test_a_hub_without_channels_keeps_no_notices(hub):
    beat(hub)
    hub.pass_time(600_000)
    assert [event["daemonId"] for event in hub.events("daemon.down")] == ["mini"]
    assert rows(hub) == []


def test_a_notice_tells_what_its_reader_needs():
    bench = bench_with(public_url="https://hub.example", zone="Asia/Tokyo")
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS, desk)
    critical = desk.got[1]
    facts = dict(critical.facts)
    assert facts["Last sign of life"].endswith("JST (20 s ago)")
    assert facts["Running"] == "nothing"
    assert facts["Waiting in the queue"] == "0"
    assert "CRITICAL: daemon mini unresponsive" in critical.text  # the last events of its story
    assert critical.about.startswith("incident-")
    assert [url.partition("/l/")[0] for _, url in critical.links] == ["https://hub.example"] * 3
    beat(bench)
    desk.run()
    assert [url for _, url in desk.got[2].links] == ["https://hub.example"]  # there is nothing left to be acknowledged


def test_notices_are_written_in_the_language_of_their_channel():
    bench = bench_with(channels=("ops", "家"))
    desks = Desk(bench), Desk(bench, "家", "ja")
    beat(bench)
    live(bench, LATE_MS, *desks)
    assert [desk.titles for desk in desks] == [["mini is late"], ["mini の応答が遅れています"]]


def test_a_daemon_that_was_stopped_is_told_as_such_and_has_not_come_back():
    bench = bench_with(channels=("ops", "家"))
    desks = Desk(bench), Desk(bench, "家", "ja")
    beat(bench, state="stopping")
    live(bench, DOWN_MS, *desks)
    assert [message.text.splitlines()[0].startswith("It was stopped at ") for message in desks[0].got] == [True, True]
    assert all("has not come back" in message.text for message in desks[0].got)
    assert all("停止したまま" in message.text for message in desks[1].got)


# ---- routes


def test_routes_choose_by_level_and_daemon():
    bench = bench_with(
        Route(("pager",), "critical"),
        Route(("home",), daemons=("mini", "mac*")),
        Route(("office",), daemons=("rack-*",)),
        channels=("pager", "home", "office"),
    )
    for daemon in ("mini", "rack-1"):
        beat(bench, daemon)
    bench.pass_time(DOWN_MS)
    told = {(row.channel, row.daemon_id, row.level) for row in rows(bench)}
    assert told == {
        ("home", "mini", "warning"),
        ("home", "mini", "critical"),
        ("office", "rack-1", "warning"),
        ("office", "rack-1", "critical"),
        ("pager", "mini", "critical"),
        ("pager", "rack-1", "critical"),
    }


def test_what_ends_within_the_delay_is_not_told():
    bench = bench_with(Route(("ops",), delay_ms=60_000))
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS + 30_000, desk)
    beat(bench)
    live(bench, 120_000, desk, daemons=("mini",))
    assert desk.got == []
    assert {row.state for row in rows(bench)} == {"folded"}
    live(bench, DOWN_MS + 60_000, desk)
    assert desk.titles == ["mini is late", "mini is down"]  # both lasted long enough


def test_quiet_hours_hold_what_is_not_critical_in_the_owners_zone():
    # the clock of these tests begins at 02:40 UTC, which is 11:40 in Tokyo
    bench = bench_with(Route(("ops",), quiet=daily("11:00", "12:00", "Asia/Tokyo")))
    desk = Desk(bench)
    beat(bench)
    live(bench, LATE_MS, desk)
    held = rows(bench)[0]
    assert (desk.got, held.state, held.next_at % HOUR) == ([], "waiting", 0)
    live(bench, DOWN_MS - LATE_MS, desk)
    assert desk.titles == ["mini is down"]
    assert rows(bench)[0].state == "folded"  # the critical message says it all


def test_maintenance_holds_everything_until_it_is_over():
    bench = bench_with(maintenance=(Maintenance(("mini",), daily("02:00", "02:41")),))
    desk = Desk(bench)
    beat(bench)
    beat(bench, "other")
    live(bench, DOWN_MS, desk)
    assert [m.title for m in desk.got] == ["other is late", "other is down"]
    live(bench, 60_000, desk)
    assert desk.titles[2:] == ["mini is down"]


# ---- reminders, acknowledge, snooze


def reminded() -> tuple:
    bench = bench_with(Route(("ops",), remind_ms=60_000))
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS, desk)
    (incident,) = {row.incident_id for row in rows(bench)}
    return bench, desk, incident


def test_reminders_come_until_somebody_acknowledges():
    bench, desk, incident = reminded()
    live(bench, 120_000, desk)
    assert desk.titles[2:] == ["mini is still down", "mini is still down"]
    bench.ask(AcknowledgeIncident(incident, "me"))
    live(bench, 120_000, desk)
    assert len(desk.got) == 4
    beat(bench)
    live(bench, 1_000, desk)
    assert desk.titles[4:] == ["mini is back"]
    assert desk.got[4].edits == "ref-2"


def test_a_snoozed_incident_is_silent_for_as_long():
    bench, desk, incident = reminded()
    bench.ask(SnoozeIncident(incident, 180_000, "me"))
    live(bench, 179_000, desk)
    assert len(desk.got) == 2
    live(bench, 2_000, desk)
    assert desk.titles[2:] == ["mini is still down"]


def six_down():
    """Six daemons that are down: more than five reminders at once are one message."""
    bench = bench_with(Route(("ops",), remind_ms=60_000))
    desk = Desk(bench)
    for n in range(6):
        beat(bench, f"mini-{n}")
    live(bench, DOWN_MS, desk)
    return bench, desk


def test_reminders_that_were_one_message_come_again():
    bench, desk = six_down()
    assert len(desk.got) == 2
    live(bench, 125_000, desk)
    assert desk.titles[2:] == ["6 notices at once"] * 2


def test_reminders_go_on_after_one_that_was_refused():
    bench, desk, _ = reminded()
    desk.says.append(Refused("no_such_channel"))
    live(bench, 61_000, desk)
    (dead,) = rows(bench, state="dead")
    live(bench, HOUR, desk)
    assert desk.titles[2:] == ["mini is still down"]
    bench.ask(ResendNotice(dead.id, "me"))
    live(bench, 1_000, desk)
    assert len(desk.got) == 4
    assert len(rows(bench, cause="reminder", state="waiting")) == 1


def test_reminders_go_on_after_a_message_of_several_that_was_refused():
    bench, desk = six_down()
    desk.says.append(Refused("no_such_channel"))
    live(bench, 61_000, desk)
    assert len(desk.got) == 2
    live(bench, HOUR, desk)
    assert desk.titles[2:] == ["6 notices at once"]


@pytest.mark.parametrize("for_ms", [0, 30_000])
def test_a_snooze_that_is_ended_or_made_shorter_holds_nothing_back(for_ms: int):
    bench, desk, incident = reminded()
    bench.ask(SnoozeIncident(incident, 24 * HOUR, "me"))
    live(bench, 61_000, desk)  # the reminder was due, and was put off
    assert len(desk.got) == 2
    bench.ask(SnoozeIncident(incident, for_ms, "me"))
    live(bench, for_ms + 1_000, desk)
    assert desk.titles[2:] == ["mini is still down"]


def test_nobody_is_reminded_of_a_daemon_while_it_is_expected_to_sleep():
    bench, desk, _ = reminded()  # at 02:40:20
    window = SleepWindow(from_="02:41", to="02:50")
    bench.ask(ConfigureDaemon("mini", SettingsBody(expected_sleep=[window])))
    live(bench, 9 * 60_000, desk)
    assert len(desk.got) == 2
    live(bench, 41_000, desk)
    assert desk.titles[2:] == ["mini is still down"]


@pytest.mark.parametrize("what", [("notice", 1 << 50), ("notice_overflow", 0)])
def test_a_recovery_is_told_however_old_its_alarm_is(what):
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS, desk)
    bench.ask(PurgeRows(*what))
    beat(bench)
    live(bench, 1_000, desk)
    assert desk.titles == ["mini is late", "mini is down", "mini is back"]
    bench.ask(PurgeRows(*what))
    assert rows(bench) == []


@pytest.mark.parametrize("what", [("notice", 1 << 50), ("notice_overflow", 0)])
def test_it_is_told_that_a_daemon_works_again_however_long_it_was_stuck(what):
    bench = bench_with()
    desk = Desk(bench)
    beat(bench, auth={"command": "logged_out"})
    desk.run()
    bench.ask(PurgeRows(*what))
    beat(bench, auth={"command": "ok"})
    desk.run()
    assert desk.titles == ["mini is stuck", "mini is back"]
    bench.ask(PurgeRows(*what))
    assert rows(bench) == []


@pytest.mark.parametrize("what", [("notice", 1 << 50), ("notice_overflow", 0)])
def test_what_a_daemon_was_stuck_with_long_ago_is_over_once(what):
    bench = bench_with()
    desk = Desk(bench)
    beat(bench, auth={"command": "logged_out"})
    desk.run()
    beat(bench, auth={"command": "ok"})
    live(bench, LATE_MS, desk)
    assert desk.titles == ["mini is stuck", "mini is back", "mini is late"]
    bench.ask(PurgeRows(*what))  # while it is silent
    beat(bench, auth={"command": "ok"})
    desk.run()
    assert desk.titles[3:] == ["mini is back"]


def resent(bench: Bench, desk: Desk, notice: Notice) -> Any:
    """The answer to an owner who sends it again; what its channel got since is in `desk.got`."""
    bench.pass_time(1_000)
    desk.got.clear()
    (answer,) = bench.ask(ResendNotice(notice.id, "me"))
    live(bench, 2_000, desk)
    return answer


def refused_alarm(**more: Any) -> tuple[Bench, Desk, Notice]:
    """A daemon that is down, of which its channel refused the CRITICAL."""
    bench = bench_with(**more)
    desk = Desk(bench)
    beat(bench)
    live(bench, LATE_MS, desk)
    desk.says.append(Refused("no_such_channel"))
    live(bench, DOWN_MS - LATE_MS, desk)
    (dead,) = rows(bench, state="dead")
    return bench, desk, dead


def test_an_alarm_that_somebody_has_acknowledged_is_sent_again_if_its_owner_asks():
    bench, desk, dead = refused_alarm()
    bench.ask(AcknowledgeIncident(dead.incident_id, "me"))
    assert resent(bench, desk, dead)["success"]
    assert desk.titles == ["mini is down"]


def test_an_alarm_that_waits_for_its_channel_is_sent_though_somebody_acknowledged_it():
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    live(bench, LATE_MS, desk)
    bench.pass_time(DOWN_MS - LATE_MS)
    (row,) = rows(bench, cause="daemon.down")
    bench.ask(AcknowledgeIncident(row.incident_id, "me"))
    assert resent(bench, desk, row)["success"]
    assert desk.titles == ["mini is down"]


def test_an_alarm_that_is_over_is_not_sent_again():
    bench, desk, dead = refused_alarm()
    beat(bench)
    live(bench, 2_000, desk, daemons=("mini",))
    answer = resent(bench, desk, dead)
    assert isinstance(answer, ConflictError)
    assert "over" in str(answer)
    assert desk.titles == []
    assert rows(bench, id=dead.id) == [dead]


def test_what_a_daemon_was_stuck_with_is_not_sent_again_when_it_is_over():
    bench = bench_with()
    desk = Desk(bench)
    desk.says.append(Refused("no_such_channel"))
    beat(bench, auth={"command": "logged_out"})
    desk.run()
    (dead,) = rows(bench, state="dead")
    assert resent(bench, desk, dead)["success"]
    assert desk.titles == ["mini is stuck"]
    bench.store.transaction(lambda tx: tx.save_many([dead]))
    beat(bench, auth={"command": "ok"})
    desk.run()
    assert isinstance(resent(bench, desk, dead), ConflictError)


def test_an_escalation_that_somebody_has_acknowledged_is_not_hurried():
    bench = bench_with(Route(("ops",), delay_ms=60_000))
    desk = Desk(bench)
    beat(bench)
    live(bench, DOWN_MS, desk)
    (held,) = rows(bench, cause="daemon.down")
    bench.ask(AcknowledgeIncident(held.incident_id, "me"))
    assert isinstance(resent(bench, desk, held), ConflictError)


def test_nobody_is_reminded_of_what_is_over():
    bench, desk, _ = reminded()
    beat(bench)
    live(bench, 120_000, desk, daemons=("mini",))
    assert desk.titles[2:] == ["mini is back"]


# ---- storms and flapping


def test_more_than_five_at_once_are_one_message_that_names_each():
    bench = bench_with()
    desk = Desk(bench)
    names = [f"mini-{n}" for n in range(8)]
    for name in names:
        beat(bench, name)
    live(bench, LATE_MS, desk)
    (storm,) = desk.got
    assert storm.title == "9 notices at once"  # the eight, and that the network is suspect
    assert all(f"WARNING: {name} is late" in storm.text for name in names)
    members = [row for row in rows(bench) if row.cause == "daemon.late"]
    assert {(row.state, row.folded_into, row.ref) for row in members} == {("sent", storm.key, "ref-1")}
    for name in names:
        beat(bench, name)
    live(bench, 40_000, desk, daemons=tuple(names))
    assert [m.title for m in desk.got[1:]] == ["8 notices at once"]
    assert desk.got[1].level == "recovered"


def falling_silent(count: int, down_ms: int, every_ms: int = 1_000) -> tuple[Bench, Desk]:
    """A hub that hears so many daemons once, one after the other, until the first of them is late."""
    routes = Routes(("ops",), (Route(("ops",)),))
    bench = Bench(Policy(late_after_ms=LATE_MS, down_after_ms=down_ms, routes=routes))
    desk = Desk(bench)
    for n in range(count):
        beat(bench, f"mini-{n}")
        live(bench, every_ms, desk)
    live(bench, LATE_MS - count * every_ms, desk)
    return bench, desk


def test_five_are_five_messages_and_further_warnings_wait_for_the_end_of_the_window():
    bench, desk = falling_silent(6, down_ms=600_000)
    live(bench, 29_000, desk)
    assert len(desk.got) == 5
    live(bench, 3_000, desk)
    assert desk.titles[5:] == ["mini-4 is late", "mini-5 is late"]


def test_a_warning_that_waits_for_its_turn_is_told_although_it_is_over_by_then():
    bench, desk = falling_silent(6, down_ms=600_000)
    live(bench, 10_000, desk)
    beat(bench, "mini-5")
    live(bench, 60_000, desk, daemons=("mini-5",))
    assert [(row.cause, row.state) for row in rows(bench, daemon_id="mini-5")] == [
        ("daemon.late", "sent"),
        ("daemon.recovered", "sent"),
    ]
    told = [f"{m.title} {m.text}" for m in desk.got]
    late, back = (next(n for n, said in enumerate(told) if f"mini-5 is {how}" in said) for how in ("late", "back"))
    assert late < back


def test_what_is_critical_never_waits_for_the_window():
    bench, desk = falling_silent(6, down_ms=DOWN_MS)
    waits = dict.fromkeys(range(6), 0)
    for at_ms in range(0, 30_000, 100):
        bench.pass_time(100)
        desk.run()
        told = " ".join(f"{m.title} {m.text}" for m in desk.got)
        for n in range(6):
            if at_ms + 100 >= LATE_MS + n * 1_000 and f"mini-{n} is down" not in told:
                waits[n] += 100
    assert waits[0] == 0  # the first message beyond the five
    assert max(waits.values()) <= CRITICAL_WAIT_MS
    assert len(desk.got) <= 5 + 1 + 30_000 // CRITICAL_WAIT_MS


def test_a_recovery_is_never_told_before_the_storm_that_told_its_alarm():
    bench = bench_with()
    desk = Desk(bench)
    for n in range(8):
        beat(bench, f"mini-{n}")
    live(bench, LATE_MS - 1_000, desk)
    desk.says.append(Later("busy"))
    bench.pass_time(1_000)
    desk.run()
    beat(bench, "mini-0")
    desk.run()
    assert desk.titles == []
    live(bench, 3_000, desk, daemons=("mini-0",))
    assert desk.titles == ["9 notices at once", "mini-0 is back"]


def test_an_alarm_of_a_flapping_daemon_is_taken_back():
    bench = bench_with()
    desk = Desk(bench)
    for _ in range(4):
        be_late_once(bench, desk)
    live(bench, DOWN_MS, desk)
    beat(bench)
    live(bench, 5_000, desk, daemons=("mini",))
    assert desk.titles[-2:] == ["mini is down", "mini is back"]
    assert desk.got[-1].edits == f"ref-{len(desk.got) - 1}"


def test_incidents_of_a_clock_that_was_ahead_make_no_daemon_flap():
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    wall = bench.clock.now_ms()
    left = [
        Incident(f"i{n}", "mini", "recovered", wall + HOUR, wall, wall - 2 * HOUR, recovered_at=1) for n in range(3)
    ]
    bench.store.transaction(lambda tx: tx.save_many(left))
    live(bench, LATE_MS, desk)
    assert desk.titles == ["mini is late"]


def paged() -> tuple[Bench, Desk]:
    """A hub whose only channel keeps an alarm open until its recovery, as PagerDuty does."""
    bench = bench_with(channels=("pager",), joining=("pager",))
    desk = Desk(bench, "pager", kind="webhook")
    desk.always = Sent()
    return bench, desk


@pytest.mark.parametrize("every_ms", [0, 7_000])
def test_a_receiver_that_joins_by_key_gets_each_alarm_and_its_end_however_many_there_are(every_ms: int) -> None:
    """All at once, or one after the other: their network may come back for all within seconds."""
    bench, desk = paged()
    names = [f"mini-{n}" for n in range(8)]
    for name in names:
        beat(bench, name)
        live(bench, every_ms, desk)
    live(bench, DOWN_MS, desk)
    for name in names:
        beat(bench, name)
    live(bench, 2_000, desk, daemons=tuple(names))
    opened, over = (
        {message.about for message in desk.got if message.level == level} for level in ("critical", "recovered")
    )
    assert opened == over
    assert len(over - {""}) == len(names)


def test_a_receiver_that_joins_by_key_gets_the_end_of_each_silence_of_a_flapping_daemon() -> None:
    bench, desk = paged()
    for _ in range(6):
        be_late_once(bench, desk)
    live(bench, 1_900_000, desk, daemons=("mini",))
    assert desk.titles == ["mini is late", "mini is back"] * 6
    assert all(late.about == back.about for late, back in zip(desk.got[::2], desk.got[1::2], strict=True))


def test_a_receiver_that_joins_by_key_is_told_no_more_about_an_incident_than_its_alarms_and_their_end() -> None:
    """Each other message about it would open its alarm anew: "I have seen it" may be pressed after the recovery."""
    told = Route(("pager", "ops"), level="info")
    bench = bench_with(told, channels=("pager", "ops"), joining=("pager",))
    pager, ops = Desk(bench, "pager", kind="webhook"), Desk(bench, "ops")
    beat(bench)
    live(bench, DOWN_MS, pager, ops)
    beat(bench)
    live(bench, 2_000, pager, ops, daemons=("mini",))
    bench.ask(AcknowledgeIncident(rows(bench, level="critical")[0].incident_id, "me"))
    live(bench, 2_000, pager, ops, daemons=("mini",))
    assert [message.level for message in pager.got] == ["warning", "critical", "recovered"]
    assert [message.level for message in ops.got] == ["warning", "critical", "recovered", "info"]


@pytest.mark.parametrize("how", ["forget", "pause"])
@pytest.mark.parametrize("was", ["down", "stuck"])
def test_a_receiver_that_joins_by_key_closes_the_alarm_of_a_daemon_that_its_owner_took_away(how: str, was: str) -> None:
    bench, desk = paged()
    beat(bench, auth={"claude_code": "expired" if was == "stuck" else "ok"})
    live(bench, DOWN_MS if was == "down" else 1_000, desk)
    opened = {message.about for message in desk.got}
    desk.got.clear()
    bench.ask(ForgetDaemon("mini") if how == "forget" else PauseDaemon("mini", paused=True))
    live(bench, 5_000, desk)
    assert [(message.level, message.title) for message in desk.got] == [("recovered", "The incident of mini is closed")]
    assert {message.about for message in desk.got} == opened


@pytest.mark.parametrize(
    ("route", "more"),
    [
        (Route(("pager",), quiet=daily("02:00", "07:00")), {}),
        (Route(("pager",)), {"maintenance": (Maintenance(("mini",), daily("02:41", "07:00")),)}),
    ],
)
def test_nothing_holds_the_end_of_an_alarm_that_stays_open_at_its_receiver(route: Route, more: dict[str, Any]) -> None:
    bench = bench_with(route, channels=("pager",), joining=("pager",), **more)
    desk = Desk(bench, "pager", kind="webhook")
    beat(bench)
    live(bench, DOWN_MS, desk)
    opened = {message.about for message in desk.got}
    live(bench, 60_000, desk)  # maintenance has begun
    beat(bench)
    live(bench, 2_000, desk, daemons=("mini",))
    assert (desk.got[-1].level, {desk.got[-1].about}) == ("recovered", opened)


@pytest.mark.parametrize("how", ["recovered", "paused"])
def test_an_alarm_that_may_have_arrived_just_before_quiet_hours_is_closed_in_them(how: str) -> None:
    bench = bench_with(
        Route(("pager",)), channels=("pager",), joining=("pager",),
        maintenance=(Maintenance(("mini",), daily("02:41", "02:50")),),
    )  # fmt: skip
    desk = Desk(bench, "pager", kind="webhook")
    desk.always = Later("its answer was lost")
    beat(bench)
    live(bench, 60_000, desk)  # the window has begun
    desk.always = None
    opened = {said.message.about for said in desk.tried}
    if how == "recovered":
        beat(bench)
    else:
        bench.ask(PauseDaemon("mini", paused=True))
    live(bench, 61_000, desk)
    assert [(message.level, {message.about}) for message in desk.got] == [("recovered", opened)]
    live(bench, HOUR // 4, desk, daemons=("mini",))
    assert len(desk.got) == 1


def test_flapping_is_told_once_with_a_digest_when_it_is_calm():
    bench = bench_with()
    desk = Desk(bench)
    for _ in range(6):
        be_late_once(bench, desk)
    assert desk.titles == ["mini is late", "mini is back"] * 3 + ["mini keeps falling silent"]
    live(bench, 1_900_000, desk, daemons=("mini",))
    assert desk.titles[7:] == ["mini is calm again"]
    assert "6 times" in desk.got[7].text
    live(bench, DOWN_MS, desk)
    assert desk.got[8].level == "warning"


def flapping() -> tuple[Bench, Desk]:
    """A daemon that has just been told to be flapping, and a digest that waits."""
    bench = bench_with()
    desk = Desk(bench)
    for _ in range(4):
        be_late_once(bench, desk)
    assert desk.titles[6:] == ["mini keeps falling silent"]
    desk.got.clear()
    return bench, desk


def test_a_daemon_that_is_down_is_not_told_to_be_calm_before_it_was_back_for_half_an_hour():
    bench, desk = flapping()
    live(bench, DOWN_MS, desk)
    assert desk.titles == ["mini is down"]
    for _ in range(40):
        bench.pass_time(60_000)
        desk.run()
    beat(bench)
    live(bench, CALM_MS - 60_000, desk, daemons=("mini",))
    assert desk.titles == ["mini is down", "mini is back"]
    live(bench, 120_000, desk, daemons=("mini",))
    assert desk.titles[2:] == ["mini is calm again"]


@pytest.mark.parametrize("how", ["forget", "pause"])
def test_a_daemon_that_its_owner_took_away_is_not_told_to_be_calm(how: str) -> None:
    bench, desk = flapping()
    bench.ask(ForgetDaemon("mini") if how == "forget" else PauseDaemon("mini", paused=True))
    for _ in range(40):
        bench.pass_time(60_000)
        desk.run()
    assert desk.titles == []
    assert [row.state for row in rows(bench, cause="digest")] == ["folded"]


def test_a_flapping_daemon_that_was_stuck_is_told_to_be_back() -> None:
    bench, desk = flapping()
    beat(bench, loops=stuck_with("claim"))
    desk.run()
    beat(bench, loops={})
    live(bench, 2_000, desk, daemons=("mini",))
    assert desk.titles == ["mini is stuck", "mini is back"]


def test_a_silence_that_begins_while_a_digest_is_sent_is_told() -> None:
    bench, desk = flapping()
    live(bench, CALM_MS - 65_000, desk, daemons=("mini",))
    bench.pass_time(LATE_MS - 1_000)  # silent since then, and not late yet
    (outgoing,) = bench.ask(TakeNotice("ops"))
    assert outgoing.notice.cause == "digest"
    bench.pass_time(1_000)
    bench.ask(SettleNotice(outgoing.notice, Sent("ref")))
    desk.run()
    assert rows(bench, id=outgoing.notice.id)[0].state == "sent"
    assert desk.titles == ["mini keeps falling silent"]  # the fifth time within an hour
    assert len(rows(bench, cause="digest", state="waiting")) == 1


@pytest.mark.parametrize("becomes", ["failed", "interrupted"])
def test_one_digest_follows_a_silence_that_began_while_another_one_was_sent_in_vain(becomes: str) -> None:
    bench, desk = flapping()
    live(bench, CALM_MS - 65_000, desk, daemons=("mini",))
    bench.pass_time(LATE_MS - 1_000)
    (outgoing,) = bench.ask(TakeNotice("ops"))
    bench.pass_time(1_000)
    bench.ask(SettleNotice(outgoing.notice, Later("busy")) if becomes == "failed" else ReclaimNotices())
    beat(bench)
    live(bench, CALM_MS - 60_000, desk, daemons=("mini",))
    assert desk.titles == ["mini keeps falling silent"]
    live(bench, HOUR, desk, daemons=("mini",))
    assert desk.titles[1:] == ["mini is calm again"]


def test_a_flapping_daemon_that_is_down_is_told_all_the_same():
    bench = bench_with()
    desk = Desk(bench)
    for _ in range(4):
        be_late_once(bench, desk)
    live(bench, DOWN_MS, desk)
    assert desk.titles[-1] == "mini is down"


# ---- other events


@pytest.mark.parametrize("name", ["directive.failed", "takeover.stopped", "budget.warning", "daemon.auth_failed"])
@pytest.mark.parametrize("level", sorted(LOUD))
def test_whatever_is_loud_reaches_a_person(name, level):
    assert makes_notice(Event(0, level, name, "c", "m", {}))
    assert not makes_notice(Event(0, "info", name, "c", "m", {}))


@pytest.mark.parametrize(("language", "said"), [("en", "USD of this month"), ("ja", "今月の予算 10 米ドルのうち")])
def test_a_budget_names_its_period_in_the_readers_language(language, said):
    facts = '{"period":"month","spentUsd":5.1,"limitUsd":10}'
    row = Notice("b:1", "ops", "notice", "budget.half", "warning", facts=facts)
    message = message_of(Outgoing(row), NoticeStory(), ChannelSettings("ops", "slack", language=language), Routes(), 0)
    assert said in message.text


def test_an_error_about_sending_is_never_told():
    assert "notice.dead" in WITHOUT_NOTICE
    assert not any(name.startswith("notice.") for name in STORY)
    bench = bench_with()
    desk = Desk(bench)
    desk.always = Refused("no such channel")
    beat(bench)
    live(bench, 60_000, desk)
    assert len(bench.events("notice.dead")) == 2
    assert {row.cause for row in rows(bench)} == {"daemon.late", "daemon.down"}


def test_an_event_about_sending_is_a_word_to_the_log_and_nothing_else():
    for name in ("lease.expired", "lease.lost", "hub.gap", "notice.dead"):
        assert not makes_notice(Event(0, "warning", name, "Outbox", "m", {}))
    assert makes_notice(Event(0, "warning", "task.failed", "TaskQueue", "m", {"outcome": "poison"}))
    assert not makes_notice(Event(0, "warning", "task.failed", "TaskQueue", "m", {"outcome": "failed"}))


def test_what_is_restarted_in_the_middle_is_told_no_second_time(tmp_path):
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    live(bench, LATE_MS, desk)
    again = bench_with(store=bench.store)
    again.clock.advance(bench.clock.now_ms() - again.clock.now_ms())
    other = Desk(again)
    live(again, 5_000, other)
    assert (len(desk.got), other.got) == (1, [])


def test_a_storm_counts_as_one_message_for_what_comes_after_it():
    bench = bench_with()
    desk = Desk(bench)
    for n in range(8):
        beat(bench, f"mini-{n}")
    live(bench, LATE_MS - 2_000, desk)
    beat(bench, "later")
    live(bench, LATE_MS, desk)
    assert desk.titles == ["9 notices at once", "later is late"]


@pytest.mark.parametrize("word", sorted(fault_words.WORDS))
def test_a_machine_that_cannot_start_processes_is_shown_as_stuck_with_the_reason(word):
    bench = bench_with(public_url="https://hub.example")
    desk = Desk(bench)
    beat(bench, auth={"command": "ok"})
    live(bench, 1_000, desk)
    beat(bench, auth={"command": word})
    desk.run()
    (told,) = desk.got
    assert (told.level, told.title) == ("critical", "mini is stuck")
    assert f"command cannot work: {word}" in told.text
    live(bench, 1_000, desk)
    beat(bench, auth={"command": "ok"})
    desk.run()
    assert [m.level for m in desk.got[1:]] == ["recovered"]


@pytest.mark.parametrize("how", ["forget", "pause"])
def test_nobody_is_reminded_of_a_daemon_that_its_owner_took_away(how):
    bench, desk, _ = reminded()
    bench.ask(ForgetDaemon("mini") if how == "forget" else PauseDaemon("mini", paused=True))
    live(bench, 300_000, desk)
    assert len(desk.got) == 2


def test_a_daemon_whose_assistant_is_logged_out_is_told_once():
    bench = bench_with(public_url="https://hub.example")
    desk = Desk(bench)
    beat(bench)
    live(bench, 1_000, desk)
    beat(bench, auth={"claude_code": "expired"})
    desk.run()
    (told,) = desk.got
    assert (told.level, told.title) == ("critical", "mini is stuck")
    assert "claude_code cannot work: expired" in told.text
    live(bench, 1_000, desk)
    beat(bench, auth={"claude_code": "ok"})
    desk.run()
    assert [(m.level, m.edits) for m in desk.got[1:]] == [("recovered", "ref-1")]


def test_what_a_daemon_was_stuck_with_before_a_silence_is_over_with_the_silence():
    bench = bench_with()
    desk = Desk(bench)
    beat(bench, auth={"claude_code": "expired"})
    live(bench, DOWN_MS, desk)
    assert desk.titles == ["mini is stuck", "mini is late", "mini is down"]
    beat(bench, auth={"claude_code": "ok"})
    live(bench, 2_000, desk, daemons=("mini",))
    assert desk.titles[3:] == ["mini is back"] * 2
    assert {message.edits for message in desk.got[3:]} == {"ref-1", "ref-3"}
    bench.ask(ConfigureDaemon("mini", SettingsBody(expected_sleep=[SleepWindow("00:00", "23:59")])))
    live(bench, DOWN_MS, desk)
    assert bench.events("daemon.asleep")
    beat(bench)
    live(bench, 2_000, desk, daemons=("mini",))
    assert len(desk.got) == 5


def stuck_with(*loops: str) -> dict[str, dict[str, int]]:
    """The loops of a daemon that have stopped."""
    return {loop: {"agoSec": 100, "limitSec": 10} for loop in loops}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"loops": stuck_with("claim")}, "its claim loop made no progress for more than 10 s"),
        ({"auth": {"claude_code": "expired"}}, "claude_code cannot work: expired"),
    ],
)
def test_a_stuck_daemon_is_told_with_the_reason(said: dict[str, Any], reason: str) -> None:
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    beat(bench, **said)
    desk.run()
    assert reason in desk.got[0].text.splitlines()[0]
    assert "None" not in desk.got[0].text


def test_whatever_a_daemon_was_stuck_with_is_over_with_its_recovery() -> None:
    bench, desk = paged()
    beat(bench)
    for loop in ("claim", "report"):
        beat(bench, loops=stuck_with(loop))
        live(bench, 1_000, desk)
    assert desk.titles == ["mini is stuck"] * 2
    beat(bench, loops={})
    live(bench, 1_000, desk)
    assert desk.titles[2:] == ["mini is back"] * 2
    opened, over = ({message.about for message in part} for part in (desk.got[:2], desk.got[2:]))
    assert opened == over
    beat(bench, loops=stuck_with("claim"))
    beat(bench, loops={})
    live(bench, 2_000, desk)
    assert len(desk.got) == 6  # only what is new


@pytest.mark.parametrize(("joining", "count"), [((), 1), (("ops",), 4)])
def test_the_first_recovery_after_an_upgrade_ends_nothing_that_a_person_knows_to_be_over(
    joining: tuple[str, ...], count: int
) -> None:
    """Earlier versions told the end of one reason only, and kept the rows of the others."""
    bench = bench_with(joining=joining)
    desk = Desk(bench)
    beat(bench)
    at = bench.clock.now_ms()
    known = Notice("", "ops", "notice", "daemon.stuck", "warning", daemon_id="mini", state="sent", sent_at=1)
    stuck = [replace(known, id=f"s{n}", incident_id=f"stuck:mini:{n}", created_at=at - 4 + n) for n in range(4)]
    over = replace(known, id="over", level="recovered", incident_id="stuck:mini:3", created_at=at)
    bench.store.transaction(lambda tx: tx.save_many([*stuck, over]))
    for loops in (stuck_with("claim"), {}):
        live(bench, 1_000, desk)
        beat(bench, loops=loops)
    live(bench, 1_000, desk)
    assert [message.level for message in desk.got].count("recovered") == count


def held_stuck() -> tuple[Bench, Desk]:
    """A daemon that is stuck for two reasons, one after the other, in quiet hours that last for 19 minutes more."""
    bench = bench_with(Route(("ops",), quiet=daily("02:00", "03:00")))
    desk = Desk(bench)
    beat(bench)
    for loop in ("claim", "report"):
        beat(bench, loops=stuck_with(loop))
        live(bench, 1_000, desk)
    return bench, desk


def test_nobody_hears_after_quiet_hours_what_a_daemon_was_stuck_with_during_them() -> None:
    bench, desk = held_stuck()
    beat(bench, loops={})
    live(bench, HOUR // 2, desk, daemons=("mini",))
    assert desk.titles == []
    assert {row.state for row in rows(bench)} == {"folded"}


@pytest.mark.parametrize("how", ["forget", "pause"])
def test_nobody_hears_after_quiet_hours_that_a_daemon_was_stuck_which_its_owner_took_away(how: str) -> None:
    bench, desk = held_stuck()
    bench.ask(ForgetDaemon("mini") if how == "forget" else PauseDaemon("mini", paused=True))
    live(bench, HOUR // 2, desk)
    assert desk.titles == []


def test_what_a_daemon_is_stuck_with_is_told_after_quiet_hours() -> None:
    bench, desk = held_stuck()
    for _ in range(HOUR // 2_000):
        bench.pass_time(1_000)
        beat(bench, loops=stuck_with("report"))
    desk.run()
    assert desk.titles == ["mini is stuck"] * 2


def test_one_assistant_that_is_logged_out_does_not_hide_that_another_is() -> None:
    bench = bench_with()
    desk = Desk(bench)
    beat(bench)
    live(bench, 1_000, desk)
    beat(bench, auth={"claude_code": "expired", "codex": "no_credit"})
    desk.run()
    assert sorted(desk.titles) == ["mini is stuck", "mini: codex cannot work"]


def answered(bench: Bench, count: int) -> None:
    """So many answers of tasks that ran on `mini`."""
    wall = bench.clock.now_ms()
    answer = Notice("", "ops", "answer", "task.done", daemon_id="mini", state="sent", created_at=wall, sent_at=wall)
    answers = [replace(answer, id=f"a{wall}-{n}", task_id=f"t{wall}-{n}") for n in range(count)]
    bench.store.transaction(lambda tx: tx.save_many(answers))


def test_a_stuck_daemon_is_back_however_many_answers_it_gave_meanwhile() -> None:
    """Of tasks that another loop or another assistant of it still ran."""
    bench = bench_with()
    desk = Desk(bench)
    beat(bench, auth={"claude_code": "expired"})
    live(bench, 1_000, desk)
    assert desk.titles == ["mini is stuck"]
    answered(bench, ABOUT_DAEMON_MAX + 1)
    beat(bench, auth={"claude_code": "ok"})
    live(bench, 2_000, desk, daemons=("mini",))
    assert desk.titles[1:] == ["mini is back"]
    live(bench, DOWN_MS, desk)
    beat(bench)
    live(bench, 2_000, desk, daemons=("mini",))
    assert desk.titles[2:] == ["mini is late", "mini is down", "mini is back"]  # once for each


def test_a_digest_is_found_however_many_answers_a_flapping_daemon_gives() -> None:
    bench = bench_with()
    desk = Desk(bench)
    for _ in range(6):
        be_late_once(bench, desk)
        answered(bench, ABOUT_DAEMON_MAX + 1)
    assert desk.titles == ["mini is late", "mini is back"] * 3 + ["mini keeps falling silent"]
    assert len(rows(bench, cause="digest")) == 1
