"""PostgreSQL behind a pooler for transactions: the same exercise, and two hubs that take turns on its connections."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.pooler import running_pooler
from tests.postgres import Server
from tests.store.conformance import StoreConformance, queued
from tests.store.emptying import empty
from understudy.clock import SystemClock
from understudy.store.opening import open_store
from understudy.store.postgres import PostgresStore


@pytest.fixture(scope="module")
def database(postgres_server: Server) -> str:
    url = postgres_server.new_database()
    PostgresStore(url).close()
    return url


@pytest.fixture(scope="module")
def pooled(postgres_server: Server, database: str) -> Iterator[str]:
    """The address of the pooler."""
    with tempfile.TemporaryDirectory(prefix="") as short, running_pooler(postgres_server.folder, Path(short)):
        yield f"{database.partition('?')[0]}?{urlencode({'host': short, 'port': 5432})}"


class TestPooled(StoreConformance):
    @pytest.fixture
    def store(self, pooled: str, database: str) -> Iterator[PostgresStore]:
        empty(database)
        store = PostgresStore(pooled)
        yield store
        store.close()


def test_two_hubs_take_turns_on_the_connections_of_a_pooler(pooled: str, database: str, tmp_path: Path) -> None:
    empty(database)
    one, other = (open_store(pooled, "", tmp_path, SystemClock()) for _ in range(2))
    for nth in range(8):
        one.transaction(lambda tx, nth=nth: tx.save_many([queued(f"a{nth}")]))  # type: ignore[misc]
        other.transaction(lambda tx, nth=nth: tx.save_many([queued(f"b{nth}")]), alone=False)  # type: ignore[misc]
        assert len(other.read(lambda tx: tx.ready_ids(99))) == 2 * nth + 2
    one.close()
    other.close()
