"""What a daemon tells its owner past the hub: in order, also where the network was away with the hub."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest

from tests.fakes.ntfy import FakeNtfy
from tests.fakes.webhook import FakeWebhook
from tests.waiting import eventually
from understudy.clock import SystemClock
from understudy.log import Log
from understudy.notify import ntfy as ntfy_channel
from understudy.notify.base import ChannelSettings, Outcome
from understudy.runtime.machine import local_notice
from understudy.runtime.machine.local_notice import LocalNotices
from understudy.runtime.transport import Transport
from understudy.wire.outbound import OutboundAnswer


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeNtfy], LocalNotices]:
    monkeypatch.setattr(local_notice, "PAUSES_S", (0.2, 0.2))

    def of(fake: FakeNtfy) -> LocalNotices:
        target = ChannelSettings("phone", "ntfy", address=fake.url, chat="topic", secret=fake.token)
        clock = SystemClock()
        return LocalNotices((target,), Transport(), clock, Log(clock, level="critical"), str)

    return of


def test_what_comes_while_the_last_one_is_still_tried_is_told_after_it(
    owner: Callable[[FakeNtfy], LocalNotices],
) -> None:
    with FakeNtfy() as ntfy:
        ntfy.plan([503])
        notices = owner(ntfy)
        notices.tell("critical", "Hub out of reach", "for 5 minutes")
        notices.tell("recovered", "Hub back", "it is in reach again")
        eventually(lambda: len(ntfy.messages) == 2, what="both")
        assert [message["message"] for message in ntfy.messages] == ["for 5 minutes", "it is in reach again"]
        notices.tell("critical", "Hub out of reach", "once more")
        eventually(lambda: len(ntfy.messages) == 3, what="the third")
        notices.stop()


def test_pagerduty_resolves_what_a_machine_has_triggered() -> None:
    with FakeWebhook(format="pagerduty") as pager:
        target = ChannelSettings("pager", "webhook", pager.address, secret=pager.secret, format="pagerduty")
        clock = SystemClock()
        notices = LocalNotices((target,), Transport(), clock, Log(clock, level="critical"), str)
        notices.tell("critical", "Hub out of reach", "for 5 minutes", "hub-away:mini")
        notices.tell("recovered", "Hub back", "it is in reach again", "hub-away:mini")
        eventually(lambda: len(pager.received) == 2, what="both")
        notices.stop()
        bodies = [request.json for request in pager.received]
    assert [body["event_action"] for body in bodies] == ["trigger", "resolve"]
    assert {body["dedup_key"] for body in bodies} == {"hub-away:mini"}


def test_an_answer_that_nobody_understands_gives_no_notice_up(
    owner: Callable[[FakeNtfy], LocalNotices], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, bugs = ntfy_channel.outcome_of, iter([OverflowError("a year beyond all calendars")])

    def odd(settings: ChannelSettings, answer: OutboundAnswer) -> Outcome:
        if bug := next(bugs, None):
            raise bug
        return read(settings, answer)

    monkeypatch.setattr(ntfy_channel, "outcome_of", odd)
    with FakeNtfy() as ntfy:
        notices = owner(ntfy)
        notices.tell("critical", "Hub out of reach", "for 5 minutes")
        eventually(lambda: len(ntfy.messages) == 2, what="the second try")
        notices.stop()


def test_a_machine_that_has_no_thread_left_is_told_all_the_same(
    owner: Callable[[FakeNtfy], LocalNotices], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeNtfy() as ntfy:
        notices = owner(ntfy)

        def scarce(thread: threading.Thread) -> None:
            assert thread.name != "local notice"
            start(thread)

        start = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", scarce)
        notices.tell("critical", "Hub out of reach", "for 5 minutes")
        eventually(lambda: ntfy.messages, what="the notice")
        notices.stop()


def test_a_form_that_is_refused_is_sent_once_more_as_plain_text(owner: Callable[[FakeNtfy], LocalNotices]) -> None:
    with FakeNtfy() as ntfy:
        ntfy.plan([400])
        notices = owner(ntfy)
        notices.tell("critical", "Hub out of reach", "for 5 minutes")
        eventually(lambda: ntfy.messages, what="the notice")
        notices.stop()


def test_what_a_receiver_repeats_is_cleaned_before_it_is_logged() -> None:
    clock = SystemClock()
    lines = io.StringIO()
    with FakeNtfy() as ntfy:
        ntfy.plan([404])
        target = ChannelSettings("phone", "ntfy", address=ntfy.url, chat="topic", secret=ntfy.token)
        notices = LocalNotices((target,), Transport(), clock, Log(clock, lines), lambda text: text.replace("fake", "x"))
        notices.tell("critical", "Hub out of reach", "for 5 minutes")
        eventually(lambda: "Nobody was told" in lines.getvalue(), what="the line")
        notices.stop()
    assert "refused by the x" in lines.getvalue()
