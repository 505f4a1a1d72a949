"""The event log as it grows: a ring of what is live only, and bounded queues for those who follow."""

from __future__ import annotations

import asyncio
from collections import deque

from msgspec.json import encode

from understudy.hub.batch import Committed
from understudy.store.base import EventFilter, StoredEvent

LIVE_KEPT = 1_000
FOLLOWER_QUEUED_MAX = 2_000


class Follower:
    """One reader of the live log; one that is too slow is told to start again from where it was."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[StoredEvent | None] = asyncio.Queue(FOLLOWER_QUEUED_MAX)

    def tell(self, stored: StoredEvent | None) -> bool:
        """Hand over an event; False if there is no room."""
        try:
            self.queue.put_nowait(stored)
        except asyncio.QueueFull:
            return False
        return True


class EventFeed:
    """Fans committed events out; used on the event loop only."""

    def __init__(self) -> None:
        self.live: deque[StoredEvent] = deque(maxlen=LIVE_KEPT)
        self.followers: set[Follower] = set()
        self.last_id = 0

    def publish(self, committed: Committed) -> None:
        """After a commit: keep what is live only, tell the followers."""
        for told in committed.events:
            stored = StoredEvent(self.last_id, told.event) if told.event.live_only else told
            if told.event.live_only:
                self.live.append(stored)
            self.last_id = stored.id
            for follower in tuple(self.followers):
                if not follower.tell(stored):
                    self._drop(follower)

    def _drop(self, follower: Follower) -> None:
        """Too slow: what is queued is thrown away, and the stream ends, to be resumed by Last-Event-ID."""
        self.followers.discard(follower)
        while not follower.queue.empty():
            follower.queue.get_nowait()
        follower.tell(None)

    def live_matching(self, wanted: EventFilter) -> list[StoredEvent]:
        """What is live only, for somebody who searches or asks for level debug."""
        if wanted.after_id or not (wanted.text or "debug" in wanted.levels):
            return []
        return [s for s in self.live if matches(s, wanted)][-wanted.limit :]

    def close(self) -> None:
        """End every stream (the hub is stopping)."""
        for follower in tuple(self.followers):
            self._drop(follower)


def matches(stored: StoredEvent, wanted: EventFilter) -> bool:
    """Whether an event is one of those wanted: the same rule as the store's, for events in memory."""
    event = stored.event
    if event.at < wanted.since_at or (wanted.levels and event.level not in wanted.levels):
        return False
    if wanted.before_id and stored.id >= wanted.before_id:
        return False
    if not wanted.text:
        return True
    text = f"{event.name} {event.component} {event.message} {encode(event.fields).decode()}".lower()
    return wanted.text.lower() in text
