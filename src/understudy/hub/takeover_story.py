"""The story of takeover for people: why it is open or shut, and what it did last; read from a snapshot."""

from __future__ import annotations

from msgspec import Struct

from understudy.coordinator import takeover
from understudy.coordinator.calls import TEXT
from understudy.coordinator.takeover_nouns import DaemonGroup, Reservation
from understudy.hub.takeover_view import takeover_answer, takeover_state
from understudy.hub.views import View
from understudy.hub.working_set import CALLS_READ_MAX
from understudy.store.queries import OPEN_CALLS, SETTLED_CALLS
from understudy.wire.answers.takeover import TakeoverAnswer

CALLS_SHOWN = 20


class Cause(Struct, frozen=True):
    """The cause for which takeover is open or shut for tasks that need no machine."""

    word: str  # off | no_daemon | here | soon | probe | open
    at: int = 0  # `soon`: when it opens, unless a daemon comes back
    here: tuple[DaemonGroup, ...] = ()  # `here`: the daemons that keep it shut


class TakeoverStory(Struct, frozen=True):
    """The answer of the API, and what explains it."""

    takeover: TakeoverAnswer
    cause: Cause


def takeover_story(view: View) -> TakeoverStory:
    """All of it."""
    answer = takeover_answer(view)
    return TakeoverStory(answer, _cause(view, answer))


def _cause(view: View, answer: TakeoverAnswer) -> Cause:
    if not answer.on:
        return Cause("off")
    groups, state = view.reader.daemon_groups(), takeover_state(view)
    if not groups:
        return Cause("no_daemon")
    if here := takeover.keeping_shut(groups, TEXT, view.now, view.policy, state):
        return Cause("here", here=tuple(here))
    at = takeover.opening(groups, TEXT, view.now, view.policy, state).at or 0
    if answer.open or answer.waits_for_probe:
        return Cause("open" if answer.open else "probe")
    return Cause("soon", max(at, view.now.wall))


def last_calls(view: View) -> list[Reservation]:
    """Those under way, then the last ones that have ended; the newest first."""
    under_way = view.reader.find(OPEN_CALLS, limit=CALLS_READ_MAX)
    return [*reversed(under_way), *view.reader.find(SETTLED_CALLS, limit=CALLS_SHOWN)][:CALLS_SHOWN]
