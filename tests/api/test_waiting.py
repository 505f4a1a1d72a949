"""Long polls are woken for what they may have, and for nothing else."""

from __future__ import annotations

import asyncio

from understudy.api.waiting import Waiting
from understudy.coordinator.nouns import Task
from understudy.runtime.hub.others import _tasks_for
from understudy.store.sqlite import SqliteStore

CODEX = '["executor:codex","machine"]'


def test_a_reserved_task_wakes_its_daemon_only_if_that_covers_it() -> None:
    async def play() -> tuple[bool, ...]:
        waiting = Waiting()
        plain, able, other = (
            waiting.join(frozenset(provides.split()), frozenset({name}))
            for provides, name in (("machine", "mini"), ("machine executor:codex", "mini"), ("machine", "other"))
        )
        left = waiting.wake([Task("t", needs=CODEX, ready=0, waiting_for="mini")])
        assert not left
        assert waiting.wake([Task("u", needs=CODEX, ready=0, waiting_for="mini")]) == {(CODEX, "mini"): 1}
        return plain.done(), able.done(), other.done()

    assert asyncio.run(play()) == (False, True, False)


def test_a_look_at_the_store_counts_what_a_group_covers() -> None:
    store = SqliteStore(None)
    rows = [Task("t", needs=CODEX, ready=0, waiting_for="mini"), Task("u", needs="[]"), Task("v", needs="[]")]
    store.transaction(lambda tx: tx.save_many(rows))

    def counted(provides: str, most: int) -> int:
        group = frozenset(provides.split()), frozenset({"mini"})
        return store.read(lambda reader: _tasks_for(reader, group, most))

    assert [counted("machine", 9), counted("machine executor:codex", 9), counted("machine executor:codex", 2)] == [
        2,
        3,
        2,
    ]
    store.close()
