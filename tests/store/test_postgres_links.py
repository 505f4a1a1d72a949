"""A server that a hub leaves is left by all of its connections: those in use, idle ones, and those for hints."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import psycopg
import pytest

from tests.postgres import Server
from tests.waiting import eventually
from understudy.errors import StoreDownError
from understudy.store import postgres_hosts, postgres_pipeline, postgres_wire
from understudy.store.postgres import PostgresStore
from understudy.store.postgres_links import Links
from understudy.store.postgres_wire import PostgresConnection

NEW = "promoted"


class Pair:
    """Two servers, which are one behind two names; the second is the only one to go to once it is `promoted`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, server: Server, url: str, folder: Path) -> None:
        self.server = server
        self.is_promoted = False
        (folder / NEW).symlink_to(server.folder)
        hosts = f"{server.folder},{folder / NEW}"
        options = {"host": hosts, "port": server.port, "target_session_attrs": "read-write"}
        monkeypatch.setattr(postgres_hosts, "history", self._history)
        self.store = PostgresStore(f"{url.partition('?')[0]}?{urlencode(options)}")

    def _history(self, link: PostgresConnection) -> tuple[str, int]:
        if self.is_promoted and NEW not in link.place:
            link.close()
        return "cluster", 2 if self.is_promoted else 1


def end_of(server: Server, pid: int) -> None:
    assert server.ask("SELECT pg_terminate_backend(%s, 10000)", pid) == [(True,)]


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch, postgres_server: Server, postgres_url: str, tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(monkeypatch, postgres_server, postgres_url, tmp_path)
    with closing(pair.store):
        yield pair


def pid_of(tx: Any) -> int:
    ((pid,),) = tx._fetch("SELECT pg_backend_pid()")
    return int(pid)


def place_of(tx: Any) -> str:
    return str(tx._trips._link.place)


def two_at_once(store: PostgresStore, look: Any) -> list[Any]:
    """What two transactions see that are open at the same time."""
    return store.transaction(
        lambda outer: [look(outer), store.transaction(look, alone=False)],
        alone=False,
    )


def given_up(monkeypatch: pytest.MonkeyPatch, store: PostgresStore) -> None:
    """A writer waits in vain for a server that is not there any more."""
    with monkeypatch.context() as other:
        other.setattr(postgres_hosts.Hosts, "is_best", lambda *_: False)
        other.setattr(postgres_pipeline, "LOOK_AFTER_S", 0.1)
        with pytest.raises(StoreDownError, match="no answer"):
            store.transaction(lambda tx: (pid_of(tx), tx._fetch("SELECT 1 FROM pg_sleep(600)")))  # type: ignore[attr-defined]


def test_no_writer_of_a_server_that_was_left_is_used_again(pair: Pair) -> None:
    """The second, idle writer stayed on the old primary, and the next batch was committed there."""
    before = two_at_once(pair.store, pid_of)
    pair.is_promoted = True
    end_of(pair.server, before[0])  # it is used first
    assert all(NEW in place for place in two_at_once(pair.store, place_of))
    assert not set(before) & set(two_at_once(pair.store, pid_of))


def test_a_writer_in_use_does_not_come_back_from_a_server_that_was_left(pair: Pair) -> None:
    def meanwhile(tx: Any) -> int:
        pair.store.transaction(pid_of, alone=False)
        pair.is_promoted = True
        with pytest.raises(StoreDownError):
            pair.store.transaction(lambda other: (end_of(pair.server, pid_of(other)), pid_of(other)), alone=False)
        return pid_of(tx)

    before = pair.store.transaction(meanwhile, alone=False)
    assert before not in two_at_once(pair.store, pid_of)


def test_whoever_still_asks_a_server_is_cut_when_a_connection_finds_the_new_one(pair: Pair) -> None:
    """An old primary that nobody has fenced would acknowledge what it is told."""
    pair.store.transaction(pid_of)
    with pytest.raises(StoreDownError):
        pair.store.transaction(lambda tx: (pid_of(tx), _promoted(pair), pid_of(tx)))
    assert NEW in pair.store.transaction(place_of)


