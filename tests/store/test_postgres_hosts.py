"""A connection goes to the newest server of several, and a hub leaves one that was replaced or is frozen."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlencode

import psutil
import psycopg
import pytest

from tests.postgres import Server
from tests.store.conformance import queued
from tests.waiting import eventually
from understudy.coordinator.nouns import Result, Task
from understudy.errors import StoreDownError
from understudy.store import postgres_hosts, postgres_pipeline, postgres_signals, postgres_wire
from understudy.store.postgres import PostgresStore
from understudy.store.postgres_hosts import Hosts, apart, history
from understudy.store.postgres_pipeline import Statement
from understudy.store.postgres_wire import PostgresConnection

TWO = "host=a,b port=1,2 dbname=u target_session_attrs=read-write"


@pytest.mark.parametrize(
    ("conninfo", "hosts"),
    [
        (TWO, [("a", "1"), ("b", "2")]),
        ("host=a,b port=7 target_session_attrs=primary", [("a", "7"), ("b", "7")]),
        ("host=a,b target_session_attrs=read-write", [("a", None), ("b", None)]),
        ("hostaddr=::1,::2 target_session_attrs=read-write", [(None, None), (None, None)]),
        ("host=/s target_session_attrs=read-write", [("/s", None)]),
        ("host=a,b", [("a,b", None)]),
        ("host=a,b target_session_attrs=any", [("a,b", None)]),
        ("host=a,b port=1,2,3 target_session_attrs=read-write", [("a,b", "1,2,3")]),
    ],
)
def test_each_server_has_a_string_of_its_own(conninfo: str, hosts: list[Any]) -> None:
    found = [psycopg.conninfo.conninfo_to_dict(one) for one in apart(conninfo)]
    assert [(one.get("host"), one.get("port")) for one in found] == hosts


class Played:
    """Servers by host: their timeline, or 0 for one that does not answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **timelines: int) -> None:
        self.timelines = timelines
        self.asked: list[str] = []
        self.is_silent = False  # about timelines
        monkeypatch.setattr(postgres_hosts, "history", self._history)
        self.hosts = Hosts(TWO, self._connect)

    def _connect(self, conninfo: str) -> Any:
        host = str(psycopg.conninfo.conninfo_to_dict(conninfo)["host"])
        self.asked.append(host)
        if not self.timelines[host]:
            raise psycopg.OperationalError(f"{host} does not answer")
        return PlayedLink(host, conninfo)

    def _history(self, link: Any) -> tuple[str, int]:
        return ("", 0) if self.is_silent else ("cluster", self.timelines[link.host])

    def opened(self) -> str:
        self.asked.clear()
        return str(self.hosts.opened().host)  # type: ignore[attr-defined]


class PlayedLink:
    is_lost = False

    def __init__(self, host: str, place: str) -> None:
        self.host = host
        self.place = place
        self.server = place, ""

    def close(self) -> None:
        pass


def test_the_server_that_was_taken_last_is_the_first_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Played(monkeypatch, a=0, b=1)
    assert (servers.opened(), servers.asked) == ("b", ["a", "b"])
    assert (servers.opened(), servers.asked) == ("b", ["b"])
    servers.timelines = {"a": 2, "b": 0}
    assert (servers.opened(), servers.asked) == ("a", ["b", "a"])


def test_a_primary_that_was_replaced_is_not_taken_when_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Played(monkeypatch, a=1, b=0)
    assert servers.opened() == "a"
    servers.timelines = {"a": 0, "b": 2}
    assert servers.opened() == "b"
    servers.timelines = {"a": 1, "b": 0}
    with pytest.raises(psycopg.OperationalError, match="b does not answer; a is a primary of the past"):
        servers.opened()


def test_a_primary_of_the_past_is_not_taken_after_the_new_one_has_once_not_said_its_timeline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    servers = Played(monkeypatch, a=0, b=2)
    assert servers.opened() == "b"
    servers.is_silent = True
    assert servers.opened() == "b"
    with monkeypatch.context() as lost:
        lost.setattr(PlayedLink, "is_lost", True)
        with pytest.raises(psycopg.OperationalError, match="b was lost at once"):
            servers.opened()
    servers.timelines, servers.is_silent = {"a": 1, "b": 0}, False
    with pytest.raises(psycopg.OperationalError, match="a is a primary of the past"):
        servers.opened()


