"""The event log as it grows: a ring of the events that are live only, and a bounded queue for each follower."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from msgspec import Struct
from msgspec.structs import replace

from understudy.errors import TooManyRequestsError, UnavailableError
from understudy.hub.batch import Committed
from understudy.store.base import EventFilter, StoredEvent
from understudy.store.search import event_text, folded

LIVE_KEPT = 1_000
FOLLOWER_QUEUED_MAX = 2_000
FOLLOWERS_OF_KEY_MAX = 100  # each costs the loop some 20 µs an event; people and dashboards need a handful
COME_AGAIN_S = 5


class LiveEvent(Struct, eq=False):
    """One event as it is handed to everybody who follows: what all of them need of it is worked out once."""

    stored: StoredEvent
    _bytes: bytes | None = None
    _text: str | None = None

    def encoded(self, encode_event: Callable[[StoredEvent], bytes]) -> bytes:
        """Its bytes on the wire; the same for all who follow."""
        if self._bytes is None:
            self._bytes = encode_event(self.stored)
        return self._bytes

    def is_wanted(self, wanted: EventFilter) -> bool:
        """True if it is one of those wanted: the same rule as the store's, for events in memory."""
        if not _is_in_range(self.stored, wanted):
            return False
        if not wanted.text:
            return True
        if self._text is None:
            event = self.stored.event
            self._text = event_text(event.name, event.component, event.message, event.fields)
        return folded(wanted.text) in self._text


class Follower:
    """One reader of the live log; one that is too slow has to start again from where it was."""

    def __init__(self, key_id: str = "") -> None:
        self.key_id = key_id
        self._queue: deque[LiveEvent] = deque()
        self._is_over = False
        self._news = asyncio.Event()

    def tell(self, item: LiveEvent) -> bool:
        """Hand over an event; False if there is no room."""
        if len(self._queue) >= FOLLOWER_QUEUED_MAX:
            return False
        self._queue.append(item)
        self._news.set()
        return True

    def end(self) -> None:
        """Nothing more comes; what is queued is thrown away."""
        self._queue.clear()
        self._is_over = True
        self._news.set()

    async def next(self, within_s: float) -> list[LiveEvent] | None:
        """All that has come, at the latest after a while; None at the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        self._news.clear()
        if self._is_over:
            return None
        item = list(self._queue)
        self._queue.clear()
        return item


class EventFeed:
    """Fans committed events out; used on the event loop only."""

    def __init__(self) -> None:
        self.live: deque[LiveEvent] = deque(maxlen=LIVE_KEPT)
        self.followers: set[Follower] = set()
        self.listeners: set[Callable[[Committed], None]] = set()  # of the pages: called after each commit with events
        self.endings: set[Callable[[], None]] = set()  # called when the hub is stopping
        self._of_key: Counter[str] = Counter()
        self.elsewhere: set[Callable[[Committed], None]] = set()  # called with the log of all hubs, for its names
        self.doubts: set[Callable[[], None]] = set()  # called when events of that log may have been missed
        self.is_followed = False  # stored events come from the log, in its order: `last_id` is how far it was read
        self.last_id = 0
        self.is_over = False  # the hub is stopping

    @property
    def is_read(self) -> bool:
        """True if somebody is shown what the events say; those elsewhere look at their names."""
        return bool(self.followers or self.listeners)

    @contextmanager
    def joined(self, key_id: str) -> Iterator[Follower]:
        """One more reader as long as the context lasts; TooManyRequestsError as by `join`."""
        follower = self.join(key_id)
        try:
            yield follower
        finally:
            self.leave(follower)

    def join(self, key_id: str) -> Follower:
        """One more reader; TooManyRequestsError when its key has as many as a key may have.

        UnavailableError when the hub is stopping.
        """
        if self.is_over:
            raise UnavailableError("The hub is stopping")
        if self._of_key[key_id] >= FOLLOWERS_OF_KEY_MAX:
            raise TooManyRequestsError(COME_AGAIN_S)
        follower = Follower(key_id)
        self.followers.add(follower)
        self._of_key[key_id] += 1
        return follower

    def leave(self, follower: Follower) -> None:
        """It reads no more."""
        self.followers.discard(follower)
        self._of_key[follower.key_id] -= 1
        if not self._of_key[follower.key_id]:
            del self._of_key[follower.key_id]

    def publish(self, committed: Committed) -> None:
        """After a commit: keep what is live only, tell the followers."""
        for listener in tuple(self.listeners):
            listener(committed)
        for found in committed.events:
            stored = StoredEvent(self.last_id, found.event) if found.event.live_only else found
            self.last_id = stored.id
            if not (self.followers or found.event.live_only):
                continue
            item = LiveEvent(stored)
            if found.event.live_only:
                self.live.append(item)
            for follower in tuple(self.followers):
                if not follower.tell(item):
                    self._drop(follower)

    def follow(self, events: Sequence[StoredEvent], last_id: int) -> None:
        """Publish what was read of the log that several hubs share, whichever of them wrote it."""
        committed = Committed((), tuple(events))
        if events:
            self.publish(committed)
            for listener in tuple(self.elsewhere):
                listener(committed)
        self.last_id = last_id

    def doubt(self) -> None:
        """Events may have been missed: what was learnt from them is asked for anew."""
        for listener in tuple(self.doubts):
            listener()

    def begin_anew(self) -> None:
        """The log is an older one, whose places are given a second time: those who follow have to begin again."""
        self.last_id = 0
        for follower in tuple(self.followers):
            self._drop(follower)
        self.doubt()

    def settled(self, wanted: EventFilter) -> EventFilter:
        """A filter of what the feed does not bring any more: the rest is still to come, in its order."""
        if not self.is_followed:
            return wanted
        end = self.last_id + 1
        return replace(wanted, before_id=min(wanted.before_id or end, end))

    def _drop(self, follower: Follower) -> None:
        """Its stream ends, to be resumed by Last-Event-ID."""
        self.followers.discard(follower)
        follower.end()

    def live_matching(self, wanted: EventFilter) -> list[StoredEvent]:
        """The events that are never stored, for readers who search or ask for level debug."""
        if wanted.after_id or not (wanted.text or "debug" in wanted.levels):
            return []
        return [item.stored for item in self.live if item.is_wanted(wanted)][-wanted.limit :]

    def close(self) -> None:
        """End every stream (the hub is stopping); new ones are refused."""
        self.is_over = True
        for ending in tuple(self.endings):
            ending()
        for follower in tuple(self.followers):
            self._drop(follower)


def _is_in_range(stored: StoredEvent, wanted: EventFilter) -> bool:
    event = stored.event
    if event.at < wanted.since_at or (wanted.levels and event.level not in wanted.levels):
        return False
    return not wanted.before_id or stored.id < wanted.before_id