def test_a_frozen_server_is_left_when_its_name_leads_to_another_one(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    """New connections came about, so the old one was waited for until somebody ended that server."""
    with closing(PostgresStore(postgres_url)) as store:
        store.transaction(pid_of)
        other = postgres_wire._GREETING.replace("pg_postmaster_start_time()", "'2026-01-01'::timestamptz")
        monkeypatch.setattr(postgres_wire, "_GREETING", other)
        monkeypatch.setattr(postgres_pipeline, "LOOK_AFTER_S", 1.0)
        with pytest.raises(StoreDownError, match="no answer"):
            store.transaction(lambda tx: (pid_of(tx), tx._fetch("SELECT 1 FROM pg_sleep(4)")))  # type: ignore[attr-defined]
        monkeypatch.setattr(postgres_pipeline, "LOOK_AFTER_S", 0.5)
        assert store.transaction(lambda tx: tx._fetch("SELECT 1 FROM pg_sleep(1.2)"))  # type: ignore[attr-defined]


def test_an_address_that_leads_to_two_servers_by_turns_is_refused(postgres_url: str) -> None:
    starts = count()

    def connect(conninfo: str) -> PostgresConnection:
        link = PostgresConnection(conninfo)
        link.server = conninfo, str(next(starts) % 2)
        return link

    links = Links(postgres_url, connect)
    links.opened().close()
    with pytest.raises(psycopg.OperationalError, match="to another one then"):
        links.opened()


def test_hints_are_sent_and_heard_at_the_new_server(pair: Pair) -> None:
    """Both stayed with an old primary that went on, where no other hub hears or sends anything."""
    heard: list[str] = []
    pair.store.listen(heard.append)
    eventually(lambda: heard == [""], what="a listener")
    pair.store.signal("before")
    eventually(lambda: heard == ["", "before"], what="a hint")
    _promoted(pair)
    eventually(lambda: heard == ["", "before", ""], what="a listener at the new server")
    pair.store.signal("after")
    assert NEW in pair.store._sender._link.place  # type: ignore[union-attr]
    eventually(lambda: "after" in heard, what="the hint")


def _promoted(pair: Pair) -> None:
    pair.is_promoted = True
    assert NEW in pair.store.read(lambda _: pair.store.read(place_of))  # an idle reader is not used by both


def test_a_reader_that_is_idle_when_its_server_is_given_up_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch, postgres_server: Server, postgres_url: str
) -> None:
    with closing(PostgresStore(postgres_url)) as store:
        store.transaction(pid_of)
        before = store.read(pid_of)
        assert store.read(pid_of) == before
        given_up(monkeypatch, store)
        assert store.read(pid_of) != before
    _end_sleep(postgres_server, postgres_url)


def test_a_reader_that_is_given_back_after_its_server_was_left_is_not_used_again(
    postgres_server: Server, postgres_url: str
) -> None:
    with closing(PostgresStore(postgres_url)) as store:
        before = store.read(lambda tx: (lose_writer(store, postgres_server), store.transaction(pid_of), pid_of(tx))[2])
        assert store.read(pid_of) != before


def lose_writer(store: PostgresStore, server: Server) -> None:
    with pytest.raises(StoreDownError):
        store.transaction(lambda tx: (end_of(server, pid_of(tx)), pid_of(tx)))


@pytest.fixture
def frozen_reader(
    monkeypatch: pytest.MonkeyPatch, postgres_server: Server, postgres_url: str
) -> Iterator[tuple[PostgresStore, threading.Thread]]:
    """A store, and the thread of a read whose server answers nothing to its ROLLBACK."""
    frozen: list[psutil.Process] = []

    def freeze(tx: Any) -> None:
        process = psutil.Process(pid_of(tx))
        process.suspend()
        frozen.append(process)

    with closing(PostgresStore(postgres_url)) as store:
        store.transaction(pid_of)
        monkeypatch.setattr(postgres_pipeline, "LOOK_AFTER_S", 1.0)
        read = threading.Thread(target=lambda: store.read(freeze), daemon=True)
        read.start()
        eventually(lambda: frozen, what="a server that is frozen")
        try:
            yield store, read
        finally:
            frozen[0].resume()
    _end_sleep(postgres_server, postgres_url)


def test_a_reader_that_waits_for_the_end_of_its_snapshot_leaves_a_frozen_server(
    monkeypatch: pytest.MonkeyPatch, frozen_reader: tuple[PostgresStore, threading.Thread]
) -> None:
    """It waited for the answer to its ROLLBACK until the server went on, and so did the end of the hub."""
    store, read = frozen_reader
    given_up(monkeypatch, store)
    read.join(30)
    assert not read.is_alive()


def test_a_reader_waits_no_longer_for_a_server_where_a_writer_was_lost(
    postgres_server: Server, frozen_reader: tuple[PostgresStore, threading.Thread]
) -> None:
    """Nothing cuts it: the server may be well, and only that writer be gone."""
    store, read = frozen_reader
    lose_writer(store, postgres_server)
    read.join(30)
    assert not read.is_alive()


def _end_sleep(server: Server, url: str) -> None:
    server.cut(url.partition("?")[0].rpartition("/")[2])