def test_a_hub_that_starts_takes_the_newest_of_all_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Played(monkeypatch, a=1, b=2)
    assert (servers.opened(), servers.asked) == ("b", ["a", "b"])
    assert Played(monkeypatch, a=2, b=1).opened() == "a"


def test_a_server_is_worth_waiting_for_until_another_one_is_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Played(monkeypatch, a=1, b=0)
    link = servers.hosts.opened()
    assert servers.hosts.is_best(link)
    servers.timelines = {"a": 1, "b": 2}
    assert not servers.hosts.is_best(link)
    assert servers.opened() == "b"
    servers.timelines = {"a": 0, "b": 0}
    assert not servers.hosts.is_best(link)


def test_an_answer_is_waited_for_only_while_its_server_is_the_one_to_ask(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    answers = iter((True, True, False))
    with closing(PostgresConnection(postgres_url)) as link:
        monkeypatch.setattr(postgres_pipeline, "LOOK_AFTER_S", 0.1)  # not before: a busy server greets late
        link.pipeline.is_worth_waiting = lambda: True
        (slept,), _ = link.pipeline.run((Statement("SELECT 1 FROM pg_sleep(0.3)"),))
        assert link.pipeline.rows(slept)
        link.pipeline.is_worth_waiting = lambda: next(answers)
        with pytest.raises(psycopg.OperationalError, match="no answer"):
            link.pipeline.run((Statement("SELECT 1 FROM pg_sleep(600)"),))
        assert (link.is_lost, list(answers)) == (True, [])


def test_a_server_that_takes_a_connection_and_then_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, postgres_server: Server, postgres_url: str
) -> None:
    with monkeypatch.context() as frozen:
        frozen.setattr(postgres_pipeline, "LOOK_AFTER_S", 0.1)
        frozen.setattr(postgres_wire, "_GREETING", "SELECT pg_sleep(600)")
        with pytest.raises(psycopg.OperationalError, match="no answer"):
            PostgresConnection(postgres_url)
    with closing(PostgresStore(postgres_url)) as store:
        store.signal("its connection is there")
        monkeypatch.setattr(postgres_pipeline, "LOOK_AFTER_S", 0.1)
        monkeypatch.setattr(postgres_signals, "_NOTIFY", "SELECT pg_sleep(600), $1::text, $2::text")
        with pytest.raises(StoreDownError, match="no answer"):  # it waited for ever, and so did the end of the hub
            store.signal("x")
    postgres_server.cut(postgres_url.partition("?")[0].rpartition("/")[2])  # they sleep on


def test_a_read_ends_when_its_server_is_given_up(
    monkeypatch: pytest.MonkeyPatch, postgres_server: Server, postgres_url: str
) -> None:
    database = postgres_url.partition("?")[0].rpartition("/")[2]
    with closing(PostgresStore(postgres_url)) as store:
        store.transaction(lambda _: None)  # the writer's connection is there
        read = threading.Thread(target=lambda: failed.append(_failure(store)))
        failed: list[str] = []
        read.start()
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"
        eventually(lambda: postgres_server.ask(asked, database) == [(1,)], what="a read under way")
        with monkeypatch.context() as other:
            other.setattr(Hosts, "is_best", lambda *_: False)
            other.setattr(postgres_pipeline, "LOOK_AFTER_S", 0.1)
            with pytest.raises(StoreDownError, match="no answer"):
                store.transaction(lambda tx: tx._fetch("SELECT 1 FROM pg_sleep(600)"))  # type: ignore[attr-defined]
            read.join(60)
        assert failed
    postgres_server.cut(database)  # it sleeps on


def _failure(store: PostgresStore) -> str:
    try:
        store.read(lambda tx: tx._fetch("SELECT 1 FROM pg_sleep(600)"))  # type: ignore[attr-defined]
    except StoreDownError as error:
        return error.message
    return ""


