"""Copies to and from PostgreSQL pass the exercise of every copy; hubs that use the database are seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.cli.program import environ, understudy
from tests.postgres import Server
from tests.store.conformance import queued
from tests.store.copying import CopyExercise, copied, save
from tests.store.emptying import empty
from tests.store.large import fill
from tests.store.test_check import Stopped, rows
from understudy.clock import SystemClock
from understudy.coordinator.nouns import Deployment, TaskBody
from understudy.errors import StoreVersionError
from understudy.store.base import Store
from understudy.store.check import check
from understudy.store.copying import refuse_unfinished
from understudy.store.look import StoreInUseError, open_alone, open_to_look
from understudy.store.postgres import PostgresStore
from understudy.store.sqlite import SqliteStore
from understudy.store.tables import SCHEMA_VERSION


@pytest.fixture(scope="module")
def databases(postgres_server: Server) -> tuple[str, str]:
    urls = postgres_server.new_database(), postgres_server.new_database()
    for url in urls:
        PostgresStore(url).close()
    return urls


@pytest.fixture
def urls(databases: tuple[str, str]) -> tuple[str, str]:
    """Two databases with the schema and nothing else."""
    for url in databases:
        empty(url)
    return databases


@pytest.fixture
def sqlite() -> Iterator[Store]:
    store = SqliteStore(None)
    yield store
    store.close()


@pytest.fixture
def postgres(urls: tuple[str, str]) -> Iterator[Store]:
    store = PostgresStore(urls[0], own_clock=True)
    yield store
    store.close()


class TestToPostgres(CopyExercise):
    @pytest.fixture
    def source(self, sqlite: Store) -> Store:
        return sqlite

    @pytest.fixture
    def target(self, postgres: Store) -> Store:
        return postgres


class TestFromPostgres(CopyExercise):
    @pytest.fixture
    def source(self, postgres: Store) -> Store:
        return postgres

    @pytest.fixture
    def target(self, sqlite: Store) -> Store:
        return sqlite


def test_there_and_back_again_is_the_same_store(sqlite: Store, postgres: Store) -> None:
    fill(sqlite, 600)
    there = copied(sqlite, postgres)
    again = SqliteStore(None)
    assert copied(postgres, again) == there
    assert again.read(lambda reader: check(reader, Stopped())).faults == []
    again.close()


def test_two_keys_that_differ_only_in_a_nul_are_not_merged_in_silence(sqlite: Store, postgres: Store) -> None:
    save(sqlite, TaskBody("a\0", "{}"), TaskBody("a\ufffd", '{"other":1}'))
    with pytest.raises(Exception, match=r"differs|a second time"):
        copied(sqlite, postgres)
    with pytest.raises(Exception, match="not finished"):
        refuse_unfinished(postgres)


def test_hubs_on_the_database_are_seen_by_their_signs_of_life(urls: tuple[str, str]) -> None:
    clock = SystemClock()
    hub, now = PostgresStore(urls[0]), clock.now_ms()
    save(hub, Deployment("v1", now, "1", "f", "box", "hub-a", now), Deployment("v0", 1, "1", "f", "box", "gone", 1))
    save(hub, *(Deployment(f"c{n}", now + n, "1", "f", "box", "crashed since", 1) for n in range(150)))
    with pytest.raises(StoreInUseError, match=r"hub-a$"):
        open_alone(urls[0], "", clock)
    done = understudy("store", "copy", urls[0], urls[1], env=environ())
    assert (done.code, "is in use" in done.err) == (1, True)
    save(hub, Deployment("v1", now, "1", "f", "box", "hub-a", now, now))
    open_alone(urls[0], "", clock).close()
    hub.close()


def test_the_command_copies_between_databases_and_shows_no_password(urls: tuple[str, str]) -> None:
    store = PostgresStore(urls[0])
    save(store, *rows())
    store.close()
    source, target = (url.replace("postgres@", "postgres:sesame@", 1) for url in urls)
    done = understudy("store", "copy", source, target, "--json", env=environ())
    said = json.loads(done.out)
    assert (done.code, said["ok"], said["tables"]["task"]["rows"]) == (0, True, 5)
    again = understudy("store", "copy", source, target, env=environ())
    assert (again.code, "is not empty" in again.err) == (1, True)
    checked = understudy("store", "check", target, env=environ())
    assert (checked.code, "every invariant holds" in checked.out) == (0, True)
    assert "sesame" not in done.out + done.err + again.err + checked.out


def test_a_check_changes_nothing_and_waits_for_nobody(urls: tuple[str, str]) -> None:
    hub, look = PostgresStore(urls[0]), open_to_look(urls[0])
    save(hub, queued("before"))

    def read(reader: object) -> tuple[int, int]:
        before = len(reader.load_all(TaskBody, 9))  # type: ignore[attr-defined]
        save(hub, TaskBody("more", "{}"))
        return before, len(reader.load_all(TaskBody, 9))  # type: ignore[attr-defined]

    assert look.read(read) == (0, 0)
    look.close()
    hub.close()


def test_an_older_schema_is_neither_checked_nor_migrated(postgres_server: Server) -> None:
    url = postgres_server.new_database()
    PostgresStore(url).close()
    with closing(psycopg.connect(url)) as db, db:
        db.execute("UPDATE understudy_schema SET version = %s", (SCHEMA_VERSION - 1,))
    with pytest.raises(StoreVersionError, match=f"schema {SCHEMA_VERSION - 1}"):
        open_to_look(url)
    with closing(psycopg.connect(url)) as db:
        assert db.execute("SELECT version FROM understudy_schema").fetchone() == (SCHEMA_VERSION - 1,)


def test_a_newer_schema_is_not_copied_without_what_is_new_in_it(urls: tuple[str, str], tmp_path: Path) -> None:
    """A hub of this version may use it beside newer ones; the copy was "equal", and had lost a column."""
    with closing(psycopg.connect(urls[0])) as db, db:
        db.execute("UPDATE understudy_schema SET version = %s", (SCHEMA_VERSION + 1,))
    PostgresStore(urls[0]).close()
    for words in ((urls[0], "new.db"), (urls[1], urls[0])):
        done = understudy("store", "copy", *words, env=environ(), cwd=tmp_path)
        assert done.code == 1
        assert f"has schema {SCHEMA_VERSION + 1}" in done.err
        assert "a copy would lose what is new" in done.err
    with closing(psycopg.connect(urls[0])) as db, db:
        db.execute("UPDATE understudy_schema SET version = %s", (SCHEMA_VERSION,))


def test_a_server_that_does_not_answer_is_an_exit_code_of_its_own() -> None:
    address = "postgresql://nobody@127.0.0.1:9/none"
    for words in (("check", address), ("copy", address, "new.db")):
        done = understudy("store", *words, env=environ())
        assert (done.code, done.out) == (3, ""), done.err
        assert "then check firewalls" in done.err
