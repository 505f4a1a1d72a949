"""A standby is seen as one, and several hosts lead to the server that can be written to; real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ports import free_port
from tests.postgres import Server, running_server
from tests.waiting import eventually
from understudy.clock import SystemClock
from understudy.errors import StoreDownError
from understudy.store.check import check
from understudy.store.look import open_to_look
from understudy.store.postgres import PostgresStore
from understudy.store.postgres_look import look

pytestmark = pytest.mark.soak


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    with running_server(port=free_port()) as primary:
        standby = primary.replica(port=free_port())
        yield primary, standby
        standby.close()


def names(address: str) -> list[str]:
    return [fault.name for fault in look(address, "", SystemClock())]


def test_a_standby_is_named_and_several_hosts_lead_to_the_primary(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    both = f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/postgres"
    assert names(standby.url()) == ["standby"]
    assert names(both) == []
    primary.ask("CREATE TABLE kept AS SELECT 1 AS one")
    eventually(lambda: standby.ask("SELECT to_regclass('kept') IS NOT NULL") == [(True,)], what="the row there")
    primary.stop("immediate")
    assert names(both) in (["standby"], ["unreachable"])
    standby.promote()
    assert names(both) == []
    assert standby.ask("SELECT one FROM kept") == [(1,)]


def test_a_server_that_starts_again_takes_what_was_cut(pair: tuple[Server, Server]) -> None:
    primary, _ = pair
    primary.ask("CREATE TABLE kept AS SELECT 1 AS one")
    primary.stop("immediate")
    assert names(primary.url()) == ["unreachable"]
    primary.start()
    assert names(primary.url()) == []
    assert primary.ask("SELECT one FROM kept") == [(1,)]


def test_a_standby_is_checked_and_no_hub_works_on_it(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    PostgresStore(primary.url()).close()
    version = "SELECT version FROM understudy_schema"
    eventually(
        lambda: standby.ask("SELECT to_regclass('store_copy') IS NOT NULL") == [(True,)], what="the schema there"
    )
    eventually(lambda: standby.ask(version) == primary.ask(version), what="all of it")
    found = open_to_look(standby.url())
    assert found.read(lambda reader: check(reader, SystemClock())).is_sound
    found.close()
    with pytest.raises(StoreDownError, match="standby"):
        PostgresStore(standby.url())
