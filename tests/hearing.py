"""Seconds in which nothing is due are passed over: a hub that listens in each of them comes to the same.

A hub listens every second while somebody is watched, and a test lets hours pass. It listens a few times in a row,
so a hub that fails to is found; then it is as if it had gone on until something is due.
"""

from __future__ import annotations

from msgspec.structs import replace

from understudy.clock import Clock
from understudy.coordinator.hearing import hear
from understudy.coordinator.nouns import Hearing
from understudy.hub.alarm_loop import LOOK_EVERY_MS, _ahead
from understudy.store.base import Store, Transaction

LISTENED = 3  # times in a row: a gap is more than two seconds


def heard_meanwhile(store: Store, clock: Clock, most_ms: int) -> int:
    """How long nothing is due, at most `most_ms` and a minute; of that time the hub will have heard everything."""

    def promise(tx: Transaction) -> int:
        (hearing,) = tx.load_many(Hearing, (1,)) or [Hearing()]
        now = hear(hearing, tx.now_ms(clock))[1]
        pause_ms = max(0, min(most_ms, LOOK_EVERY_MS, *_ahead(tx.next_deadlines(), now).values()))
        tx.save_many([replace(hearing, promised_at=now.wall + pause_ms)])
        return pause_ms

    return store.transaction(promise)
