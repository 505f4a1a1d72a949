"""Waiting long polls: the commit that makes a task claimable wakes one of those who may have it."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice

import msgspec

from understudy.coordinator.nouns import Task
from understudy.errors import UnavailableError
from understudy.wire.limits import WAITING_POLLS_MAX

Kind = tuple[str, str]  # of a task: its needs as JSON, and the daemon that it waits for ("": any)
Group = tuple[frozenset[str], frozenset[str]]  # what a worker provides, and the names that it answers to


class Waiting:
    """The claims that wait, by the tags they offer; used on the event loop only."""

    def __init__(self) -> None:
        self._groups: OrderedDict[Group, deque[asyncio.Future[None]]] = OrderedDict()
        self._barred: set[asyncio.Future[None]] = set()
        self.count = 0
        self.is_over = False  # the hub is stopping: nobody waits any more

    def join(self, provides: frozenset[str], names: frozenset[str]) -> asyncio.Future[None]:
        """A future that is done when there may be a task; UnavailableError when too many wait."""
        self._check_room()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._groups.setdefault((provides, names), deque()).append(waiter)
        self.count += 1
        if self.is_over:
            waiter.set_result(None)
        return waiter

    @contextmanager
    def barred(self) -> Iterator[asyncio.Future[None]]:
        """A place beside the line, for a claim that may have no task now: a future that is done when the hub stops."""
        self._check_room()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._barred.add(waiter)
        self.count += 1
        try:
            yield waiter
        finally:
            self._barred.discard(waiter)
            self.count -= 1

    @contextmanager
    def place(self) -> Iterator[None]:
        """A stream, counted among those who wait; UnavailableError when too many do."""
        self._check_room()
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    def _check_room(self) -> None:
        if self.count >= WAITING_POLLS_MAX:
            raise UnavailableError("Too many waiting requests")

    def leave(self, provides: frozenset[str], names: frozenset[str], waiter: asyncio.Future[None]) -> None:
        """Wait no more."""
        self.count -= 1
        group = self._groups.get((provides, names))
        if group is None:
            return
        with suppress(ValueError):  # it was woken: then it is not in the line any more
            group.remove(waiter)
        if not group:
            self._groups.pop((provides, names), None)

    def wake(self, tasks: Iterable[Task]) -> Counter[Kind]:
        """Wake one waiter for each claimable task, those who wait longest first → the tasks for which nobody waits."""
        left: Counter[Kind] = Counter()
        for task in tasks:
            if task.ready or task.waiting_for:
                kind = (task.needs, task.waiting_for)
                if not self.wake_for(kind, 1):
                    left[kind] += 1
        return left

    def wake_for(self, kind: Kind, count: int) -> int:
        """Wake so many of those who may have a task of this kind → the number of those who were woken."""
        if not self._groups:
            return 0
        needs, waiting_for = frozenset(msgspec.json.decode(kind[0])), kind[1]
        woken = 0
        for (provides, names), line in self._groups.items():
            may_have_it = needs <= provides and (not waiting_for or waiting_for in names)
            while may_have_it and woken < count and _wake_first(line):
                woken += 1
        return woken

    def groups(self, most: int) -> list[tuple[Group, int]]:
        """Up to so many groups that wait, with the number of those in each; others come first the next time."""
        chosen = [(group, len(line)) for group, line in islice(self._groups.items(), most) if line]
        for group, _ in chosen:
            self._groups.move_to_end(group)
        return chosen

    def wake_group(self, group: Group, count: int) -> None:
        """Wake so many of one group."""
        line = self._groups.get(group, deque())
        while count and _wake_first(line):
            count -= 1

    def pass_on(self) -> None:
        """Somebody was woken and went away: let the longest waiting of each kind look."""
        for line in self._groups.values():
            _wake_first(line)

    def close(self) -> None:
        """Let everybody look once more, and nobody wait from here on (the hub is stopping)."""
        self.is_over = True
        for line in self._groups.values():
            while _wake_first(line):
                pass
        for waiter in self._barred:
            if not waiter.done():
                waiter.set_result(None)


def _wake_first(line: deque[asyncio.Future[None]]) -> bool:
    """Wake the one that has waited longest and still does; False if none does."""
    while line:
        waiter = line.popleft()
        if not waiter.done():
            waiter.set_result(None)
            return True
    return False
