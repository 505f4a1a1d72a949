"""Pages that are open, kept up to date: each fragment is rendered once for all who see the same.

Theory of operation. After each commit the names of its events are noted: that is all that pages cost the hot path. A
task of the event loop gathers them for 50 ms, marks the fragments that name their nouns as stale, and has those that
are due rendered like any read (in a thread, from a snapshot). If the bytes have changed, everybody who looks at the
fragment gets them. For a slow reader only the newest state of each fragment waits, so no queue grows. After rendering,
a fragment rests for 20 times as long as that took, but at most 0.9 s, so that nothing on a page is older than a second.
A fragment that searches waits in the queue of searches, one at a time, so that it delays nothing else; it rests for 20
times its own time, but at most a minute. While nobody looks, nothing is noted or rendered.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress

import msgspec
from msgspec import Struct

from understudy.api.hub import Hub
from understudy.dashboard.page import ANONYMOUS, Fragment, Given
from understudy.errors import TooManyRequestsError, UnavailableError, UnderstudyError
from understudy.hub.batch import Committed
from understudy.hub.views import View

GATHER_S = 0.05
PACE_MOST_S = 0.9
PACE_OF_SEARCH_MOST_S = 60.0
COST_PART = 20  # a fragment takes at most so many parts of a core
SAID_MAX = 10_000
RETRY_S = 2.0
ROUND_S = 0.25
CHECK_EVERY_S = 30.0
AGAIN_S = 5
WATCHERS_OF_SESSION_MAX = 200
ACTED = "act"  # stands for the noun of whatever an act has changed

Render = Callable[[Fragment, Given, View], str]


class RenderedFragment(Struct, frozen=True):
    """The bytes of a fragment, and the mark by which a browser says what it has."""

    name: str
    html: str
    mark: str

    @property
    def message(self) -> bytes:
        """The Server-Sent Event that brings it."""
        body = msgspec.json.encode({"name": self.name, "mark": self.mark, "html": self.html})
        return b"event: fragment\ndata: " + body + b"\n\n"


def shown_of(name: str, html: str) -> RenderedFragment:
    """With its mark."""
    return RenderedFragment(name, html, hashlib.blake2b(html.encode(), digest_size=6).hexdigest())


class Looked:
    """A fragment that somebody looks at."""

    def __init__(self, fragment: Fragment, given: Given) -> None:
        self.fragment = fragment
        self.given = given
        self.shown: RenderedFragment | None = None
        self.message = b""
        self.watchers: set[Watcher] = set()
        self.is_stale = True
        self.is_under_way = False  # being rendered: what is shown may be older than what made it stale
        self.is_in_line = False  # of those that are to be searched
        self.due_at = 0.0  # of the loop's clock: not rendered before
        self.old_at = 0.0  # stale from then on without any news; 0: never

    @property
    def is_search(self) -> bool:
        """True if it may have to read everything."""
        return self.fragment.is_search(self.given)

    def pause_s(self, cost_s: float) -> float:
        """The time until it may be rendered again, after that took so long."""
        most_s = PACE_OF_SEARCH_MOST_S if self.is_search else PACE_MOST_S
        return max(self.fragment.pace_s, min(cost_s * COST_PART, most_s))

    def is_touched(self, said: Mapping[str, AbstractSet[str]]) -> bool:
        """True if it depends on one of these events: by their first words, the tasks that they are about ("": none)."""
        wanted = {"", self.given[self.fragment.about]} if self.fragment.about else None
        of_ours = self.fragment.nouns & said.keys()
        return any(wanted is None or wanted & said[noun] for noun in of_ours)

    def take(self, shown: RenderedFragment, now: float, cost_s: float) -> None:
        """It was rendered; what is new goes to all who look, and to those who have joined with something else."""
        fragment = self.fragment
        self.due_at = now + self.pause_s(cost_s)
        self.old_at = now + fragment.every_s if fragment.every_s else 0.0
        if self.shown is None or shown.mark != self.shown.mark:
            self.shown, self.message = shown, shown.message
        for watcher in self.watchers:
            watcher.tell(self)


class Watcher:
    """One open page: it notes the fragments that are new, and fetches them when it can."""

    def __init__(self, session_id: str, marks: dict[str, str]) -> None:
        self.session_id = session_id
        self._marks = marks  # by name, what the browser has
        self._new: dict[str, Looked] = {}
        self._news = asyncio.Event()
        self.over = ""  # why nothing more comes: session, gone or stopping

    def tell(self, looked: Looked) -> None:
        """A fragment is new, unless the browser has just that."""
        if looked.shown is not None and self._marks.get(looked.fragment.name) != looked.shown.mark:
            self._new[looked.fragment.name] = looked
            self._news.set()

    def end(self, why: str) -> None:
        """Nothing more comes."""
        self.over = self.over or why
        self._news.set()

    async def next(self, within_s: float) -> list[bytes]:
        """The messages that are new, at the latest after a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        self._news.clear()
        new, self._new = self._new, {}
        for name, looked in new.items():
            assert looked.shown is not None
            self._marks[name] = looked.shown.mark
        return [looked.message for looked in new.values()]


