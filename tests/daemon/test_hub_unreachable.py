"""A daemon whose hub is out of reach says so itself, once, and once more when it is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.live import living
from tests.fakes.ntfy import FakeNtfy
from tests.fakes.server import Answer, FakeServer, Received
from tests.waiting import eventually
from understudy.daemon.home import Home
from understudy.daemon.hub_unreachable import HubAway
from understudy.daemon.open_alarms import OpenAlarms
from understudy.notify.base import ChannelSettings
from understudy.worker.effects import Loop, NotifyOwner

MINUTE = 60_000


def told(steps: Loop) -> list[str]:
    return [effect.level for effect in steps if isinstance(effect, NotifyOwner)]


@pytest.fixture
def away() -> HubAway:
    return HubAway(5 * MINUTE, "mini", 0)


def test_it_is_told_once_at_the_limit_and_once_when_it_is_over(away: HubAway) -> None:
    assert told(away.missed(5 * MINUTE - 1)) == []
    assert told(away.missed(5 * MINUTE)) == ["critical"]
    assert told(away.missed(50 * MINUTE)) == []
    assert told(away.heard(51 * MINUTE)) == ["recovered"]
    assert told(away.heard(52 * MINUTE)) == []
    assert told(away.missed(57 * MINUTE)) == ["critical"]


def test_a_receiver_can_join_the_alarm_and_its_end_across_restarts(away: HubAway) -> None:
    both = [*away.missed(5 * MINUTE), *away.heard(6 * MINUTE)]
    (about,) = {effect.about for effect in both if isinstance(effect, NotifyOwner)}
    assert "mini" in about


def test_a_machine_that_slept_could_not_have_heard(away: HubAway) -> None:
    slept_ms = 600 * MINUTE
    assert told(away.missed(600 * MINUTE, slept_ms)) == []
    assert told(away.missed(605 * MINUTE - 1, slept_ms)) == []
    assert told(away.missed(605 * MINUTE, slept_ms)) == ["critical"]


def test_a_sleep_that_a_beat_has_survived_is_no_reason_to_wait_longer(away: HubAway) -> None:
    assert told(away.heard(601 * MINUTE, 600 * MINUTE)) == []
    assert told(away.missed(606 * MINUTE, 600 * MINUTE)) == ["critical"]


def test_nothing_is_told_where_nobody_wants_it() -> None:
    assert told(HubAway(0, "mini", 0).missed(500 * MINUTE)) == []


def test_an_alarm_of_an_earlier_life_is_ended_by_the_first_beat_that_is_accepted(tmp_path: Path) -> None:
    alarms = OpenAlarms(tmp_path / "alarms.json")
    first = HubAway(5 * MINUTE, "mini", 0, alarms=alarms.load())
    for effect in first.missed(6 * MINUTE):
        if isinstance(effect, NotifyOwner):
            alarms.note(effect.level, effect.about)
    later = OpenAlarms(tmp_path / "alarms.json")
    ended = [*HubAway(5 * MINUTE, "mini", 0, alarms=later.load()).heard(1)]
    assert told(iter(ended)) == ["recovered"]
    for effect in ended:
        if isinstance(effect, NotifyOwner):
            later.note(effect.level, effect.about)
    assert OpenAlarms(tmp_path / "alarms.json").load() == set()


def test_an_alarm_of_an_earlier_life_is_sent_again_while_the_hub_stays_away() -> None:
    again = HubAway(5 * MINUTE, "mini", 0, alarms={"hub-away:mini"})
    assert told(again.missed(4 * MINUTE)) == []
    assert told(again.missed(5 * MINUTE)) == ["critical"]
    assert told(again.heard(6 * MINUTE)) == ["recovered"]
    assert told(again.heard(7 * MINUTE)) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'"hub-away:mini"'])
def test_a_spoilt_note_of_open_alarms_hinders_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "alarms.json"
    path.write_bytes(content)
    alarms = OpenAlarms(path)
    assert alarms.load() == set()
    alarms.note("critical", "hub-away:mini")
    assert OpenAlarms(path).load() == {"hub-away:mini"}


class BareHub(FakeServer):
    """Accepts every beat and has no work."""

    def answer(self, request: Received) -> Answer:
        return Answer(body={"success": True, "nextInSec": 0.1, "lost": [], "cancel": [], "directives": []})


def test_its_own_channel_is_used_past_the_hub(tmp_path: Path) -> None:
    with BareHub() as hub, FakeNtfy() as ntfy:
        url = hub.url
        hub.off()
        ntfy.plan([503])
        target = ChannelSettings("ntfy", "ntfy", ntfy.url, "topic", ntfy.token)
        more = {"hub_away_after_ms": 400, "heartbeat_interval_ms": 100, "channels": (target,)}
        with living(url, tmp_path, **more) as daemon:
            eventually(lambda: ntfy.messages, what="that the hub is away")
            assert "Hub out of reach" in daemon.log
            hub.on()
            eventually(lambda: len(ntfy.messages) >= 2, what="that it is back")
            assert ntfy.problems == []
            assert ntfy.token not in daemon.log
        assert "hub-away:mini" not in OpenAlarms(Home(tmp_path, "mini").alarms).load()
        assert ["out of reach" in ntfy.messages[0]["title"], "back" in ntfy.messages[1]["title"]] == [True, True]


def test_the_next_life_says_that_the_hub_is_back(tmp_path: Path) -> None:
    with BareHub() as hub, FakeNtfy() as ntfy:
        url = hub.url
        hub.off()
        target = ChannelSettings("ntfy", "ntfy", ntfy.url, "topic", ntfy.token)
        more = {"hub_away_after_ms": 400, "heartbeat_interval_ms": 100, "channels": (target,)}
        with living(url, tmp_path, **more):
            eventually(lambda: ntfy.messages, what="that the hub is away")
        hub.on()
        with living(url, tmp_path, **more):
            eventually(lambda: len(ntfy.messages) >= 2, what="that it is back")
        assert "back" in ntfy.messages[1]["title"]