def test_a_server_without_a_history_is_taken(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    monkeypatch.setattr(postgres_hosts, "_HISTORY", "SELECT nothing_of_this_name()")
    with closing(PostgresConnection(postgres_url)) as link:
        assert history(link) == ("", 0)


def test_an_ordinary_user_may_ask_for_the_history(postgres_server: Server, postgres_url: str) -> None:
    postgres_server.admin.execute("DROP ROLE IF EXISTS of_history")
    postgres_server.admin.execute("CREATE ROLE of_history LOGIN")
    with closing(PostgresConnection(postgres_url.replace("postgres@", "of_history@"))) as link:
        cluster, timeline = history(link)
    assert cluster.isdigit()
    assert timeline == 1


def test_of_two_hosts_the_dead_one_is_asked_once(postgres_server: Server, postgres_url: str) -> None:
    place = postgres_url.partition("?")[0]
    folder = str(postgres_server.folder)
    options = {"host": f"{folder}/gone,{folder}", "port": 5432, "target_session_attrs": "read-write"}
    with closing(PostgresStore(f"{place}?{urlencode(options)}")) as store:
        store.transaction(lambda tx: tx.save_many([queued("kept")]))
        assert store._links._hosts._places[0].count("gone") == 0


WARN_AT_COMMIT = """
CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'only here'; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER warns AFTER INSERT ON task DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION warn();
"""


@pytest.mark.parametrize("told", ["notice", "error"])
def test_a_commit_with_a_warning_is_not_acknowledged(postgres_server: Server, postgres_url: str, told: str) -> None:
    """PostgreSQL says COMMIT, and warns, where somebody has cancelled its wait for a synchronous standby."""
    name = postgres_url.partition("?")[0].rpartition("/")[2]
    postgres_server.ask(f"ALTER DATABASE {name} SET client_min_messages = {told}")
    with closing(PostgresStore(postgres_url)) as store:
        with psycopg.connect(postgres_url) as owner:
            owner.execute(WARN_AT_COMMIT)
        with pytest.raises(StoreDownError, match="only here"):
            store.transaction(lambda tx: tx.save_many([queued("here")]))
        store.transaction(lambda tx: tx.save_many([]))


def test_a_hint_is_sent_on_a_new_connection_after_the_server_has_cut_the_old_one(
    postgres_server: Server, postgres_url: str
) -> None:
    heard: list[str] = []
    with closing(PostgresStore(postgres_url)) as store:
        store.signal("first")
        postgres_server.cut(postgres_url.partition("?")[0].rpartition("/")[2])
        store.listen(heard.append)
        eventually(lambda: heard, what="a listener")
        with suppress(StoreDownError):  # red without the second try
            store.signal("second")
        eventually(lambda: "second" in heard, what="the hint")


def test_a_listener_leaves_a_server_that_is_frozen(
    monkeypatch: pytest.MonkeyPatch, postgres_server: Server, postgres_url: str
) -> None:
    """It waited for hints of the old primary for as long as the hub ran."""
    monkeypatch.setattr(postgres_signals, "ASK_EVERY_S", 0.2)
    heard: list[str] = []
    with closing(PostgresStore(postgres_url)) as store:
        store.listen(heard.append)
        eventually(lambda: heard == [""], what="a listener")
        asked = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND query IN ('LISTEN understudy', 'SELECT 1')"
        ((pid,),) = postgres_server.ask(asked, postgres_url.partition("?")[0].rpartition("/")[2])
        frozen = psutil.Process(pid)
        frozen.suspend()
        monkeypatch.setattr(postgres_pipeline, "LOOK_AFTER_S", 0.3)  # not before: a busy server answers late
        try:
            eventually(lambda: len(heard) > 1, what="a listener on another connection")
            store.signal("heard")
            eventually(lambda: "heard" in heard, what="the hint")
        finally:
            frozen.resume()


def test_a_read_that_has_caught_a_failure_of_the_store_has_no_answer(
    postgres_server: Server, postgres_url: str
) -> None:
    """An answer was sent to its reader as "no longer kept", because the database had crashed in that moment."""

    def caught(tx: Any) -> str:
        postgres_server.cut(postgres_url.partition("?")[0].rpartition("/")[2])
        with suppress(Exception):
            tx.load_many(Result, ("one",))
        return "nothing there"

    with closing(PostgresStore(postgres_url)) as store:
        store.read(lambda tx: tx.load_many(Result, ("one",)))
        with pytest.raises(StoreDownError):
            store.read(lambda tx: tx.load_many(Task, ("one",)) or caught(tx))