class Live:
    """Everybody who looks, and what at; used on the event loop only."""

    def __init__(self, hub: Hub, render: Render, held: Callable[[tuple[str, ...]], Awaitable[frozenset[str]]]) -> None:
        self._hub = hub
        self._render_one = render
        self._held = held  # which of these sessions are
        self._looked: dict[tuple[str, Given], Looked] = {}
        self._watchers: set[Watcher] = set()
        self._of_session: Counter[str] = Counter()
        self._said: set[tuple[str, str]] = set()  # events: name, and the task that it is about
        self._line: list[Looked] = []  # to be searched
        self._searching: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._check_at = 0.0  # of the loop's clock: when sessions are looked at without any news of them

    def shown(self, fragment: Fragment, given: Given) -> RenderedFragment | None:
        """The fragment as all see it now; None if nobody looks, or it is not up to date."""
        found = self._looked.get((fragment.name, given))
        if found is None or found.is_stale or found.is_under_way or self._said:
            return None
        return found.shown

    @contextmanager
    def joined(
        self, session_id: str, wanted: Sequence[tuple[Fragment, Given]], marks: dict[str, str]
    ) -> Iterator[Watcher]:
        """One more open page as long as the context lasts; TooManyRequestsError when its session has too many.

        UnavailableError when the hub is stopping.
        """
        if self._hub.feed.is_over:
            raise UnavailableError("The hub is stopping")
        if self._of_session[session_id] >= WATCHERS_OF_SESSION_MAX:
            raise TooManyRequestsError(AGAIN_S)
        watcher = Watcher(session_id, marks)
        self._join(watcher, wanted)
        try:
            yield watcher
        finally:
            self._leave(watcher)

    def _join(self, watcher: Watcher, wanted: Sequence[tuple[Fragment, Given]]) -> None:
        self._watchers.add(watcher)
        self._of_session[watcher.session_id] += 1
        for fragment, given in wanted:
            looked = self._looked.setdefault((fragment.name, given), Looked(fragment, given))
            looked.watchers.add(watcher)
            if self.shown(fragment, given) is not None:
                watcher.tell(looked)
            elif not looked.is_under_way:  # what others see may be older than this page
                looked.is_stale = True
        self._check_at = 0.0  # since this session was let in it may have ended, and nobody noted that for this page
        self._hub.feed.listeners.add(self._note)
        self._hub.feed.endings.add(self._stop)
        self._news.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        self._of_session[watcher.session_id] -= 1
        if not self._of_session[watcher.session_id]:
            del self._of_session[watcher.session_id]
        for key, looked in [*self._looked.items()]:
            looked.watchers.discard(watcher)
            if not looked.watchers:
                del self._looked[key]
        if not self._watchers:
            self._hub.feed.listeners.discard(self._note)
            self._hub.feed.endings.discard(self._stop)
            self._said.clear()
            self._line.clear()
            self._news.set()
            if self._searching is not None:
                self._searching.cancel()
                self._searching = None

    def _note(self, committed: Committed) -> None:
        """After a commit, on the hot path."""
        self._said.update([(stored.event.name, stored.event.task_id) for stored in committed.events])
        if len(self._said) > SAID_MAX:  # too many to tell their tasks apart
            self._said = {(name, "") for name, _ in self._said}
        self._news.set()

    def acted(self) -> None:
        """An act of a page was done: whatever it changed is looked at again."""
        if self._watchers:
            self._said.add((ACTED, ""))
            self._news.set()

    async def _run(self) -> None:
        """Until nobody looks."""
        while self._watchers:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest_s()):
                    await self._news.wait()
            await asyncio.sleep(GATHER_S)
            try:
                await self._look()
            except Exception as bug:  # noqa: BLE001 - without this task every open page would stand still
                self._hub.log.emit("critical", "Pages", f"Internal error of the live pages: {bug!r}")

    async def _look(self) -> None:
        """Take what was noted, and render what is due."""
        self._news.clear()
        said: dict[str, set[str]] = defaultdict(set)
        events, self._said = self._said, set()
        for name, task_id in events:
            said[name.partition(".")[0]].add(task_id)
        self._mark(said)
        if said.keys() & {"session", "key", ACTED} or self._check_at <= self._now():
            await self._end_sessions()
        until = self._now() + ROUND_S  # the rest stands in line with whatever becomes due meanwhile
        for looked in self._due():
            if looked.is_search:
                self._search_soon(looked)
            elif self._now() < until:
                await self._render(looked)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _rest_s(self) -> float:
        """The time without anything to do, unless there is news."""
        instants = [self._check_at]
        instants += [looked.due_at for looked in self._looked.values() if looked.is_stale and not looked.is_in_line]
        instants += [looked.old_at for looked in self._looked.values() if looked.old_at]
        return max(min(instants) - self._now(), 0.0)

    def _mark(self, said: Mapping[str, AbstractSet[str]]) -> None:
        now = self._now()
        for looked in self._looked.values():
            if ACTED in said or looked.is_touched(said) or (looked.old_at and looked.old_at <= now):
                looked.is_stale = True

    def _due(self) -> list[Looked]:
        now = self._now()
        stale = [looked for looked in self._looked.values() if looked.is_stale and not looked.is_in_line]
        return sorted((looked for looked in stale if looked.due_at <= now), key=self._rank)

    def _rank(self, looked: Looked) -> int:
        """The number of pages of the session that has fewest: who opens hundreds waits for those who open one."""
        return min((self._of_session[watcher.session_id] for watcher in looked.watchers), default=0)

    def _search_soon(self, looked: Looked) -> None:
        looked.is_in_line = True
        self._line.append(looked)
        if self._searching is None or self._searching.done():
            self._searching = asyncio.get_running_loop().create_task(self._search())

    async def _search(self) -> None:
        """Those in the line, one after the other; in between others may search as long."""
        while self._line:
            looked = self._line.pop(0)
            looked.is_in_line = False
            if looked.watchers:
                began = self._now()
                await self._render(looked)
                self._news.set()  # it is due at another time
                await asyncio.sleep(self._now() - began)

    async def _render(self, looked: Looked) -> None:
        looked.is_stale, looked.is_under_way = False, True
        began = self._now()
        fragment = looked.fragment
        try:
            html = await self._read(looked)
        except UnderstudyError:  # the store fails, or too many read: the page says that it is stale meanwhile
            self._try_later(looked, began)
            return
        except Exception as bug:  # noqa: BLE001 - one fragment's bug must not stop the others
            self._hub.log.emit("critical", "Pages", f"Internal error in the fragment {fragment.name}: {bug!r}")
            self._try_later(looked, began)
            return
        finally:
            looked.is_under_way = False
        now = self._now()
        looked.take(shown_of(fragment.name, html), now, now - began)

    async def _read(self, looked: Looked) -> str:
        def show(view: View) -> str:
            return self._render_one(looked.fragment, looked.given, view)

        return await (self._hub.search(ANONYMOUS, show) if looked.is_search else self._hub.view(show, ANONYMOUS))

    def _try_later(self, looked: Looked, began: float) -> None:
        now = self._now()
        looked.is_stale, looked.due_at = True, now + max(RETRY_S, looked.pause_s(now - began))

    async def _end_sessions(self) -> None:
        """End the pages of sessions that are not held any more; a look that fails is soon taken again."""
        self._check_at = self._now() + RETRY_S
        asked = {watcher.session_id for watcher in self._watchers}
        with suppress(UnderstudyError):
            over = asked - await self._held(tuple(asked))
            for watcher in self._watchers:
                if watcher.session_id in over:
                    watcher.end("session")
            has_newcomer = any(watcher.session_id not in asked for watcher in self._watchers)
            self._check_at = 0.0 if has_newcomer else self._now() + CHECK_EVERY_S

    def _stop(self) -> None:
        for watcher in self._watchers:
            watcher.end("stopping")
