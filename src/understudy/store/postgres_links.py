"""The connections of one store. All are to one server, and a server that is left is left by all of them.

Each belongs to a generation. Those of earlier ones are never lent again: they end with what is asked there, or are cut.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakSet

import psycopg

from understudy.store.postgres_hosts import Hosts
from understudy.store.postgres_wire import PostgresConnection

TRIES_MAX = 5  # for a connection, while the others are given up


class Links:
    """Opens connections, and keeps those that nobody uses now. Used from every thread."""

    def __init__(self, conninfo: str, connect: Callable[[str], PostgresConnection]) -> None:
        self._hosts = Hosts(conninfo, connect, self.leave)
        self._lock = threading.Lock()
        self._generation = 0
        self._open: WeakSet[PostgresConnection] = WeakSet()
        self._pools: list[deque[PostgresConnection]] = []
        self._is_closed = False

    def opened(self) -> PostgresConnection:
        """A new one, to the server that is used now; psycopg.Error."""
        for _ in range(TRIES_MAX):
            generation = self._generation
            link = self._hosts.opened()
            link.generation = generation
            with self._lock:
                self._open.add(link)
            if self.is_current(link):
                return link
            link.close()
        raise psycopg.OperationalError("the address leads to one server now and to another one then")

    # ---- those that are kept

    def pool(self) -> deque[PostgresConnection]:
        """A place for connections of one kind."""
        self._pools.append(deque())
        return self._pools[-1]

    def lent(self, pool: deque[PostgresConnection]) -> PostgresConnection | None:
        """The one used last, as its server remembers most."""
        with suppress(IndexError):
            while True:
                link = pool.pop()
                if self.is_current(link):
                    return link
                link.close()
        return None

    def give_back(self, link: PostgresConnection, pool: deque[PostgresConnection], most: int) -> None:
        """Keep it, if there are not so many yet and it may be used again."""
        if self._is_closed or link.is_lost or not self.is_current(link) or len(pool) >= most:
            link.close()
        else:
            pool.append(link)

    # ---- those that are left

    def is_current(self, link: PostgresConnection) -> bool:
        """True unless all that were open with it were given up."""
        return link.generation == self._generation

    def is_worth_waiting(self, link: PostgresConnection) -> bool:
        """True while its server is there, and no newer one; otherwise that server is left at once."""
        if not self._hosts.is_best(link) and self.is_current(link):
            self.leave()
        return self.is_current(link)

    def lost(self, link: PostgresConnection) -> None:
        """Its server may be gone: the others are used no more."""
        if self.is_current(link):
            self.forget()

    def forget(self) -> None:
        """Use none of them again; those that are lent are closed when they are given back."""
        with self._lock:
            self._generation += 1
        for pool in self._pools:
            drop(pool)

    def leave(self) -> None:
        """Use none of them again, and end what is asked on them: their server may never answer, or is not the one."""
        self.forget()
        with self._lock:
            left = [link for link in self._open if not self.is_current(link)]
        for link in left:
            link.cut()

    def close(self) -> None:
        """Keep none any more."""
        self._is_closed = True
        self.forget()


def drop(pool: deque[PostgresConnection]) -> None:
    """Close all of a kind that nobody uses now."""
    with suppress(IndexError):
        while True:
            pool.pop().close()
