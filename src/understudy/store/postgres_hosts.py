"""Chooses, among the servers that an address names, the one that a connection goes to.

libpq always tries the first one first. If that one is gone, each new connection would wait for its whole timeout; if it
is an old primary that came back by itself, it would be used again. Here the server that was used last comes first, and
no server is used that is behind another one: each promotion begins a new timeline of the same cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from understudy.store.postgres_pipeline import Statement
from understudy.store.postgres_wire import PostgresConnection

WRITABLE = ("read-write", "primary")
_HISTORY = "SELECT system_identifier::text, pg_walfile_name(pg_current_wal_lsn()) FROM pg_control_system()"
_TIMELINE_DIGITS = 8  # hexadecimal, at the start of a file's name


def apart(conninfo: str) -> list[str]:
    """A connection string for each server of one; itself where it does not ask for one that can be written to."""
    given = conninfo_to_dict(conninfo)
    lists = {name: str(given[name]).split(",") for name in ("host", "hostaddr", "port") if given.get(name)}
    count = max((len(values) for name, values in lists.items() if name != "port"), default=1)
    if len(lists.get("port", [])) == 1:
        lists["port"] *= count
    is_even = all(len(values) == count for values in lists.values())
    if count == 1 or not is_even or given.get("target_session_attrs") not in WRITABLE:
        return [conninfo]
    each = ({name: values[n] for name, values in lists.items()} for n in range(count))
    return [make_conninfo(conninfo, **one) for one in each]


def history(link: PostgresConnection) -> tuple[str, int]:
    """The cluster that a server belongs to, and its timeline; 0 where it does not say."""
    with suppress(psycopg.Error):
        ((cluster, log_file),) = link.ask(Statement(_HISTORY))
        return str(cluster), int(log_file[:_TIMELINE_DIGITS], 16)
    return "", 0


def _host(place: str) -> Any:
    given = conninfo_to_dict(place)
    return given.get("host") or given.get("hostaddr")


class Hosts:
    """Opens connections to the server of an address that can be written to."""

    def __init__(
        self,
        conninfo: str,
        connect: Callable[[str], PostgresConnection] = PostgresConnection,
        on_move: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_move` is called when a connection goes to another server than the one before it."""
        self._places = apart(conninfo)  # the one that was taken last is the first
        self._connect = connect
        self._on_move = on_move
        self._newest = ("", 0)
        self._server: tuple[str, str] | None = None  # that was taken last

    def opened(self, *, everywhere: bool = False) -> PostgresConnection:
        """A connection. psycopg.Error where no server takes one.

        The first time, and where `everywhere` says so, all servers are asked for the newest one.
        """
        if len(self._places) == 1:
            return self._noted(self._connect(self._places[0]))
        failures: list[str] = []
        best: PostgresConnection | None = None
        for link, is_newer in self._found(failures):
            if best is not None:
                (best if is_newer else link).close()
            best = link if best is None or is_newer else best
            if self._server and not everywhere:
                break
        if best is None:
            raise psycopg.OperationalError("; ".join(failures))
        self._places = [best.place, *(place for place in self._places if place != best.place)]
        return self._noted(best)

    def is_best(self, link: PostgresConnection) -> bool:
        """True if a new connection comes about, and would go to the server of this one too."""
        try:
            other = self.opened(everywhere=True)
        except psycopg.Error:
            return False
        other.close()
        return other.server == link.server

    def _noted(self, link: PostgresConnection) -> PostgresConnection:
        before, self._server = self._server, link.server
        if before not in (None, link.server):
            self._on_move()
        return link

    def _found(self, failures: list[str]) -> Iterator[tuple[PostgresConnection, bool]]:
        """Each connection that comes about, and whether its server is newer than all that were known."""
        for place in list(self._places):
            try:
                link = self._connect(place)
            except psycopg.Error as error:
                failures.append(str(error))
                continue
            cluster, timeline = history(link)
            known, found = self._newest, (cluster, timeline)
            is_newer = bool(cluster) and found != known  # one that does not say is taken, and not remembered
            if link.is_lost:
                failures.append(f"{_host(place)} was lost at once")
            elif cluster == known[0] and timeline < known[1]:
                link.close()
                failures.append(f"{_host(place)} is a primary of the past: another server was promoted")
            else:
                if is_newer:
                    self._newest = found
                yield link, is_newer
