"""Planted bugs of a hub that is put to sleep."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from msgspec.structs import replace

from understudy.coordinator import hearing, outbox
from understudy.coordinator.changes import Change
from understudy.coordinator.nouns import Hearing, Now
from understudy.hub import batch, starts
from understudy.hub.alarm_loop import Alarm
from understudy.hub.delivery import Delivery
from understudy.hub.outbox import Outgoing, SettleNotice
from understudy.notify.base import Sent
from understudy.runtime.one_loop.turns import NEVER, Turns
from understudy.simulation.mutants.planting import planted


def promises_too_much() -> AbstractContextManager[None]:
    """A hub says that it will listen a minute later than its alarm is set to: so long it misses nobody."""
    later_ms = 60_000

    def promised(row: Hearing, now: Now, within_ms: int) -> Hearing:
        return original(row, now, within_ms + later_ms)

    def promised_anew(row: Hearing, now: Now, within_ms: int) -> Change[Hearing]:
        return anew(row, now, within_ms + later_ms)

    original, anew = hearing.promised, hearing.promised_anew
    return planted((batch, "promised", promised), (starts, "promised_anew", promised_anew))


def absence_is_sleep() -> AbstractContextManager[None]:
    """A hub that was away takes it for sleep, however long it was."""
    return planted((hearing, "_is_promised", lambda row, wall: row.heard_at <= wall and row.promised_at > 0))


def sleep_is_a_gap() -> AbstractContextManager[None]:
    """A hub that was put to sleep takes it for an absence."""
    return planted((hearing, "_is_promised", lambda *_: False))


def alarm_stays_where_it_is() -> AbstractContextManager[None]:
    """A nearer deadline does not move the alarm of the place."""
    original = vars(Turns)["_set_bell"]

    def set_bell(self: Turns) -> None:
        if self._bell_mono == NEVER:  # none is set
            original(self)

    return planted((Turns, "_set_bell", set_bell))


def promise_is_made_once() -> AbstractContextManager[None]:
    """The alarm rings when nothing is due, and the hub does not say again until when it sleeps."""
    original = vars(Alarm)["_promise"]

    def promise(self: Alarm) -> Any:
        yield from original(self)
        self._promised_mono = NEVER

    return planted((Alarm, "_promise", promise))


def notice_counts_before_it_arrives() -> AbstractContextManager[None]:
    """A notice is noted as sent before its receiver has said so: forgotten meanwhile, it is lost."""
    original = vars(Delivery)["_deliver"]

    def deliver(self: Delivery, outgoing: Outgoing) -> Any:
        yield SettleNotice(outgoing.notice, Sent())
        yield from original(self, outgoing)

    return planted((Delivery, "_deliver", deliver))


def notice_in_hand_is_left() -> AbstractContextManager[None]:
    """A notice that a life of the hub was sending when it was forgotten is not sent by the next one."""
    return planted((outbox, "reclaim", lambda row, *_: Change(replace(row, taken_until=NEVER))))
