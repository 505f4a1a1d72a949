"""The statements of one transaction on PostgreSQL: those that wait for no answer travel with the next one that does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg.pq.abc import PGresult

from understudy.errors import SlowReadError
from understudy.store.postgres_pipeline import Statement
from understudy.store.postgres_wire import PostgresConnection

_Then = Callable[[list[Any]], None]


class Trips:
    """From BEGIN to COMMIT, in as few trips to the server as there are answers to wait for."""

    def __init__(
        self, link: PostgresConnection, begin: Sequence[Statement], until_s: float = 0, *, is_reading: bool = False
    ) -> None:
        """`until_s`: on the clock that never jumps, when no statement is sent any more; 0: without end."""
        self._link = link
        self._until_s = until_s
        self._is_reading = is_reading  # nothing is put off: there is no COMMIT that would bring it
        self._waiting: list[tuple[Statement, _Then | None]] = [(statement, None) for statement in begin]
        self.count = 0  # that went well
        self.failure: psycopg.Error | None = None  # of the last one that did not, also if it was caught
        self.is_commit_refused = False
        self._answered = 0  # in the last trip

    def later(self, statement: Statement, then: _Then | None = None) -> None:
        """Send it with the next one that is asked for its answer, or with the COMMIT; `then` is given its rows."""
        self._waiting.append((statement, then))
        if self._is_reading:
            self.send()

    def rows(self, *statements: Statement) -> list[list[Any]]:
        """The rows that each of these brings, in one trip."""
        results = self._run(statements)
        return [self._link.pipeline.rows(result) for result in results]

    def changed(self, statement: Statement) -> int:
        """The number of rows that it has changed."""
        return self._run((statement,))[0].command_tuples or 0

    def send(self) -> None:
        """Send what waits."""
        if self._waiting:
            self._run(())

    def commit(self) -> str:
        """Send what waits, and COMMIT → the word of the server."""
        asked = len(self._waiting) + 1
        try:
            return (self._run((Statement("COMMIT"),))[0].command_status or b"").decode()
        except psycopg.Error:
            self.is_commit_refused = self._answered == asked - 1
            raise

    def _run(self, statements: Sequence[Statement]) -> list[PGresult]:
        if self._until_s and time.monotonic() > self._until_s:
            raise SlowReadError
        before, self._waiting = self._waiting, []
        try:
            results, error = self._link.pipeline.run([*(statement for statement, _ in before), *statements])
        except psycopg.Error as lost:
            self.failure = lost
            raise
        self._answered = len(results)
        if error is not None:
            self.failure = error
            raise error
        self.count += 1
        for (_, then), result in zip(before, results, strict=False):
            if then is not None:
                then(self._link.pipeline.rows(result))
        return results[len(before) :]
