"""PostgreSQL passes the conformance exercise on a real server, and keeps what is its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from msgspec.structs import fields

from tests.postgres import Server
from tests.store.conformance import StoreConformance
from tests.store.emptying import empty
from tests.store.paging import PagingExercise
from tests.store.searches import SearchExercise
from understudy.store.postgres import PostgresStore
from understudy.store.tables import TABLES


@pytest.fixture(scope="module")
def database(postgres_server: Server) -> str:
    """A database with the schema in it, for all tests of this file."""
    url = postgres_server.new_database()
    PostgresStore(url).close()
    return url


@pytest.fixture
def url(database: str) -> str:
    empty(database)
    return database


class TestPostgres(StoreConformance, SearchExercise, PagingExercise):
    @pytest.fixture
    def store(self, url: str) -> Iterator[PostgresStore]:
        store = PostgresStore(url)
        yield store
        store.close()


def test_tables_have_the_columns_of_their_nouns(url: str) -> None:
    with closing(psycopg.connect(url)) as connection:
        for noun, table in TABLES.items():
            names = "SELECT column_name, data_type, coalesce(collation_name, '') FROM information_schema.columns"
            found = connection.execute(f"{names} WHERE table_name = %s", (table.name,)).fetchall()
            types = {str: ("text", "C"), int: ("bigint", ""), bytes: ("bytea", "")}
            wanted = {(field.encode_name, *types[field.type]) for field in fields(noun)}
            assert set(found) == wanted, table.name
