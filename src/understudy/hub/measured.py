"""The state of a hub in numbers, read from a snapshot: what `/metrics` shows beside what the process has counted."""

from __future__ import annotations

from msgspec import UNSET, Struct

from understudy.coordinator.nouns import Daemon
from understudy.hub.queue_depth import queue_depth
from understudy.hub.takeover_view import takeover_answer
from understudy.hub.views import View
from understudy.store.base import Room
from understudy.store.reading import WORDS
from understudy.wire.answers.notices import ChannelJson
from understudy.wire.answers.takeover import BudgetJson, TakeoverAnswer

ALL = 1 << 53
OTHERS = "other"  # channels that are not configured any more
STATES, JUDGED_AS = WORDS[Daemon]["state"]
QUEUED_AS = ("ready", "delayed", "reserved")
TAKEOVER_STATES = ("off", "lacking", "watching", "open", "paused", "stopped")


class Outbox(Struct, frozen=True):
    """The notices that wait for one channel, and those that were given up."""

    waiting: int = 0
    oldest_s: float = 0.0
    dead: int = 0

    def with_one(self, channel: ChannelJson) -> Outbox:
        """Another channel counted in."""
        oldest_s = max(self.oldest_s, channel.oldest_sec)
        return Outbox(self.waiting + channel.waiting, oldest_s, self.dead + channel.dead)


class Measured(Struct, frozen=True):
    """All of it."""

    daemons: dict[str, int]  # by state
    queue: dict[str, int]
    oldest_s: float
    leases: int
    takeover: str  # one of TAKEOVER_STATES
    budget: BudgetJson
    outboxes: dict[str, Outbox]  # by channel
    room: Room
    unreadable: int  # rows


def measured(view: View) -> Measured:
    """All of it; it counts in the store and loads few rows, however many there are."""
    reader = view.reader
    depth = queue_depth(reader, ALL)
    oldest_ms = max(view.now.wall - depth.oldest_at, 0) if depth.oldest_at else 0
    takeover = takeover_answer(view)
    return Measured(
        _daemons(view),
        {name: getattr(depth, name) for name in QUEUED_AS},
        oldest_ms / 1000,
        depth.leased,
        state_of_takeover(takeover),
        takeover.budget,
        _outboxes(view),
        reader.room(),
        len(reader.unreadable.found),
    )


def _daemons(view: View) -> dict[str, int]:
    """A word that no daemon can be in counts as what such a daemon is judged as."""
    counted = dict.fromkeys(sorted(STATES), 0)
    for state, count in view.reader.daemon_states().items():
        counted[state if state in STATES else JUDGED_AS] += count
    return counted


def state_of_takeover(answer: TakeoverAnswer) -> str:
    """The state of takeover in one word."""
    if not answer.on:
        return "off"
    if answer.paused:
        return "paused"
    if answer.circuit is not UNSET:
        return "stopped"
    if not answer.ready:
        return "lacking"
    return "open" if answer.open else "watching"


def _outboxes(view: View) -> dict[str, Outbox]:
    """By channel as it is configured; what any others left behind is one."""
    counted: dict[str, Outbox] = {}
    for channel in view.channels().channels:
        name = channel.name if channel.configured else OTHERS
        counted[name] = counted.get(name, Outbox()).with_one(channel)
    return counted
