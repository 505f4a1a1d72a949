"""Statements to one connection of PostgreSQL that travel together: one trip, whatever their number.

Six statements cost 400 µs of CPU with psycopg's cursors, one by one or in its pipeline, and 45 µs in this way. So this
module uses libpq's pipeline mode itself, by `psycopg.pq`; connections, errors and types are psycopg's.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult

STATEMENTS_MAX = 400  # prepared on a connection
PREPARED_AFTER = 3  # uses
LOOK_AFTER_S = 10.0  # without an answer, and again after as long: is that server still the one to ask?
NUL_SHOWN = "\ufffd"  # PostgreSQL's texts hold no NUL
_UNKNOWN, _INT8, _BYTEA = 0, 20, 17  # types of PostgreSQL; where a text stands decides its type
_SOUND = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class Statement(NamedTuple):
    """A statement with `$1`, and its values."""

    text: str
    values: Sequence[Any] = ()
    is_binary: bool = False  # its results travel as PostgreSQL holds them: only for texts, whole numbers and bytes


class _Prepared(NamedTuple):
    text: str
    types: tuple[int, ...]


class Pipeline:
    """The statements of one connection; one trip at a time."""

    def __init__(self, connection: psycopg.Connection[Any], *, prepares: bool) -> None:
        """`prepares`: what is asked often is prepared, as far as the other side remembers it."""
        self._pgconn = connection.pgconn
        self._transformer = Transformer.from_context(connection)
        self.prepares = prepares
        # A server that is frozen, or cut off from its standby, answers nothing, and no limit of its own takes effect.
        self.is_worth_waiting: Callable[[], bool] | None = None  # None: as long as it takes
        self._uses: dict[_Prepared, int] = {}
        self._names: dict[_Prepared, bytes] = {}
        self._named = 0  # so far
        self._readable, self._either = select.poll(), select.poll()
        self._readable.register(self._pgconn.socket, select.POLLIN)
        self._either.register(self._pgconn.socket, select.POLLIN | select.POLLOUT)

    def run(self, statements: Sequence[Statement]) -> tuple[list[PGresult], psycopg.Error | None]:
        """The results up to the first that failed, and its error: none after it was run.

        psycopg.Error too where the connection is lost.
        """
        pgconn = self._pgconn
        pgconn.enter_pipeline_mode()
        is_whole = False
        try:
            asked = self._send(statements)
            results, failure = self._received(asked)
            is_whole = True
        finally:
            if is_whole and pgconn.status == ConnStatus.OK:
                pgconn.exit_pipeline_mode()
            else:
                pgconn.finish()  # nobody knows what it would answer next
        return results, errors.error_from_result(failure, encoding="utf-8") if failure is not None else None

    def rows(self, result: PGresult) -> list[Any]:
        """The rows of a result, as tuples."""
        count = result.ntuples
        if not count:
            return []
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, count, tuple)

    # ---- out

    def _send(self, statements: Sequence[Statement]) -> list[_Prepared | None]:
        """Send all → for each result to come what it prepares, None for the result of a statement."""
        pgconn, asked = self._pgconn, list[_Prepared | None]()
        for text, values, is_binary in statements:
            dumped = [_dumped(value) for value in values]
            params, types, formats = zip(*dumped, strict=True) if dumped else ((), (), ())
            wanted = Format.BINARY if is_binary else Format.TEXT
            one = _Prepared(text, types)
            name = self._names.get(one)
            if name is None and self._is_frequent(one):
                self._named += 1
                name = self._names[one] = b"u%d" % self._named
                pgconn.send_prepare(name, text.encode(), types)
                asked.append(one)
            if name is None:
                pgconn.send_query_params(text.encode(), params, types, formats, wanted)
            else:
                pgconn.send_query_prepared(name, params, formats, wanted)
            asked.append(None)
        pgconn.pipeline_sync()
        while pgconn.flush():  # the server takes no more before some answers are read
            self._wait(self._either)
            pgconn.consume_input()
        return asked

    def _is_frequent(self, one: _Prepared) -> bool:
        if not self.prepares or len(self._names) >= STATEMENTS_MAX:
            return False
        if len(self._uses) >= STATEMENTS_MAX:
            self._uses.clear()
        self._uses[one] = self._uses.get(one, 0) + 1
        return self._uses[one] > PREPARED_AFTER

    # ---- in

    def _received(self, asked: list[_Prepared | None]) -> tuple[list[PGresult], PGresult | None]:
        """The results of statements, and the first failure."""
        results, failure = list[PGresult](), None
        try:
            for one in asked:
                result = self._next()
                is_sound = result is not None and result.status in _SOUND
                failure = failure or (None if is_sound else result)
                if one is None and is_sound and result is not None:
                    results.append(result)
                elif not is_sound and one is not None:
                    del self._names[one]
                while self._next() is not None:
                    pass
            self._next()  # of the sync
        except psycopg.OperationalError:  # the connection is lost; perhaps the server has said why
            if failure is None:
                raise
        return results, failure

    def _next(self) -> PGresult | None:
        """The next result; None ends those of a statement."""
        pgconn = self._pgconn
        while pgconn.is_busy():
            self._wait(self._readable)
            pgconn.consume_input()
        return pgconn.get_result()

    def _wait(self, line: select.poll) -> None:
        while not line.poll(LOOK_AFTER_S * 1000):
            if self.is_worth_waiting is not None and not self.is_worth_waiting():
                said = f"no answer for {LOOK_AFTER_S:g} s: the server is frozen, gone or was replaced"
                raise psycopg.OperationalError(said)


def _dumped(value: Any) -> tuple[bytes, int, Format]:
    """A value as it travels: its bytes, its type, and whether these are text."""
    if isinstance(value, str):
        return (value.replace("\0", NUL_SHOWN) if "\0" in value else value).encode(), _UNKNOWN, Format.TEXT
    if isinstance(value, int):  # a flag is a number, as in SQLite
        return b"%d" % value, _INT8, Format.TEXT
    return bytes(value), _BYTEA, Format.BINARY
