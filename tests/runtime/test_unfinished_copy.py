"""A hub does not start on a store that another one is being copied into."""

from __future__ import annotations

from pathlib import Path

from tests.cli.program import environ, understudy
from understudy.store.sqlite import SqliteStore
from understudy.store.tables import StoreCopy


def test_a_hub_refuses_half_a_copy_with_the_command_that_ends_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "hub.db")
    store.transaction(lambda tx: tx.save_many([StoreCopy(source="old.db")]))
    store.close()
    done = understudy("hub", "--data", str(tmp_path), "--port", "0", env=environ())
    assert done.code != 0
    assert "the copy of old.db into it is not finished" in done.err
    assert "understudy store copy" in done.err
